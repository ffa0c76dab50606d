"""The orchestrator on fake ports: progress, cancel, admission, and life after death."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role
from vogue.schemas.errors import (
    AssetNotFound,
    DeviceTooSmall,
    EngineError,
    JobCancelled,
    LimitExceeded,
    ServiceError,
    ServiceOverloaded,
)
from vogue.schemas.jobs import EventKind, JobStatus, Stage
from vogue.schemas.plan import PlanDecision
from vogue.schemas.ports import Denoiser
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, VisualInput
from vogue.schemas.stages import DecodedMedia, DecodeRequest, DenoiseEvent, DenoiseJob, LatentCheckpoint
from vogue.services.denoiser import DenoiserService
from vogue.services.fakes import FakeCodec, FakeLoop, fake_ports, netpbm
from vogue.services.jobs import JobStore
from vogue.services.leases import LeaseTable

REQUEST = GenerationRequest(instruction="a red star", steps=8, seed=4)


class Gate:
    """A denoiser whose listeners see nothing beyond a step until the gate opens."""

    def __init__(self, inner: Denoiser, at_step: int) -> None:
        self._inner, self._at_step = inner, at_step
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self.resumed_from: list[int | None] = []
        self.cancelled: list[str] = []

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        self.resumed_from.append(resume_from.steps_done if resume_from else None)
        await self._inner.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        async for event in self._inner.events(job_id, after):
            if event.steps_done > self._at_step and not self.open.is_set():
                self.reached.set()
                await self.open.wait()
            yield event

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        await self._inner.cancel(job_id)


async def test_a_job_from_submit_to_asset(house: Any) -> None:
    job = await house.orchestrator.submit(REQUEST)
    assert (job.status, job.steps_total) == (JobStatus.QUEUED, 8)
    done = await house.finish(job.id)
    assert (done.status, done.steps_done, done.stage) == (JobStatus.COMPLETED, 8, Stage.DELIVER)
    media, poster = done.assets
    assert (media.kind, media.num_frames, media.fps) == (MediaKind.VIDEO, 5, 8.0)
    assert (poster.kind, poster.num_frames, poster.fps) == (MediaKind.IMAGE, 1, 0.0)
    stored = await house.orchestrator.asset(media.id)
    assert len(house.blobs.get(stored.artifact)) == media.num_bytes
    events = await house.events(job.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.steps_done for event in events if event.kind is EventKind.STEP] == list(range(1, 9))
    assert events[-1].assets == done.assets


async def test_an_answer_can_wait_for_the_end_but_not_for_ever(new_house: Any, tmp_path: Path) -> None:
    house = new_house.build(tmp_path)
    job = await house.orchestrator.submit(REQUEST)
    assert (await house.orchestrator.get(job.id, 0.01)).status is JobStatus.QUEUED
    asked = asyncio.create_task(house.orchestrator.get(job.id, 60.0))
    await house.orchestrator.start()
    assert (await asked).status is JobStatus.COMPLETED
    assert (await house.orchestrator.get(job.id, 60.0)).status is JobStatus.COMPLETED
    await house.orchestrator.close()


async def test_digests_never_leave(house: Any) -> None:
    done = await house.make()
    stored = await house.orchestrator.asset(done.assets[0].id)
    told = done.model_dump_json() + "".join(event.model_dump_json() for event in await house.events(done.id))
    assert stored.artifact.sha256 not in told
    assert "file:///" not in told


async def test_equal_requests_give_equal_files(house: Any) -> None:
    digests = set()
    for _ in range(2):
        done = await house.finish((await house.orchestrator.submit(REQUEST)).id)
        digests.add((await house.orchestrator.asset(done.assets[0].id)).artifact.sha256)
    assert len(digests) == 1


async def test_an_upload_is_probed_edited_and_cut_with_a_notice(house: Any) -> None:
    clip = np.random.default_rng(0).integers(0, 255, (12, 24, 40, 3), dtype=np.uint8)
    upload = await house.orchestrator.add_upload(house.blobs.put(netpbm(clip), "x/y"), "clip.ppm")
    assert (upload.kind, upload.num_frames, upload.height_px) == (MediaKind.VIDEO, 12, 24)
    visual = VisualInput(tag="video1", role=Role.SOURCE, upload_id=upload.id)
    done = await house.make(visuals=(visual,))
    assert done.status is JobStatus.COMPLETED
    assert done.notices[0].startswith("video1 has 12 frames; the first 9 frames")
    assert (done.assets[0].num_frames, done.assets[0].height_px, done.assets[0].width_px) == (9, 16, 32)


async def test_refused_requests_leave_no_job(house: Any) -> None:
    missing = VisualInput(tag="image1", role=Role.SOURCE, upload_id="upload_nothing-is-here-00")
    with pytest.raises(AssetNotFound) as caught:
        await house.orchestrator.submit(GenerationRequest(instruction="x", visuals=(missing,)))
    assert caught.value.param == "visuals.0.upload_id"
    with pytest.raises(LimitExceeded):
        await house.orchestrator.submit(GenerationRequest(instruction="x", steps=65))
    assert await house.orchestrator.list() == []


async def test_cancel_reaches_the_denoiser_and_ends_the_job(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    gate = Gate(house.ports.denoiser, at_step=3)
    house = new_house.build(tmp_path, replace(house.ports, denoiser=gate))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    await house.orchestrator.cancel(job.id)
    done = await house.finish(job.id)
    assert (done.status, done.steps_done) == (JobStatus.CANCELLED, 3)
    assert gate.cancelled == [job.id]
    assert (await house.orchestrator.cancel(job.id)).status is JobStatus.CANCELLED
    with pytest.raises(JobCancelled):
        await house.orchestrator.resume(job.id)
    await house.orchestrator.close()


async def test_a_cancel_moves_the_others_up_and_tells_them(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    first, second = [await house.orchestrator.submit(REQUEST) for _ in range(2)]
    listener = house.orchestrator._news.listen(second.id)
    await house.orchestrator.cancel(first.id)
    assert listener.is_set()
    await house.orchestrator.close()


async def test_a_rejected_plan_is_an_end(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    job = await house.orchestrator.submit(REQUEST)
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET status = ?", (JobStatus.WAITING.value,))
    listener = house.orchestrator._news.listen(job.id, end_only=True)
    await house.orchestrator.decide(job.id, PlanDecision(approved=False))
    assert listener.is_set()
    await house.orchestrator.close()


async def test_cancel_ends_the_job_also_when_the_denoiser_does_not_listen(tmp_path: Path, new_house: Any) -> None:
    class Deaf(Gate):
        async def cancel(self, job_id: str) -> None:
            raise ServiceError("nobody is there")

    house = new_house.build(tmp_path)
    gate = Deaf(house.ports.denoiser, at_step=3)
    house = new_house.build(tmp_path, replace(house.ports, denoiser=gate))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    await house.orchestrator.cancel(job.id)
    assert (await house.finish(job.id)).status is JobStatus.CANCELLED
    await house.orchestrator.close()


async def test_a_denoiser_that_is_closed_in_order_costs_no_job(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    closing = threading.Event()

    class Halting(FakeLoop):
        def tick(self, jobs: Sequence[Any]) -> None:
            if any(job.steps_done == 3 for job in jobs):
                closing.wait(timeout=20)
            super().tick(jobs)

    first = Gate(DenoiserService(Halting(house.blobs), house.blobs), at_step=3)
    first.open.set()
    house = new_house.build(tmp_path, replace(house.ports, denoiser=first))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(REQUEST)
    async for event in house.orchestrator.events(job.id):
        if event.steps_done == 3:
            break
    closed, first._inner = first._inner, DenoiserService(FakeLoop(house.blobs), house.blobs)
    closed._closing = True
    closing.set()
    await closed.close()
    done = await house.finish(job.id)
    assert (done.status, len(first.resumed_from)) == (JobStatus.COMPLETED, 2)
    await house.orchestrator.close()


async def test_short_jobs_may_pass_a_long_one_but_not_for_ever(house: Any, new_house: Any, tmp_path: Path) -> None:
    house = new_house.build(tmp_path / "queue", max_open_jobs=8)
    store: JobStore = house.orchestrator._jobs
    spec = (await house.orchestrator.submit(REQUEST)).spec
    for cost_s in (60.0, 1.0, 2.0):
        store.add(REQUEST, spec, (), 8, cost_s=cost_s)
    leases, order = LeaseTable(store._database), []
    while (lease := leases.take("me", 60.0)) is not None:
        with store._database.reading() as db:
            row = db.execute("SELECT cost_s FROM jobs WHERE id = ?", (lease.job_id,)).fetchone()
        order.append(row["cost_s"])
    assert order == [None, 1.0, 2.0, 60.0]


async def test_a_server_learns_how_long_jobs_take_and_says_when_to_come_back(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_open_jobs=3, max_running_jobs=1)
    first = await house.orchestrator.submit(REQUEST)
    await house.orchestrator.start()
    await house.finish(first.id)
    await house.orchestrator.close()
    house = new_house.build(tmp_path, max_open_jobs=3, max_running_jobs=1)
    await asyncio.to_thread(house.orchestrator._estimator.learn)
    jobs = [await house.orchestrator.submit(REQUEST) for _ in range(3)]
    lease = LeaseTable(house.orchestrator._jobs._database).take("somebody", 60.0)
    assert lease is not None and lease.job_id == jobs[0].id
    waits = [house.orchestrator._jobs.events(job.id)[0][-1] for job in jobs[1:]]
    assert [event.queue_position for event in waits] == [1, 2]
    assert waits[0].eta_s is not None and waits[1].eta_s is not None
    assert 0 < waits[0].eta_s < waits[1].eta_s
    with pytest.raises(ServiceOverloaded) as caught:
        await house.orchestrator.submit(REQUEST)
    assert caught.value.retry_after_s == pytest.approx(max(1.0, waits[0].eta_s))


async def test_what_can_never_fit_the_denoiser_is_refused_before_it_is_queued(tmp_path: Path, new_house: Any) -> None:
    class Small(Gate):
        async def room_bytes(self) -> int | None:
            return 1000

    house = new_house.build(tmp_path)
    house = new_house.build(tmp_path, replace(house.ports, denoiser=Small(house.ports.denoiser, at_step=99)))
    with pytest.raises(DeviceTooSmall, match="smaller size"):
        await house.orchestrator.submit(REQUEST)
    assert await house.orchestrator.list() == []


async def test_admission(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_open_jobs=2)
    await house.orchestrator.submit(REQUEST)
    await house.orchestrator.submit(REQUEST)
    with pytest.raises(ServiceOverloaded) as caught:
        await house.orchestrator.submit(REQUEST)
    assert caught.value.retry_after_s is not None
    await house.orchestrator.start()
    for job in await house.orchestrator.list():
        assert (await house.finish(job.id)).status is JobStatus.COMPLETED
    await house.orchestrator.submit(REQUEST)
    await house.orchestrator.close()


async def test_a_successor_goes_on_where_a_stopped_orchestrator_was(tmp_path: Path, new_house: Any) -> None:
    first = new_house.build(tmp_path)
    gate = Gate(first.ports.denoiser, at_step=5)
    first = new_house.build(tmp_path, replace(first.ports, denoiser=gate))
    await first.orchestrator.start()
    job = await first.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    await first.orchestrator.close()
    # The denoiser died as well: its successor knows no job.
    second = new_house.build(tmp_path)
    fresh = Gate(second.ports.denoiser, at_step=99)
    second = new_house.build(tmp_path, replace(second.ports, denoiser=fresh))
    await second.orchestrator.start()
    done = await second.finish(job.id)
    assert done.status is JobStatus.COMPLETED
    assert fresh.resumed_from == [4]
    events = await second.events(job.id)
    assert [event.steps_done for event in events if event.kind is EventKind.STEP] == list(range(1, 9))
    resumed = [(event.stage, event.steps_done) for event in events if event.kind is EventKind.RESUMED]
    assert resumed == [(None, 5), (Stage.DENOISE, 4)]
    whole = await second.finish((await second.orchestrator.submit(REQUEST)).id)
    files = [(await second.orchestrator.asset(one.assets[0].id)).artifact.sha256 for one in (done, whole)]
    assert files[0] == files[1]
    await second.orchestrator.close()


async def test_a_dead_orchestrator_is_succeeded_when_its_lease_runs_out(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = new_house.build(tmp_path)
    gate = Gate(first.ports.denoiser, at_step=5)
    first = new_house.build(tmp_path, replace(first.ports, denoiser=gate), lease_ttl_s=0.2)
    await first.orchestrator.start()
    job = await first.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    # As SIGKILL does: nothing is given back.
    with monkeypatch.context() as patched:
        patched.setattr(LeaseTable, "release", lambda *_: None)
        await first.orchestrator.close()
    second = new_house.build(tmp_path, lease_ttl_s=0.2)
    await second.orchestrator.start()
    assert (await second.finish(job.id)).status is JobStatus.COMPLETED
    await second.orchestrator.close()


class BrokenCodec(FakeCodec):
    """Fails to decode as long as it is told to."""

    error: Exception | None = None

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        if self.error is not None:
            raise self.error
        return await super().decode(request)


@pytest.mark.parametrize(
    ("error", "code"), [(EngineError("no ink"), "engine_error"), (ValueError("surprise"), "internal_error")]
)
async def test_a_failed_job_says_why_and_resumes_without_stepping_again(
    tmp_path: Path, new_house: Any, error: Exception, code: str
) -> None:
    house = new_house.build(tmp_path)
    codec = BrokenCodec(house.preset, house.blobs)
    codec.error = error
    gate = Gate(house.ports.denoiser, at_step=99)
    house = new_house.build(tmp_path, replace(house.ports, codec=codec, denoiser=gate))
    await house.orchestrator.start()
    failed = await house.make()
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.code == code
    codec.error = None
    house.blobs.sweep(house.orchestrator._jobs.kept_digests(), 0.0)
    await house.orchestrator.resume(failed.id)
    assert (await house.finish(failed.id)).status is JobStatus.COMPLETED
    assert gate.resumed_from == [None]
    await house.orchestrator.close()


async def test_a_job_that_kills_its_workers_fails_in_the_end(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_attempts=3)
    job = await house.orchestrator.submit(REQUEST)
    leases = house.orchestrator._leases
    for _ in range(3):
        assert leases.take("dead", -1.0) is not None
    await house.orchestrator.start()
    failed = await house.finish(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert "started 3 times" in failed.error.message
    await house.orchestrator.close()


async def test_two_jobs_at_once(house: Any) -> None:
    jobs = [await house.orchestrator.submit(REQUEST) for _ in range(5)]
    ended = await asyncio.gather(*(house.finish(job.id) for job in jobs))
    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    listed = await house.orchestrator.list()
    assert [job.id for job in listed] == [job.id for job in reversed(jobs)]


async def test_ports_of_a_flow_can_be_faked_alone(house: Any) -> None:
    ports = fake_ports(house.preset, house.blobs)
    pieces = [piece async for piece in ports.understanding.answer(_question())]
    assert "".join(pieces) == "0 visuals"


def _question() -> Any:
    from vogue.schemas.stages import AnswerRequest

    return AnswerRequest(instruction="how many?")
