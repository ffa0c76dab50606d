"""The flow on fake ports: order, what is redone after a failure, what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, RetryPolicy

from vogue.graph.build import build_graph
from vogue.graph.resolve import resolve
from vogue.graph.state import Flow, FlowState, Ports, dump, initial_state
from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import (
    ClarificationNeeded,
    JobNotFound,
    PlanRejected,
    ReviewUnavailable,
    ServiceError,
    ThinkingUnavailable,
)
from vogue.schemas.jobs import Asset, Stage, StoredAsset
from vogue.schemas.plan import Plan, PlanChoice, PlanDecision, Review, Trial
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, SelfReview, Thinking, VisualInput
from vogue.schemas.stages import (
    DecodedMedia,
    DenoiseEvent,
    DenoiseJob,
    EncodeInstructionRequest,
    LatentCheckpoint,
    PassStates,
    PlanRequest,
    ReviewRequest,
)
from vogue.services.blobs import BlobStore
from vogue.services.fakes import FakeUnderstanding, fake_ports, netpbm, read_netpbm

PRESET = get_preset("tiny")
AT_ONCE = RetryPolicy(
    initial_interval=0.0, max_attempts=3, jitter=False, retry_on=lambda error: isinstance(error, ServiceError)
)
CLIP = "upload_clip-clip-clip-clip"


class Diary:
    """A journal that remembers."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.checkpoint: LatentCheckpoint | None = None
        self.delivered: DecodedMedia | None = None
        self.spec: JobSpec | None = None
        self.said = ""
        self.over = False

    async def stage(self, stage: Stage) -> None:
        if stage not in self.entries:
            self.entries.append(stage)

    async def step(self, steps_done: int, steps_total: int) -> None:
        self.entries.append((steps_done, steps_total))

    async def preview(self, picture: Any, height_px: int, width_px: int, steps_done: int) -> None:
        self.entries.append(f"preview {height_px}×{width_px} after {steps_done}")

    async def resumed(self, steps_done: int) -> None:
        self.entries.append(f"from {steps_done}")

    async def notice(self, message: str) -> None:
        self.entries.append(message)

    async def plan(self, plan: Plan) -> None:
        self.entries.append(plan)

    async def settle(self, spec: JobSpec) -> None:
        self.spec = spec

    async def text(self, start: int, piece: str) -> None:
        self.said = self.said[:start] + piece

    async def answered(self) -> None:
        self.over = True

    async def trial(self, trial: Trial) -> None:
        self.entries.append(trial)

    async def save_checkpoint(self, checkpoint: LatentCheckpoint) -> None:
        self.checkpoint = checkpoint

    async def last_checkpoint(self) -> LatentCheckpoint | None:
        return self.checkpoint

    async def complete(self, spec: JobSpec, decoded: DecodedMedia) -> None:
        self.delivered = decoded


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
async def ports(blobs: BlobStore) -> Ports:
    return fake_ports(PRESET, blobs)


