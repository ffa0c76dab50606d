"""The denoiser's jobs with a step loop that waits for the test: cancel within one step, turns, nothing blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vogue.schemas.config import Task
from vogue.schemas.errors import DeviceOutOfMemory, EngineError, ServiceError
from vogue.schemas.references import DType, TensorRef
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint, Pass
from vogue.services.blobs import BlobStore
from vogue.services.denoiser import DenoiserService
from vogue.services.step_loop import Latents

CONTEXT = TensorRef(uri="file:///c", sha256="c" * 64, dtype=DType.FLOAT32, shape=(1, 4))


def _job(job_id: str, steps: int = 6, checkpoint_every_steps: int = 100) -> DenoiseJob:
    return DenoiseJob(
        job_id=job_id,
        task=Task.T2V,
        contexts={Pass.CONDITIONAL: CONTEXT},
        latent_shape=(1, 1, 2, 2),
        steps=steps,
        guidance=1.0,
        image_guidance=1.0,
        seed=0,
        checkpoint_every_steps=checkpoint_every_steps,
    )


@dataclass
class Manual:
    """A job that is stepped by hand."""

    job: DenoiseJob
    steps_done: int = 0
    shape_class: str = "one"
    memory: Latents | None = None
    rows: int = 1
    num_bytes: int = 1

    @property
    def latents(self) -> Latents:
        return np.full(self.job.latent_shape, self.steps_done, np.float32)


class ManualLoop:
    """Ticks when the test says so. A job's shape class is what its id begins with."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.ticks: list[list[str]] = []
        self.begun = 0
        self.device_rows = 100
        self.broken: set[str] = set()

    @property
    def order(self) -> list[str]:
        return [name for tick in self.ticks for name in tick]

    def open(self, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> Manual:
        return Manual(job, shape_class=job.job_id[0])

    def tick(self, jobs: Sequence[Manual]) -> None:
        if len(jobs) > self.device_rows:
            raise DeviceOutOfMemory(f"{len(jobs)} rows, but {self.device_rows} fit")
        if wrong := self.broken & {job.job.job_id for job in jobs}:
            raise EngineError(f"{', '.join(sorted(wrong))} cannot be computed")
        self.begun += 1
        self.go.acquire(timeout=20)
        self.ticks.append([job.job.job_id for job in jobs])
        for job in jobs:
            job.steps_done += 1


@pytest.fixture
def loop() -> ManualLoop:
    return ManualLoop()


@pytest.fixture
def service(loop: ManualLoop, tmp_path: Path) -> DenoiserService:
    return DenoiserService(loop, BlobStore(tmp_path), keep_finished=2)


async def _rest(service: DenoiserService, job_id: str, after: int) -> list[DenoiseEvent]:
    return [event async for event in service.events(job_id, after)]


async def test_the_step_under_way_is_the_last(service: DenoiserService, loop: ManualLoop) -> None:
    await service.start(_job("a"))
    loop.go.release(2)
    events = service.events("a")
    assert [(await anext(events)).steps_done for _ in range(2)] == [1, 2]
    # The third step is under way: it waits for the test.
    await service.cancel("a")
    loop.go.release(10)
    rest = await _rest(service, "a", 2)
    assert [(event.kind, event.steps_done) for event in rest][-1][0] == "cancelled"
    assert rest[-1].steps_done <= 3
    assert len(loop.order) <= 3


async def test_the_event_loop_answers_while_a_step_runs(service: DenoiserService, loop: ManualLoop) -> None:
    await service.start(_job("a", steps=1))
    await service.cancel("somebody else")
    await service.start(_job("a"))
    loop.go.release()
    assert [event.kind for event in await _rest(service, "a", 0)] == ["step", "completed"]


async def test_jobs_of_one_shape_share_ticks_and_come_and_go_between_them(
    service: DenoiserService, loop: ManualLoop
) -> None:
    await service.start(_job("a1", 4))
    loop.go.release()
    events = service.events("a1")
    await anext(events)
    while loop.begun < 2:
        await asyncio.sleep(0)
    # The second tick is under way, and nobody joins it any more.
    await service.start(_job("a2", 2))
    loop.go.release(3)
    for name in ("a1", "a2"):
        assert (await _rest(service, name, 0))[-1].kind == "completed"
    assert loop.ticks == [["a1"], ["a1"], ["a1", "a2"], ["a1", "a2"]]


async def test_a_cancelled_job_leaves_the_others_running(service: DenoiserService, loop: ManualLoop) -> None:
    await service.start(_job("a1", 5))
    await service.start(_job("a2", 5))
    loop.go.release()
    for name in ("a1", "a2"):
        await anext(service.events(name))
    await service.cancel("a1")
    loop.go.release(10)
    assert (await _rest(service, "a1", 0))[-1].kind == "cancelled"
    rest = await _rest(service, "a2", 0)
    assert (rest[-1].kind, rest[-1].steps_done) == ("completed", 5)


async def test_a_job_that_cannot_be_computed_fails_alone(service: DenoiserService, loop: ManualLoop) -> None:
    loop.broken = {"a2"}
    for name in ("a1", "a2", "a3"):
        await service.start(_job(name, 3))
    loop.go.release(20)
    ends = {name: (await _rest(service, name, 0))[-1] for name in ("a1", "a2", "a3")}
    assert [end.kind for end in ends.values()] == ["completed", "failed", "completed"]
    assert ends["a2"].error is not None and "a2 cannot be computed" in ends["a2"].error.message


async def test_jobs_that_do_not_fit_the_device_together_go_on_in_smaller_groups(
    service: DenoiserService, loop: ManualLoop
) -> None:
    loop.device_rows = 2
    names = ["a1", "a2", "a3", "a4"]
    for name in names:
        await service.start(_job(name, 6))
    loop.go.release(100)
    for name in names:
        assert (await _rest(service, name, 0))[-1].kind == "completed"
    assert all(len(tick) <= 2 for tick in loop.ticks)
    assert sorted(loop.order) == sorted(names * 6)


async def test_a_job_that_does_not_fit_the_device_alone_fails_alone(service: DenoiserService, loop: ManualLoop) -> None:
    loop.device_rows = 0
    await service.start(_job("a1"))
    (event,) = await _rest(service, "a1", 0)
    assert event.error is not None and event.error.code == "device_out_of_memory"
    loop.device_rows = 1
    await service.start(_job("a1", 1))
    loop.go.release()
    assert (await _rest(service, "a1", 0))[-1].kind == "completed"


async def test_old_jobs_are_forgotten(service: DenoiserService, loop: ManualLoop) -> None:
    loop.go.release(100)
    for number in range(5):
        await service.start(_job(f"job{number}", 1))
        await _rest(service, f"job{number}", 0)
    assert list(service._records) == ["job2", "job3", "job4"]


async def test_closing_stops_after_the_present_step(service: DenoiserService, loop: ManualLoop) -> None:
    await service.start(_job("a", 50))
    loop.go.release()
    events = service.events("a")
    await anext(events)
    loop.go.release(2)
    rest = asyncio.create_task(_rest(service, "a", 1))
    await service.close()
    assert len(loop.order) <= 3
    # Nobody cancelled the job: whoever listens goes on with it at the next denoiser.
    assert {event.kind for event in await rest} <= {"step"}
    with pytest.raises(ServiceError, match="being closed"):
        await service.start(_job("b"))


async def test_latents_are_kept_beside_the_next_step_and_before_it_counts(
    loop: ManualLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, disk = BlobStore(tmp_path), threading.Semaphore(0)
    put = blobs.put_tensor

    def slow_put(array: Latents) -> TensorRef:
        disk.acquire(timeout=20)
        return put(array)

    monkeypatch.setattr(blobs, "put_tensor", slow_put)
    service = DenoiserService(loop, blobs)
    await service.start(_job("a", steps=3, checkpoint_every_steps=2))
    loop.go.release(3)
    events = service.events("a")
    assert [(await anext(events)).kind for _ in range(2)] == ["step", "step"]
    while len(loop.order) < 3:
        await asyncio.sleep(0)
    assert len(service._records["a"].events) == 2
    disk.release(2)
    assert [(event.kind, event.steps_done) for event in await _rest(service, "a", 2)] == [
        ("checkpoint", 2),
        ("step", 3),
        ("completed", 3),
    ]
