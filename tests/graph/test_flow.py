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
from vogue.graph.state import Flow, FlowState, Ports, initial_state
from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import JobNotFound, PlanRejected, ServiceError, ThinkingUnavailable
from vogue.schemas.jobs import Asset, Stage, StoredAsset
from vogue.schemas.plan import Plan
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, Thinking, VisualInput
from vogue.schemas.stages import DecodedMedia, DenoiseEvent, DenoiseJob, LatentCheckpoint, PlanRequest
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

    async def stage(self, stage: Stage) -> None:
        if stage not in self.entries:
            self.entries.append(stage)

    async def step(self, steps_done: int, steps_total: int) -> None:
        self.entries.append((steps_done, steps_total))

    async def resumed(self, steps_done: int) -> None:
        self.entries.append(f"from {steps_done}")

    async def notice(self, message: str) -> None:
        self.entries.append(message)

    async def save_checkpoint(self, checkpoint: LatentCheckpoint) -> None:
        self.checkpoint = checkpoint

    async def last_checkpoint(self) -> LatentCheckpoint | None:
        return self.checkpoint

    async def complete(self, spec: JobSpec, decoded: DecodedMedia, has_audio: bool) -> None:
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


PLANS = PRESET.model_copy(update={"can_plan": True})


async def test_thinking_plans_and_generates_from_the_plan(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    graph = build_graph(InMemorySaver())
    config: Any = {"configurable": {"thread_id": "job_1"}}
    await graph.ainvoke(_state(blobs, PLANS, thinking=Thinking.ON), config, context=Flow(PLANS, ports, diary))
    values = (await graph.aget_state(config)).values
    assert values["spec"]["instruction"] == "MAKE IT BLUE"
    assert Stage.PLAN in diary.entries
    assert diary.delivered is not None


@pytest.mark.parametrize("approved", [True, False])
async def test_review_waits_for_approval(blobs: BlobStore, ports: Ports, approved: bool) -> None:
    diary = Diary()
    graph = build_graph(InMemorySaver())
    config: Any = {"configurable": {"thread_id": "job_1"}}
    flow = Flow(PLANS, ports, diary)
    waiting = await graph.ainvoke(_state(blobs, PLANS, thinking=Thinking.REVIEW), config, context=flow)
    assert waiting["__interrupt__"][0].value["plan"]["dense_prompt"] == "MAKE IT BLUE"
    assert diary.delivered is None
    if approved:
        await graph.ainvoke(Command(resume=True), config, context=flow)
        assert diary.delivered is not None
    else:
        with pytest.raises(PlanRejected, match="not approved"):
            await graph.ainvoke(Command(resume=False), config, context=flow)


async def test_a_question_back_ends_the_job(blobs: BlobStore, ports: Ports) -> None:
    class Asks(FakeUnderstanding):
        async def plan(self, request: PlanRequest) -> Plan:
            return Plan(task=Task.T2V, clarification="which star?")

    flow = Flow(PLANS, replace(ports, understanding=Asks(PLANS, blobs)), Diary())
    with pytest.raises(PlanRejected, match="which star"):
        await build_graph().ainvoke(_state(blobs, PLANS, thinking=Thinking.ON), context=flow)


def test_thinking_is_refused_where_it_is_not_learnt(blobs: BlobStore) -> None:
    with pytest.raises(ThinkingUnavailable):
        _state(blobs, thinking=Thinking.ON)
