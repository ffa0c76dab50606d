"""Live progress: place in the queue, time left, previews, and listeners that come late."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from vogue.graph.previews import preview_size
from vogue.schemas.config import ScheduleConfig
from vogue.schemas.errors import EngineError
from vogue.schemas.jobs import EventKind, JobEvent, JobStatus
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import PreviewRequest
from vogue.services.fakes import FakeCodec, read_netpbm


class Slowly:
    """A denoiser whose listeners are told of a step only after the preview before it is there."""

    def __init__(self, inner: Any, codec: WatchedCodec) -> None:
        self._inner, self._codec = inner, codec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def events(self, job_id: str, after: int = 0) -> Any:
        async for event in self._inner.events(job_id, after):
            yield event
            if event.kind == "preview":
                await self._codec.made.wait()
                self._codec.made.clear()


class WatchedCodec(FakeCodec):
    """Says when a preview was made, or fails at it."""

    broken = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.made = asyncio.Event()

    async def preview(self, request: PreviewRequest) -> Artifact:
        try:
            if self.broken:
                raise EngineError("no ink")
            return await super().preview(request)
        finally:
            # The journal writes on a thread after this.
            asyncio.get_running_loop().call_later(0.05, self.made.set)


async def watched(house: Any, **fields: Any) -> list[JobEvent]:
    request = GenerationRequest(instruction="a red star", steps=8, **fields)
    job = await house.orchestrator.submit(request)
    assert (await house.finish(job.id)).status is JobStatus.COMPLETED
    return await house.events(job.id)


async def previewing(tmp_path: Path, new_house: Any) -> tuple[Any, WatchedCodec]:
    house = new_house.build(tmp_path)
    codec = WatchedCodec(house.preset, house.blobs)
    ports = replace(house.ports, codec=codec, denoiser=Slowly(house.ports.denoiser, codec))
    house = new_house.build(tmp_path, ports)
    await house.orchestrator.start()
    return house, codec


async def test_previews_come_when_they_are_asked_for(tmp_path: Path, new_house: Any) -> None:
    house, codec = await previewing(tmp_path, new_house)
    assert not [event for event in await watched(house) if event.kind is EventKind.PREVIEW]
    events = await watched(house, preview_every_steps=3)
    shown = [event for event in events if event.kind is EventKind.PREVIEW]
    assert [event.steps_done for event in shown] == [3, 6]
    stored = await house.orchestrator.asset(shown[0].assets[0].id)
    assert read_netpbm(bytes(house.blobs.get(stored.artifact))).shape == (1, 32, 32, 3)
    job = await house.orchestrator.get(events[0].job_id)
    listed = {asset.id for asset in await house.orchestrator.assets()}
    assert len(job.assets) == 2 and not listed & {event.assets[0].id for event in shown}
    # The same pixels, watched or not.
    files = [
        await house.orchestrator.asset((await house.make(steps=8, seed=3, **more)).assets[0].id)
        for more in ({}, {"preview_every_steps": 1})
    ]
    assert files[0].artifact.sha256 == files[1].artifact.sha256
    codec.broken = True
    assert not [event for event in await watched(house, preview_every_steps=3) if event.kind is EventKind.PREVIEW]
    await house.orchestrator.delete(job.id)
    assert await house.orchestrator.assets() is not None
    await house.orchestrator.close()


async def test_places_in_the_queue_and_time_left(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_running_jobs=1)
    jobs = [await house.orchestrator.submit(GenerationRequest(instruction="a star", steps=8)) for _ in range(4)]
    await house.orchestrator.cancel(jobs[1].id)
    await house.orchestrator.start()
    for number in (0, 2, 3):
        await house.finish(jobs[number].id)
    places = [
        [event.queue_position for event in await house.events(job.id) if event.kind is EventKind.QUEUED] for job in jobs
    ]
    assert places == [[1, 1], [2], [3, 2, 1], [4, 3, 2, 1]]
    last = await house.events(jobs[3].id)
    waits = [event.eta_s for event in last if event.kind is EventKind.QUEUED]
    assert waits[:3] == [None, None, None] and waits[3] is not None
    steps = [event.eta_s for event in last if event.kind is EventKind.STEP]
    assert steps[0] is None and steps[-1] == 0.0 and all(left is not None and left >= 0 for left in steps[1:])
    await house.orchestrator.close()


@pytest.mark.parametrize("last", [0, 1, 4, 9])
async def test_a_late_or_returning_listener_misses_nothing(house: Any, client: httpx.AsyncClient, last: int) -> None:
    events = await watched(house)
    path = f"/v1/jobs/{events[0].job_id}/events"
    answer = await client.get(path, headers={"last-event-id": str(last)})
    ids = [int(line.removeprefix("id: ")) for line in answer.text.splitlines() if line.startswith("id: ")]
    assert ids == list(range(last + 1, len(events) + 1))


def test_sizes_of_previews() -> None:
    assert preview_size(64, 48) == (64, 48)
    assert preview_size(480, 848) == (109, 192)
    assert preview_size(16, 16 * 1000) == (1, 192)


def test_what_a_job_is_heading_for() -> None:
    from vogue.engines.schedule import get_schedule
    from vogue.schemas.references import DType, TensorRef
    from vogue.schemas.stages import DenoiseJob, Pass
    from vogue.services.stepping import straight_on

    rng = np.random.default_rng(0)
    noise, goal = (rng.normal(size=(2, 3, 4, 4)).astype(np.float32) for _ in range(2))
    ref = TensorRef(uri="file:///x", sha256="0" * 64, dtype=DType.FLOAT32, shape=(1, 1))
    job = DenoiseJob(
        job_id="j",
        task="t2v",
        contexts={Pass.CONDITIONAL: ref},
        latent_shape=noise.shape,
        steps=6,
        guidance=1.0,
        image_guidance=1.0,
        seed=0,
        checkpoint_every_steps=2,
    )
    schedule = ScheduleConfig(shift=3.0)
    path = [goal + float(sigma) * (noise - goal) for sigma in get_schedule(6, schedule)]
    for done in range(1, 6):
        reached = straight_on(schedule)(job, done, path[done - 1].astype(np.float32), path[done].astype(np.float32))
        assert np.allclose(reached, goal, atol=1e-4)
