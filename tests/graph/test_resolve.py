"""A request is filled in and checked before anything runs; every refusal names the value and the limit."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.graph.resolve import Resolved, resolve
from vogue.graph.shapes import canvas, nearest_frames, usable_frames
from vogue.schemas.config import Role, Task, Tier
from vogue.schemas.errors import LimitExceeded, RequestInvalid, ShapeUnsupported, ThinkingUnavailable, VogueError
from vogue.schemas.jobs import Asset
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, Thinking, VisualInput

MINI = get_preset("mini")
CLIP = "upload_clip-clip-clip-clip"
STILL = "upload_still-still-still"


def _asset(asset_id: str, kind: MediaKind, height_px: int = 1080, width_px: int = 1920, frames: int = 1) -> Asset:
    return Asset(
        id=asset_id,
        kind=kind,
        media_type="video/mp4" if kind is MediaKind.VIDEO else "image/png",
        num_bytes=10,
        filename="holiday",
        height_px=height_px,
        width_px=width_px,
        num_frames=frames,
        fps=30.0 if kind is MediaKind.VIDEO else 0.0,
    )


def _resolve(assets: tuple[Asset, ...] = (), role: Role = Role.SOURCE, **fields: Any) -> Resolved:
    visuals = tuple(
        VisualInput(tag=f"{asset.kind}{index}", role=role, upload_id=asset.id) for index, asset in enumerate(assets, 1)
    )
    fields = {"instruction": "a red star", "visuals": visuals} | fields
    return resolve(GenerationRequest(**fields), MINI, {asset.id: asset for asset in assets}, fresh_seed=7)


def test_the_preset_fills_in_what_is_left_open() -> None:
    spec, notices = _resolve()
    defaults = MINI.tasks[Task.T2V]
    assert spec.task is Task.T2V
    assert (spec.height_px, spec.width_px, spec.num_frames) == (64, 64, 17)
    assert (spec.steps, spec.guidance, spec.image_guidance) == (defaults.steps, defaults.guidance, 1.0)
    assert (spec.seed, spec.fps, spec.negative_prompt) == (7, MINI.fps, MINI.default_negative_prompt)
    assert notices == ()


def test_the_fast_tier_takes_fewer_steps_unless_the_request_names_them() -> None:
    exact, fast = _resolve().spec, _resolve(tier="fast").spec
    assert (exact.tier, exact.steps) == (Tier.EXACT, 20)
    assert (fast.tier, fast.steps) == (Tier.FAST, 8)
    assert _resolve(tier="fast", steps=12).spec.steps == 12
    with pytest.raises(RequestInvalid, match="tier has no meaning"):
        _resolve(task="understand", tier="fast")


def test_an_edit_keeps_shape_rate_and_length_and_says_what_it_cuts() -> None:
    spec, notices = _resolve((_asset(CLIP, MediaKind.VIDEO, frames=90),))
    assert (spec.height_px, spec.width_px) == (48, 80)
    assert (spec.fps, spec.num_frames) == (30.0, 17)
    assert notices == ("video1 has 90 frames; the first 17 frames (0.57 s) are used (4k + 1, at most 17)",)
    spec, notices = _resolve((_asset(CLIP, MediaKind.VIDEO, frames=5),))
    assert (spec.num_frames, notices) == (5, ())


def test_a_picture_to_animate_gives_the_shape_only() -> None:
    spec, notices = _resolve((_asset(STILL, MediaKind.IMAGE, 1920, 1080),), Role.FIRST_FRAME)
    assert (spec.task, spec.height_px, spec.width_px) == (Task.I2V, 80, 48)
    assert (spec.num_frames, spec.fps, notices) == (17, MINI.fps, ())


@given(
    height=st.integers(1, 20_000),
    width=st.integers(1, 20_000),
    area=st.sampled_from([32 * 32, 64 * 64, 480 * 854]),
)
def test_a_canvas_is_never_larger_than_its_area(height: int, width: int, area: int) -> None:
    made = canvas(height, width, area, 16)
    assert made[0] % 16 == made[1] % 16 == 0
    # Each side is rounded before it is cut, so half a pixel of each may come on top.
    assert made[0] * made[1] <= area + (made[0] + made[1]) / 2 + 1


@given(frames=st.integers(1, 10_000), most=st.integers(1, 200))
def test_usable_frames_are_4k_plus_1(frames: int, most: int) -> None:
    used = usable_frames(frames, most)
    assert used % 4 == 1
    assert min(frames, most) - 4 < used <= min(frames, most)


@given(st.integers(1, 10_000), st.integers(1, 200))
def test_the_nearest_length_is_one_that_is_made(wanted: int, most: int) -> None:
    near = nearest_frames(wanted, most)
    made = range(1, most + 1, 4)
    assert near in made and abs(near - wanted) == min(abs(one - wanted) for one in made)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 100))
def test_what_a_refusal_names_as_nearest_is_accepted(height_px: int, width_px: int, num_frames: int) -> None:
    fields = {"height_px": height_px, "width_px": width_px, "num_frames": num_frames, "task": Task.T2V}
    for _ in range(3):
        try:
            spec, _notices = _resolve(**fields)
            break
        except ShapeUnsupported as error:
            if (size := re.search(r"nearest size is (\d+)×(\d+)", error.message)) is not None:
                fields |= {"width_px": int(size[1]), "height_px": int(size[2])}
            if (length := re.search(r"the nearest is (\d+)$", error.message)) is not None:
                fields["num_frames"] = int(length[1])
    assert (spec.height_px, spec.width_px, spec.num_frames) == tuple(fields.values())[:3]


REFUSED: list[tuple[dict[str, Any], type[VogueError], str]] = [
    ({"instruction": "x" * 1001}, LimitExceeded, "1001 characters, and at most 1000"),
    ({"negative_prompt": "x" * 1001}, LimitExceeded, "negative_prompt has 1001"),
    ({"steps": 10_000}, LimitExceeded, "steps is 10000, and at most 200"),
    ({"guidance": 31.0}, LimitExceeded, "guidance is 31.0, and at most 30"),
    ({"height_px": 65}, ShapeUnsupported, "height_px would be 65.*nearest size is 64×64"),
    ({"width_px": 256}, ShapeUnsupported, "width_px would be 256.* to 128"),
    ({"height_px": 128, "width_px": 128}, ShapeUnsupported, "16384 pixels.* at most 9216; the nearest size is 96×96"),
    ({"num_frames": 16}, ShapeUnsupported, r"num_frames is 16.* 4k \+ 1.*nearest is 17"),
    ({"num_frames": 21}, ShapeUnsupported, "num_frames is 21.* at most 17; the nearest is 17"),
    ({"num_frames": 5, "task": Task.T2I}, ShapeUnsupported, "one frame; the nearest is 1"),
    ({"thinking": Thinking.ON}, ThinkingUnavailable, "mini have not learnt to write plans"),
    ({"thinking": Thinking.REVIEW}, ThinkingUnavailable, "off or auto"),
]


@pytest.mark.parametrize(("fields", "error", "message"), REFUSED, ids=[str(sorted(f))[1:-1] for f, _, _ in REFUSED])
def test_what_the_preset_cannot_do_is_refused(fields: dict[str, Any], error: type[VogueError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        _resolve(**fields)
    assert caught.value.param in fields


def test_thinking_auto_does_without_where_it_cannot() -> None:
    assert _resolve(thinking=Thinking.AUTO)[0].thinking is Thinking.OFF


@pytest.mark.parametrize(
    ("asset", "fields", "error", "message"),
    [
        (_asset(STILL, MediaKind.IMAGE, 20_000, 20_000), {}, LimitExceeded, "20000×20000 pixels.* 64000000"),
        (_asset(CLIP, MediaKind.VIDEO, frames=30 * 3 * 3600), {}, LimitExceeded, "lasts 10800.0 s.* 1800 s"),
        (_asset(STILL, MediaKind.IMAGE, 10, 4000), {}, ShapeUnsupported, "height_px would be 0"),
        (_asset(STILL, MediaKind.IMAGE, 64, 64), {"width_px": 32}, ShapeUnsupported, "64×64.* cannot make 32×64"),
    ],
)
def test_uploads_beyond_the_limits(asset: Asset, fields: dict[str, Any], error: type[VogueError], message: str) -> None:
    with pytest.raises(error, match=message):
        _resolve((asset,), **fields)


def test_a_tag_must_fit_its_upload() -> None:
    visual = VisualInput(tag="image1", role=Role.SOURCE, upload_id=CLIP)
    request = GenerationRequest(instruction="x", visuals=(visual,))
    with pytest.raises(RequestInvalid, match="image1 stands for the upload 'holiday', which is video") as caught:
        resolve(request, MINI, {CLIP: _asset(CLIP, MediaKind.VIDEO)}, 0)
    assert caught.value.param == "visuals.0.tag"


def test_too_many_references() -> None:
    assets = tuple(_asset(f"upload_reference-number-{index}", MediaKind.IMAGE) for index in range(5))
    with pytest.raises(LimitExceeded, match="5 references were given, and at most 4"):
        _resolve(assets, Role.REFERENCE)
