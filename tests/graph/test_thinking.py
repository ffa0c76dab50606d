"""When a request is planned, and which plans it leaves room for; all of it pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.graph.resolve import choices, resolve, settle
from vogue.graph.thinking import needs_plan
from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import RequestInvalid, TaskUnsupported, ThinkingUnavailable
from vogue.schemas.jobs import Asset
from vogue.schemas.plan import Plan
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, SelfReview, Thinking, VisualInput

TINY = get_preset("tiny")
UNLEARNT = TINY.model_copy(update={"can_plan": False, "can_review": False})
PROMPT = Role.VISUAL_PROMPT


def _asset(tag: str, number: int) -> Asset:
    video = tag.startswith("video")
    return Asset(
        id=f"upload_{number:016d}",
        kind=MediaKind.VIDEO if video else MediaKind.IMAGE,
        media_type="video/mp4" if video else "image/png",
        num_bytes=1,
        filename=tag,
        height_px=32,
        width_px=48,
        num_frames=7 if video else 1,
        fps=8.0 if video else 0.0,
    )


def _request(roles: dict[str, Role | None], **fields: Any) -> tuple[GenerationRequest, dict[str, Asset]]:
    stored = {tag: _asset(tag, number) for number, tag in enumerate(roles)}
    visuals = tuple(VisualInput(tag=tag, role=role, upload_id=stored[tag].id) for tag, role in roles.items())
    request = GenerationRequest(instruction="do it", visuals=visuals, **fields)
    return request, {asset.id: asset for asset in stored.values()}


def _resolved(roles: dict[str, Role | None], preset: Preset = TINY, **fields: Any) -> Thinking:
    request, assets = _request(roles, **fields)
    return resolve(request, preset, assets, 3).spec.thinking


@pytest.mark.parametrize(
    ("roles", "asked", "decided"),
    [
        ({}, Thinking.AUTO, Thinking.OFF),
        ({}, Thinking.ON, Thinking.ON),
        ({}, Thinking.REVIEW, Thinking.REVIEW),
        ({"image1": Role.SOURCE}, Thinking.AUTO, Thinking.OFF),
        ({"image1": PROMPT}, Thinking.AUTO, Thinking.ON),
        ({"image1": PROMPT, "image2": Role.SOURCE}, Thinking.AUTO, Thinking.ON),
        ({"image1": None}, Thinking.AUTO, Thinking.ON),
        ({"image1": None, "video1": Role.SOURCE}, Thinking.REVIEW, Thinking.REVIEW),
    ],
)
def test_auto_thinks_when_it_must(roles: dict[str, Role | None], asked: Thinking, decided: Thinking) -> None:
    assert _resolved(roles, thinking=asked) is decided


@pytest.mark.parametrize("thinking", list(Thinking))
def test_a_question_is_not_planned(thinking: Thinking) -> None:
    roles: dict[str, Role | None] = {"image1": None, "image2": Role.SOURCE, "video1": Role.SOURCE}
    assert _resolved(roles, task=Task.UNDERSTAND, thinking=thinking) is Thinking.OFF


def test_what_needs_a_plan_is_refused_without() -> None:
    with pytest.raises(RequestInvalid, match=r"image1 is a visual prompt.* leave thinking at auto"):
        _resolved({"image1": PROMPT}, thinking=Thinking.OFF)
    with pytest.raises(ThinkingUnavailable, match="image1 has no role, but the weights of the preset tiny"):
        _resolved({"image1": None}, UNLEARNT)
    with pytest.raises(TaskUnsupported):
        _resolved({"image1": Role.SOURCE, "image2": Role.SOURCE}, thinking=Thinking.ON)
    with pytest.raises(RequestInvalid, match="4 inputs have no role"):
        _resolved({f"image{number}": None for number in range(1, 5)})


def _tasks(roles: dict[str, Role | None], **fields: Any) -> set[tuple[Task, tuple[Role, ...]]]:
    request, assets = _request(roles, **fields)
    return {(one.task, tuple(one.roles.values())) for one in choices(request, TINY, assets)}


def test_a_sentence_leaves_room_for_a_picture_a_clip_and_an_answer() -> None:
    assert _tasks({}) == {(Task.T2I, ()), (Task.T2V, ()), (Task.UNDERSTAND, ())}
    assert _tasks({}, num_frames=5) == {(Task.T2V, ())}
    assert _tasks({}, num_frames=1) == {(Task.T2I, ())}
    assert _tasks({}, temperature=0.5) == {(Task.UNDERSTAND, ())}
    assert _tasks({}, task=Task.T2V) == {(Task.T2V, ())}


def test_what_the_owner_said_is_not_open() -> None:
    made = _tasks({"image1": Role.REFERENCE, "video1": Role.SOURCE})
    assert made == {
        (Task.REF_V2V_EDIT, (Role.REFERENCE, Role.SOURCE)),
        (Task.UNDERSTAND, (Role.REFERENCE, Role.SOURCE)),
    }


def test_open_roles_are_found_with_the_task() -> None:
    assert _tasks({"image1": None}) == {
        (Task.I2V, (Role.FIRST_FRAME,)),
        (Task.I2I_EDIT, (Role.SOURCE,)),
        (Task.MULTIID, (Role.REFERENCE,)),
        (Task.UNDERSTAND, (Role.SOURCE,)),
    }
    both = _tasks({"image1": None, "image2": PROMPT})
    assert both == {
        (Task.I2V, (Role.FIRST_FRAME, PROMPT)),
        (Task.I2I_EDIT, (Role.SOURCE, PROMPT)),
        (Task.MULTIID, (Role.REFERENCE, PROMPT)),
        (Task.UNDERSTAND, (Role.SOURCE, PROMPT)),
    }


def test_a_marked_picture_alone_may_be_what_is_changed() -> None:
    assert _tasks({"image1": PROMPT}) == {
        (Task.T2I, (PROMPT,)),
        (Task.T2V, (PROMPT,)),
        (Task.I2V, (Role.FIRST_FRAME,)),
        (Task.I2I_EDIT, (Role.SOURCE,)),
        (Task.MULTIID, (Role.REFERENCE,)),
        (Task.UNDERSTAND, (PROMPT,)),
    }
    assert _tasks({"image1": PROMPT, "image2": Role.SOURCE}) == {
        (Task.I2I_EDIT, (PROMPT, Role.SOURCE)),
        (Task.UNDERSTAND, (PROMPT, Role.SOURCE)),
    }


@given(
    roles=st.dictionaries(
        st.sampled_from(["image1", "image2", "image3", "video1"]), st.sampled_from([*Role, None]), max_size=3
    ),
    frames=st.sampled_from([None, 1, 5]),
    still=st.booleans(),
)
def test_every_plan_that_is_offered_can_be_carried_out(
    roles: dict[str, Role | None], frames: int | None, still: bool
) -> None:
    request, assets = _request(roles, num_frames=frames)
    for choice in choices(request, TINY, assets):
        plan = Plan(task=choice.task, roles=choice.roles, dense_prompt="a star" if still else "")
        spec, _ = settle(request, plan, TINY, assets, 3)
        assert spec.task is choice.task
        assert spec.instruction == ("a star" if still else "do it")
    if needs_plan(request) is None:
        return
    try:
        assert resolve(request, TINY, assets, 3).spec.thinking is Thinking.ON
    except RequestInvalid:
        assert not choices(request, TINY, assets)


def test_a_plan_may_not_speak_of_what_is_not_there() -> None:
    request, assets = _request({"image1": Role.SOURCE})
    with pytest.raises(RequestInvalid, match="image9"):
        settle(request, Plan(task=Task.I2I_EDIT, roles={"image9": Role.SOURCE}), TINY, assets, 0)


@pytest.mark.parametrize("field", [{"steps": 3}, {"self_review": SelfReview()}, {"height_px": 32}])
def test_a_question_takes_no_numbers_of_a_picture(field: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid, match="has no meaning for the task understand"):
        _resolved({}, task=Task.UNDERSTAND, **field)
    with pytest.raises(RequestInvalid, match="has no meaning for the task t2v"):
        _resolved({}, temperature=1.0)


def test_a_question_looks_at_each_input_as_it_is() -> None:
    request, assets = _request({"video1": Role.SOURCE}, task=Task.UNDERSTAND, max_new_tokens=4, temperature=0.5)
    spec, notices = resolve(request, TINY, assets, 3)
    assert (spec.steps, spec.num_frames, spec.max_new_tokens, spec.temperature) == (0, 5, 4, 0.5)
    assert spec.height_px * spec.width_px <= TINY.mllm.understanding_area_px
    assert notices == ("video1 has 7 frames; the first 5 frames (0.62 s) are used (4k + 1, at most 9)",)