def _state(blobs: BlobStore, preset: Preset = PRESET, clip_frames: int = 0, **fields: Any) -> FlowState:
    uploads: list[StoredAsset] = []
    visuals: tuple[VisualInput, ...] = ()
    if clip_frames:
        frames = np.arange(clip_frames * 32 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(clip_frames, 32, 48, 3)
        asset = Asset(
            id=CLIP,
            kind=MediaKind.VIDEO,
            media_type="video/x-portable-pixmap",
            num_bytes=1,
            filename="clip",
            height_px=32,
            width_px=48,
            num_frames=clip_frames,
            fps=8.0,
        )
        uploads.append(StoredAsset(asset=asset, artifact=blobs.put(netpbm(frames), asset.media_type)))
        visuals = (VisualInput(tag="video1", role=Role.SOURCE, upload_id=CLIP),)
    request = GenerationRequest(**({"instruction": "make it blue", "visuals": visuals} | fields))
    spec, _ = resolve(request, preset, {one.asset.id: one.asset for one in uploads}, 3)
    return initial_state("job_1", request, spec, uploads)


async def test_a_sentence_becomes_a_clip(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    await build_graph().ainvoke(_state(blobs), context=Flow(PRESET, ports, diary))
    stages = [entry for entry in diary.entries if isinstance(entry, Stage)]
    assert stages == [Stage.INGEST, Stage.ROUTE, Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.DELIVER]
    assert [entry for entry in diary.entries if isinstance(entry, tuple)] == [(n, 4) for n in range(1, 5)]
    assert diary.delivered is not None
    assert read_netpbm(bytes(blobs.get(diary.delivered.media))).shape == (5, 32, 32, 3)


async def test_an_edit_has_the_shape_of_its_source(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    state = _state(blobs, clip_frames=7)
    assert state["spec"]["task"] == Task.V2V_EDIT
    await build_graph().ainvoke(state, context=Flow(PRESET, ports, diary))
    assert diary.delivered is not None
    assert diary.delivered.frames.shape == (5, 16, 32, 3)


async def test_the_state_is_plain_values(blobs: BlobStore, ports: Ports) -> None:
    saver = InMemorySaver()
    graph = build_graph(saver)
    config: Any = {"configurable": {"thread_id": "job_1"}}
    await graph.ainvoke(_state(blobs, clip_frames=5), config, context=Flow(PRESET, ports, Diary()), durability="sync")

    def check(value: Any) -> None:
        assert value is None or type(value) in (str, int, float, bool, dict, list)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(item)

    check((await graph.aget_state(config)).values)


class LosesJobs:
    """A denoiser that dies after some steps of its first run, as a killed process does."""

    def __init__(self, inner: Any, after_steps: int) -> None:
        self._inner, self._after_steps = inner, after_steps
        self.started_from: list[int] = []

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        self.started_from.append(resume_from.steps_done if resume_from else 0)
        await self._inner.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        async for event in self._inner.events(job_id, after):
            if len(self.started_from) == 1 and event.steps_done > self._after_steps:
                await self._inner.cancel(job_id)
                async for _ in self._inner.events(job_id, event.seq):
                    pass
                raise JobNotFound("who?")
            yield event

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        await self._inner.cancel(job_id)


async def test_a_lost_denoiser_costs_at_most_one_checkpoint_interval(blobs: BlobStore, ports: Ports) -> None:
    whole, interrupted = Diary(), Diary()
    await build_graph().ainvoke(_state(blobs, steps=9), context=Flow(PRESET, ports, whole))
    fragile = LosesJobs(fake_ports(PRESET, blobs).denoiser, after_steps=5)
    flow = Flow(PRESET, replace(ports, denoiser=fragile), interrupted)
    await build_graph(retry=AT_ONCE).ainvoke(_state(blobs, steps=9), context=flow)
    assert fragile.started_from == [0, 4]
    assert "from 4" in interrupted.entries
    assert whole.delivered is not None
    assert interrupted.delivered is not None
    assert interrupted.delivered.media.sha256 == whole.delivered.media.sha256


async def test_retries_end(blobs: BlobStore, ports: Ports) -> None:
    class Absent(LosesJobs):
        async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
            self.started_from.append(0)
            raise ServiceError("the denoiser is not there")

    absent = Absent(ports.denoiser, 0)
    with pytest.raises(ServiceError, match="not there"):
        await build_graph(retry=AT_ONCE).ainvoke(
            _state(blobs), context=Flow(PRESET, replace(ports, denoiser=absent), Diary())
        )
    assert len(absent.started_from) == AT_ONCE.max_attempts


CONFIG: Any = {"configurable": {"thread_id": "job_1"}}


async def test_thinking_plans_and_generates_from_the_plan(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    graph = build_graph(InMemorySaver())
    await graph.ainvoke(_state(blobs, thinking=Thinking.ON), CONFIG, context=Flow(PRESET, ports, diary))
    values = (await graph.aget_state(CONFIG)).values
    assert values["spec"]["instruction"] == "MAKE IT BLUE"
    assert diary.spec == JobSpec.model_validate(values["spec"])
    assert Stage.PLAN in diary.entries
    assert diary.delivered is not None


async def _stop_at_the_plan(blobs: BlobStore, ports: Ports, diary: Diary) -> tuple[Any, Flow]:
    graph = build_graph(InMemorySaver())
    flow = Flow(PRESET, ports, diary)
    waiting = await graph.ainvoke(_state(blobs, clip_frames=5, thinking=Thinking.REVIEW), CONFIG, context=flow)
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
            _state(blobs, instruction="which star?", thinking=Thinking.ON), context=Flow(PRESET, ports, diary)
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
    state = _state(blobs, clip_frames=7, task=Task.UNDERSTAND, instruction="how many?")
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
    [
        ([8], [3], 3),
        ([2, 9], [3, 4], 4),
        ([2, 5, 4], [3, 4, 5], 4),
        ([6, 6, 6], [3, 4, 5], 3),
    ],
)
async def test_a_poor_result_is_tried_with_other_seeds_and_the_best_is_kept(
    blobs: BlobStore, ports: Ports, scores: list[int], seeds: list[int], best: int
) -> None:
    single, diary = Diary(), Diary()
    alone = Flow(PRESET, ports, single)
    await build_graph().ainvoke(_state(blobs, clip_frames=5, seed=best), context=alone)
    judge = Scores(PRESET, blobs, *scores)
    state = _state(blobs, clip_frames=5, self_review=SelfReview(min_score=7, max_trials=3))
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
    await build_graph(retry=AT_ONCE).ainvoke(_state(blobs, steps=6, self_review=SelfReview()), context=flow)
    assert fragile.started_from == [0, 0]
    assert diary.checkpoint is not None
    assert diary.checkpoint.job_id == "job_1.1"


CANNOT = PRESET.model_copy(update={"can_plan": False, "can_review": False})


def test_thinking_is_refused_where_it_is_not_learnt(blobs: BlobStore) -> None:
    with pytest.raises(ThinkingUnavailable):
        _state(blobs, CANNOT, thinking=Thinking.ON)
    with pytest.raises(ReviewUnavailable):
        _state(blobs, CANNOT, self_review=SelfReview())
