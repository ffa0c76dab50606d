"""How jobs end: quietly when all is well, by a deadline wherever they are, and with what they need to be resumed only if they can be."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vogue.schemas.errors import MediaUnreadable, ServiceOverloaded, ServiceTimeout
from vogue.schemas.jobs import EventKind, JobStatus
from vogue.schemas.plan import PlanDecision
from vogue.schemas.requests import GenerationRequest, Thinking
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint
from vogue.services.leases import Lease


def ask(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**({"instruction": "a red star", "steps": 4, "seed": 1} | fields))


class Stuck:
    """A denoiser whose jobs never come further than their first step, until they are cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.started = asyncio.Event()

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        self.started.set()

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        yield DenoiseEvent(job_id=job_id, seq=1, kind="step", steps_done=1, steps_total=4)
        await asyncio.Event().wait()

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)


def stuck(house: Any, new_house: Any, **settings: Any) -> tuple[Any, Stuck]:
    denoiser = Stuck()
    house = new_house.build(house.state_dir / "stuck", **settings)
    ports = replace(house.ports, denoiser=denoiser)
    return new_house.build(house.state_dir, ports, **settings), denoiser


async def test_a_good_job_ends_without_a_warning(
    tmp_path: Path, new_house: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    house = new_house.build(tmp_path)
    await house.orchestrator.start()
    assert (await house.make()).status is JobStatus.COMPLETED
    # The lease is renewed once more just when the job has delivered, and the flow is not through yet.
    leases, ended, renewed = house.orchestrator._leases, asyncio.Event(), asyncio.Event()
    loop, complete, renew = asyncio.get_running_loop(), leases.complete, leases.renew

    def completing(*args: Any) -> None:
        complete(*args)
        loop.call_soon_threadsafe(ended.set)
        asyncio.run_coroutine_threadsafe(renewed.wait(), loop).result()

    def renewing(lease: Lease, ttl_s: float) -> bool:
        if asyncio.run_coroutine_threadsafe(_is_set(ended), loop).result():
            loop.call_soon_threadsafe(renewed.set)
        return renew(lease, ttl_s)

    monkeypatch.setattr(leases, "complete", completing)
    monkeypatch.setattr(leases, "renew", renewing)
    job = await house.orchestrator.submit(ask())
    await ended.wait()
    house.orchestrator._foreman.nudge(job.id)
    assert (await house.finish(job.id)).status is JobStatus.COMPLETED
    await house.orchestrator.close()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("vogue")] == []


async def _is_set(event: asyncio.Event) -> bool:
    return event.is_set()


async def test_a_job_at_work_ends_at_its_deadline_and_frees_its_place(house: Any, new_house: Any) -> None:
    house, denoiser = stuck(house, new_house, max_running_jobs=1)
    await house.orchestrator.start()
    late = await house.orchestrator.submit(ask(deadline_s=1.0))
    await denoiser.started.wait()
    over = await house.finish(late.id)
    assert (over.status, over.error.code, over.error.param) == (JobStatus.FAILED, "deadline_exceeded", "deadline_s")
    assert denoiser.cancelled == [late.id] or denoiser.cancelled[0].startswith(late.id)
    denoiser.started.clear()
    following = await house.orchestrator.submit(ask())
    await denoiser.started.wait()  # the one place is free again
    assert (await house.orchestrator.get(following.id)).status is JobStatus.IN_PROGRESS
    await house.orchestrator.close()


async def test_jobs_in_the_queue_and_at_a_plan_end_at_their_deadlines(house: Any, new_house: Any) -> None:
    house, denoiser = stuck(house, new_house, max_running_jobs=1)
    await house.orchestrator.start()
    first = await house.orchestrator.submit(ask())
    await denoiser.started.wait()
    queued = await house.orchestrator.submit(ask(deadline_s=0.2))
    over = await house.finish(queued.id)
    assert (over.status, over.error.code, over.started_at_s) == (JobStatus.FAILED, "deadline_exceeded", None)
    assert (await house.orchestrator.get(first.id)).status is JobStatus.IN_PROGRESS
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET status = 'waiting', deadline_at_s = 1, lease_until_s = 0 WHERE id = ?", (first.id,))
    assert (await house.finish(first.id)).error.code == "deadline_exceeded"
    await house.orchestrator.close()


