"""The flow on fake ports: order, what is redone after a failure, what ends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from vogue.graph.build import build_graph
from vogue.graph.state import Flow, Ports
from vogue.schemas.config import Task
from vogue.schemas.errors import ServiceError
from vogue.schemas.jobs import Stage
from vogue.schemas.stages import DenoiseJob, LatentCheckpoint
from vogue.services.blobs import BlobStore
from vogue.services.fakes import fake_ports, read_netpbm

from .diaries import AT_ONCE, PRESET, Diary, LosesJobs, state_of


async def test_a_sentence_becomes_a_clip(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    await build_graph().ainvoke(state_of(blobs), context=Flow(PRESET, ports, diary))
    stages = [entry for entry in diary.entries if isinstance(entry, Stage)]
    assert stages == [Stage.INGEST, Stage.ROUTE, Stage.ENCODE, Stage.DENOISE, Stage.DECODE, Stage.DELIVER]
    assert [entry for entry in diary.entries if isinstance(entry, tuple)] == [(n, 4) for n in range(1, 5)]
    assert diary.delivered is not None
    assert read_netpbm(bytes(blobs.get(diary.delivered.media))).shape == (5, 32, 32, 3)


async def test_an_edit_has_the_shape_of_its_source(blobs: BlobStore, ports: Ports) -> None:
    diary = Diary()
    state = state_of(blobs, clip_frames=7)
    assert state["spec"]["task"] == Task.V2V_EDIT
    await build_graph().ainvoke(state, context=Flow(PRESET, ports, diary))
    assert diary.delivered is not None
    assert diary.delivered.frames.shape == (5, 16, 32, 3)


async def test_the_state_is_plain_values(blobs: BlobStore, ports: Ports) -> None:
    saver = InMemorySaver()
    graph = build_graph(saver)
    config: Any = {"configurable": {"thread_id": "job_1"}}
    await graph.ainvoke(state_of(blobs, clip_frames=5), config, context=Flow(PRESET, ports, Diary()), durability="sync")

    def check(value: Any) -> None:
        assert value is None or type(value) in (str, int, float, bool, dict, list)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(item)

    check((await graph.aget_state(config)).values)


async def test_a_lost_denoiser_costs_at_most_one_checkpoint_interval(blobs: BlobStore, ports: Ports) -> None:
    whole, interrupted = Diary(), Diary()
    await build_graph().ainvoke(state_of(blobs, steps=9), context=Flow(PRESET, ports, whole))
    fragile = LosesJobs(fake_ports(PRESET, blobs).denoiser, after_steps=5)
    flow = Flow(PRESET, replace(ports, denoiser=fragile), interrupted)
    await build_graph(retry=AT_ONCE).ainvoke(state_of(blobs, steps=9), context=flow)
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
            state_of(blobs), context=Flow(PRESET, replace(ports, denoiser=absent), Diary())
        )
    assert len(absent.started_from) == AT_ONCE.max_attempts
