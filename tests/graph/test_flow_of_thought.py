"""The flow on fake ports where it thinks: plans and decisions on them, answers in words, and results that are reviewed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from vogue.graph.build import build_graph
from vogue.graph.resolve import resolve
from vogue.graph.state import Flow, FlowState, Ports, dump, initial_state
from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import ClarificationNeeded, PlanRejected, ReviewUnavailable, ThinkingUnavailable
from vogue.schemas.jobs import Asset, Stage, StoredAsset
from vogue.schemas.plan import Plan, PlanChoice, PlanDecision, Review, Trial
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, SelfReview, Thinking, VisualInput
from vogue.schemas.stages import EncodeInstructionRequest, PassStates, PlanRequest, ReviewRequest
from vogue.services.blobs import BlobStore
from vogue.services.fakes import FakeUnderstanding, netpbm

from .diaries import AT_ONCE, PRESET, Diary, LosesJobs, state_of

CONFIG: Any = {"configurable": {"thread_id": "job_1"}}


async def test_thinking_plans_and_generates_from_the_plan(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    graph = build_graph(InMemorySaver())
    await graph.ainvoke(state_of(blobs, thinking=Thinking.ON), CONFIG, context=Flow(PRESET, ports, diary))
    values = (await graph.aget_state(CONFIG)).values
    assert values["spec"]["instruction"] == "MAKE IT BLUE"
    assert diary.spec == JobSpec.model_validate(values["spec"])
    assert Stage.PLAN in diary.entries
    assert diary.delivered is not None


async def _stop_at_the_plan(blobs: BlobStore, ports: Ports, diary: Diary) -> tuple[Any, Flow]:
    graph = build_graph(InMemorySaver())
    flow = Flow(PRESET, ports, diary)
    waiting = await graph.ainvoke(state_of(blobs, clip_frames=5, thinking=Thinking.REVIEW), CONFIG, context=flow)
    assert waiting["__interrupt__"][0].value["plan"]["dense_prompt"] == "MAKE IT BLUE"
    assert diary.delivered is None
    return graph, flow


async def test_review_waits_for_approval(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    graph, flow = await _stop_at_the_plan(blobs, ports, diary)
    await graph.ainvoke(Command(resume=dump(PlanDecision())), CONFIG, context=flow)
    assert diary.delivered is not None
    assert diary.spec is not None
    assert (diary.spec.task, diary.spec.instruction) == (Task.V2V_EDIT, "MAKE IT BLUE")


async def test_a_rejected_plan_ends_the_job(blobs: BlobStore, ports: Ports) -> None:
    graph, flow = await _stop_at_the_plan(blobs, ports, Diary())
    with pytest.raises(PlanRejected, match="not approved"):
        await graph.ainvoke(Command(resume=dump(PlanDecision(approved=False))), CONFIG, context=flow)


async def test_an_edited_plan_is_what_is_carried_out(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    graph, flow = await _stop_at_the_plan(blobs, ports, diary)
    edited = Plan(task=Task.UNDERSTAND, roles={"video1": Role.SOURCE}, dense_prompt="what is it")
    await graph.ainvoke(Command(resume=dump(PlanDecision(plan=edited))), CONFIG, context=flow)
    assert diary.said == "1 visuals"
    assert diary.over
    assert diary.delivered is None


async def test_a_question_back_ends_the_job(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    with pytest.raises(ClarificationNeeded, match="what do you mean by which star"):
        await build_graph().ainvoke(
            state_of(blobs, instruction="which star?", thinking=Thinking.ON), context=Flow(PRESET, ports, diary)
        )
    assert any(isinstance(entry, Plan) and entry.clarification for entry in diary.entries)


async def test_a_visual_prompt_is_read_for_the_plan_and_not_shown_to_the_generator(
    blobs: BlobStore, ports: Ports
) -> None:
    class Notes(FakeUnderstanding):
        encoded: EncodeInstructionRequest | None = None
        asked: PlanRequest | None = None

        async def plan(self, request: PlanRequest) -> Plan:
            self.asked = request
            roles = {"image1": Role.VISUAL_PROMPT, "image2": Role.SOURCE}
            return Plan(task=Task.I2I_EDIT, roles=roles, dense_prompt="a star at the right")

        async def encode(self, request: EncodeInstructionRequest) -> PassStates:
            self.encoded = request
            return await super().encode(request)

    notes = Notes(PRESET, blobs)
    state = _pictures(blobs, {"image1": Role.VISUAL_PROMPT, "image2": Role.SOURCE})
    diary = Diary()
    await build_graph().ainvoke(state, context=Flow(PRESET, replace(ports, understanding=notes), diary))
    assert notes.asked is not None
    assert notes.encoded is not None
    assert [visual.tag for visual in notes.asked.visuals] == ["image1", "image2"]
    assert notes.asked.roles == {"image1": Role.VISUAL_PROMPT, "image2": Role.SOURCE}
    assert PlanChoice(task=Task.I2I_EDIT, roles=notes.asked.roles) in notes.asked.choices
    assert [visual.tag for visual in notes.encoded.visuals] == ["image2"]
    assert notes.encoded.instruction == "a star at the right"
    assert diary.delivered is not None


async def test_a_plan_gives_inputs_the_roles_that_were_left_open(blobs: BlobStore, ports: Ports) -> None:
    class Assigns(FakeUnderstanding):
        async def plan(self, request: PlanRequest) -> Plan:
            wanted = {"image1": Role.REFERENCE, "image2": Role.REFERENCE}
            assert PlanChoice(task=Task.MULTIID, roles=wanted) in request.choices
            return Plan(task=Task.MULTIID, roles=wanted, dense_prompt="both of them dance")

    diary = Diary()
    state = _pictures(blobs, {"image1": None, "image2": None})
    await build_graph().ainvoke(
        state, context=Flow(PRESET, replace(ports, understanding=Assigns(PRESET, blobs)), diary)
    )
    assert diary.delivered is not None
    assert diary.delivered.frames.shape == (5, 32, 32, 3)


def _pictures(blobs: BlobStore, roles: dict[str, Role | None], **fields: Any) -> FlowState:
    stored = {}
    for number, tag in enumerate(roles, start=1):
        frames = np.full((1, 32, 48, 3), 40 * number, np.uint8)
        asset = Asset(
            id=f"upload_picture-{number:016d}",
            kind=MediaKind.IMAGE,
            media_type="image/x-portable-pixmap",
            num_bytes=1,
            filename=tag,
            height_px=32,
            width_px=48,
        )
        stored[tag] = StoredAsset(asset=asset, artifact=blobs.put(netpbm(frames), asset.media_type))
    visuals = tuple(VisualInput(tag=tag, role=roles[tag], upload_id=one.asset.id) for tag, one in stored.items())
    request = GenerationRequest(**({"instruction": "do what the arrow says", "visuals": visuals} | fields))
    spec, _ = resolve(request, PRESET, {one.asset.id: one.asset for one in stored.values()}, 3)
    return initial_state("job_1", request, spec, list(stored.values()))


async def test_a_question_is_answered_in_words(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    state = state_of(blobs, clip_frames=7, task=Task.UNDERSTAND, instruction="how many?")
    await build_graph().ainvoke(state, context=Flow(PRESET, ports, diary))
    assert diary.said == "1 visuals"
    assert diary.over
    assert [entry for entry in diary.entries if isinstance(entry, Stage)] == [Stage.INGEST, Stage.ROUTE, Stage.ANSWER]


class Scores(FakeUnderstanding):
    """Gives the scores it is told to, one after the other."""

    def __init__(self, preset: Preset, blobs: BlobStore, *scores: int) -> None:
        super().__init__(preset, blobs)
        self.left = list(scores)
        self.seen: list[ReviewRequest] = []

    async def review(self, request: ReviewRequest) -> Review:
        self.seen.append(request)
        return Review(quality=9, instruction_following=self.left.pop(0))


@pytest.mark.parametrize(
    ("scores", "seeds", "best"),
    [([8], [3], 3), ([2, 9], [3, 4], 4), ([2, 5, 4], [3, 4, 5], 4), ([6, 6, 6], [3, 4, 5], 3)],
)
async def test_a_poor_result_is_tried_with_other_seeds_and_the_best_is_kept(
    blobs: BlobStore, ports: Ports, scores: list[int], seeds: list[int], best: int
) -> None:
    single, diary = Diary(), Diary()
    alone = Flow(PRESET, ports, single)
    await build_graph().ainvoke(state_of(blobs, clip_frames=5, seed=best), context=alone)
    judge = Scores(PRESET, blobs, *scores)
    state = state_of(blobs, clip_frames=5, self_review=SelfReview(min_score=7, max_trials=3))
    await build_graph().ainvoke(state, context=Flow(PRESET, replace(ports, understanding=judge), diary))
    trials = [entry for entry in diary.entries if isinstance(entry, Trial)]
    assert [trial.seed for trial in trials] == seeds
    assert diary.spec is not None
    assert diary.spec.seed == best
    assert diary.delivered is not None
    assert single.delivered is not None
    assert diary.delivered.frames == single.delivered.frames
    assert [entry for entry in diary.entries if isinstance(entry, tuple)] == [
        (4 * trial + step, 4 * (trial + 1)) for trial in range(len(seeds)) for step in range(1, 5)
    ]
    assert {one.instruction for one in judge.seen} == {"make it blue"}


async def test_a_trial_starts_from_its_own_noise_after_a_crash(blobs: BlobStore, ports: Ports) -> None:
    judge = Scores(PRESET, blobs, 1, 9)
    fragile = LosesJobs(ports.denoiser, after_steps=99)
    diary = Diary()
    flow = Flow(PRESET, replace(ports, understanding=judge, denoiser=fragile), diary)
    await build_graph(retry=AT_ONCE).ainvoke(state_of(blobs, steps=6, self_review=SelfReview()), context=flow)
    assert fragile.started_from == [0, 0]
    assert diary.checkpoint is not None
    assert diary.checkpoint.job_id == "job_1.1"


CANNOT = PRESET.model_copy(update={"can_plan": False, "can_review": False})


def test_thinking_is_refused_where_it_is_not_learnt(blobs: BlobStore) -> None:
    with pytest.raises(ThinkingUnavailable):
        state_of(blobs, CANNOT, thinking=Thinking.ON)
    with pytest.raises(ReviewUnavailable):
        state_of(blobs, CANNOT, self_review=SelfReview())