async def test_a_job_that_was_late_can_be_resumed_with_as_much_time_again(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    job = await house.orchestrator.submit(ask(deadline_s=3600.0))
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET deadline_at_s = 1")
    await house.orchestrator.start()
    assert (await house.finish(job.id)).error.code == "deadline_exceeded"
    await house.orchestrator.resume(job.id)
    assert (await house.finish(job.id)).status is JobStatus.COMPLETED
    await house.orchestrator.close()


async def test_deadlines_survive_a_restart(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    job = await house.orchestrator.submit(ask(deadline_s=0.001))
    await house.orchestrator.close()
    house = new_house.build(tmp_path)
    await house.orchestrator.start()
    assert (await house.finish(job.id)).error.code == "deadline_exceeded"
    await house.orchestrator.close()


@pytest.mark.parametrize("seconds", [0, -1, 1e9, float("nan"), "soon"])
def test_a_deadline_is_a_time_to_come(seconds: Any) -> None:
    with pytest.raises(ValueError, match="deadline_s"):
        ask(deadline_s=seconds)


@pytest.mark.parametrize(("error", "kept"), [(ServiceTimeout("later"), True), (MediaUnreadable("never"), False)])
async def test_failed_jobs_keep_their_blobs_if_they_can_be_resumed(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, kept: bool
) -> None:
    house = new_house.build(tmp_path, blob_retention_s=100.0)
    monkeypatch.setattr("vogue.graph.build.RETRY", None)
    codec, failing = house.ports.codec, True
    decode = codec.decode

    async def broken(request: Any) -> Any:
        if failing:
            raise error
        return await decode(request)

    monkeypatch.setattr(type(codec), "decode", lambda _, request: broken(request))
    await house.orchestrator.start()
    failed = await house.make(steps=4)
    assert failed.error.code == type(error).code
    for path in house.blobs.root.rglob("*/*/*"):
        os.utime(path, (time.time() - 1000,) * 2)
    before = _blobs(house)
    house.orchestrator._housekeeper.sweep()
    assert (len(_blobs(house)) > 0) is kept and before
    failing = False
    await house.orchestrator.close()
    house = new_house.build(tmp_path)
    await house.orchestrator.start()
    await house.orchestrator.resume(failed.id)
    assert (await house.finish(failed.id)).status is JobStatus.COMPLETED
    steps = [event for event in await house.events(failed.id) if event.kind is EventKind.STEP]
    assert [event.steps_done for event in steps] == [1, 2, 3, 4], "steps that are done again are no news"
    await house.orchestrator.close()


def _blobs(house: Any) -> list[Path]:
    return [path for path in (house.blobs.root / "blobs").rglob("*") if path.is_file()]


async def test_plans_that_wait_are_limited(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_waiting_plans=2)
    house.orchestrator._intake._preset = house.preset.model_copy(update={"can_plan": True})
    review = ask(thinking=Thinking.REVIEW)
    jobs = [await house.orchestrator.submit(review) for _ in range(2)]
    with pytest.raises(ServiceOverloaded, match="2 plans wait") as caught:
        await house.orchestrator.submit(review)
    assert caught.value.retry_after_s == 60.0
    await house.orchestrator.submit(ask())  # others are welcome
    await house.orchestrator.cancel(jobs[0].id)
    jobs.append(await house.orchestrator.submit(review))
    await house.orchestrator.start()
    async for event in house.orchestrator.events(jobs[1].id):
        if event.kind is EventKind.WAITING:
            break
    with pytest.raises(ServiceOverloaded, match="2 plans wait"):
        await house.orchestrator.submit(review)
    await house.orchestrator.decide(jobs[1].id, PlanDecision())
    await house.orchestrator.submit(review)
    await house.orchestrator.close()
