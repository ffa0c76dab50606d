"""The denoiser's jobs with a step loop that waits for the test: cancel within one step, turns, nothing blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vogue.schemas.config import Task
from vogue.schemas.errors import ServiceError
from vogue.schemas.references import DType, TensorRef
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint, Pass
from vogue.services.blobs import BlobStore
from vogue.services.denoiser import DenoiserService, Latents

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


class ManualLoop:
    """Steps when the test says so."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.order: list[str] = []

    def __call__(self, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> Iterator[tuple[int, Latents]]:
        for done in range(1, job.steps + 1):
            self.go.acquire(timeout=20)
            self.order.append(job.job_id)
            yield done, np.zeros(job.latent_shape, np.float32)


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


async def test_jobs_take_turns_step_by_step(service: DenoiserService, loop: ManualLoop) -> None:
    await service.start(_job("a", 3))
    await service.start(_job("b", 3))
    loop.go.release(6)
    for name in "ab":
        assert (await _rest(service, name, 0))[-1].kind == "completed"
    assert loop.order == ["a", "b", "a", "b", "a", "b"]


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
