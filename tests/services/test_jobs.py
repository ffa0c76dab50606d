"""The jobs table: stored before acknowledged, events without gaps, writes fenced by the lease's epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from vogue.schemas.errors import (
    AssetNotFound,
    JobCancelled,
    JobNotFound,
    MediaUnreadable,
    ServiceOverloaded,
    ServiceTimeout,
)
from vogue.schemas.jobs import Asset, EventKind, Job, JobStatus, Stage, StoredAsset
from vogue.schemas.references import Artifact, DType, MediaKind, TensorRef
from vogue.schemas.requests import GenerationRequest, JobSpec
from vogue.schemas.stages import LatentCheckpoint
from vogue.services.database import Database, new_id
from vogue.services.jobs import JobStore
from vogue.services.leases import Lease, LeaseLost, LeaseTable
from vogue.services.saver import FencedSaver

REQUEST = GenerationRequest(instruction="a star")
LATENTS = TensorRef(uri="file:///l", sha256="b" * 64, dtype=DType.FLOAT32, shape=(16, 2, 4, 4))


def _result() -> StoredAsset:
    asset = Asset(
        id=new_id("asset"),
        kind=MediaKind.IMAGE,
        media_type="image/png",
        num_bytes=3,
        filename="a.png",
        height_px=1,
        width_px=1,
    )
    return StoredAsset(
        asset=asset, artifact=Artifact(uri="file:///a", sha256="a" * 64, media_type="image/png", num_bytes=3)
    )


class Table:
    """Both sides of one database file."""

    def __init__(self, path: Path, spec: JobSpec) -> None:
        self.spec = spec
        self.database = Database(path)
        self.jobs = JobStore(self.database)
        self.leases = LeaseTable(self.database)

    def add(self, max_open: int = 10) -> Job:
        return self.jobs.add(REQUEST, self.spec, ("short",), max_open)

    def take(self, ttl_s: float = 60.0) -> Lease:
        lease = self.leases.take("me", ttl_s)
        assert lease is not None
        return lease

    def kinds(self, job_id: str) -> list[EventKind]:
        events, _ = self.jobs.events(job_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return [event.kind for event in events]


@pytest.fixture
def table(tmp_path: Path, spec: JobSpec) -> Table:
    return Table(tmp_path / "jobs.sqlite", spec)


def test_a_job_is_stored_before_it_is_acknowledged(table: Table) -> None:
    job = table.add()
    other_process = JobStore(Database(table.database.path))
    assert other_process.get(job.id) == job
    assert job.status is JobStatus.QUEUED
    assert job.notices == ("short",)
    assert table.kinds(job.id) == [EventKind.QUEUED, EventKind.NOTICE]


def test_a_life(table: Table) -> None:
    job = table.add()
    lease = table.take()
    assert table.leases.take("you", 60.0) is None
    table.leases.record_stage(lease, Stage.ENCODE)
    table.leases.record_stage(lease, Stage.ENCODE)
    for steps_done in (1, 2, 2, 1, 3):
        table.leases.record_step(lease, steps_done, 4)
    table.leases.record_notice(lease, "short")
    table.leases.record_notice(lease, "long")
    assert not table.leases.renew(lease, 60.0)
    table.leases.complete(lease, [_result()])
    done = table.jobs.get(job.id)
    assert (done.status, done.stage, done.steps_done, done.notices) == (
        JobStatus.COMPLETED,
        Stage.ENCODE,
        3,
        ("short", "long"),
    )
    assert len(done.assets) == 1
    kinds = [EventKind.QUEUED, EventKind.NOTICE, EventKind.STAGE, *[EventKind.STEP] * 3, EventKind.NOTICE]
    assert table.kinds(job.id) == [*kinds, EventKind.COMPLETED]
    events, over = table.jobs.events(job.id, after=7)
    assert over
    assert events[0].assets == done.assets


def test_an_expired_lease_is_taken_and_its_holder_fenced(table: Table) -> None:
    job = table.add()
    old = table.take(ttl_s=-1.0)
    new = table.take()
    assert (new.job_id, new.epoch, new.attempts) == (job.id, old.epoch + 1, 2)
    writes: list[Callable[[Lease], Any]] = [
        lambda lease: table.leases.renew(lease, 1.0),
        lambda lease: table.leases.record_stage(lease, Stage.DECODE),
        lambda lease: table.leases.record_step(lease, 1, 4),
        lambda lease: table.leases.record_notice(lease, "x"),
        lambda lease: table.leases.record_checkpoint(
            lease, LatentCheckpoint(job_id=job.id, steps_done=2, latents=LATENTS)
        ),
        lambda lease: table.leases.release(lease),
        lambda lease: table.leases.fail(lease, MediaUnreadable("x")),
        lambda lease: table.leases.cancel(lease),
        lambda lease: table.leases.complete(lease, [_result()]),
    ]
    before = table.jobs.get(job.id)
    for write in writes:
        with pytest.raises(LeaseLost):
            write(old)
    assert table.jobs.get(job.id) == before
    assert table.kinds(job.id)[-1] is EventKind.RESUMED
    for write in writes[:5]:
        write(new)


def test_a_released_job_is_free_at_once_and_the_attempt_does_not_count(table: Table) -> None:
    table.add()
    table.leases.release(table.take())
    assert table.take().attempts == 1


def test_progress_resets_the_attempts(table: Table) -> None:
    job = table.add()
    for _ in range(3):
        lease = table.take(ttl_s=-1.0)
    assert lease.attempts == 3
    table.leases.record_checkpoint(lease, LatentCheckpoint(job_id=job.id, steps_done=2, latents=LATENTS))
    assert table.take().attempts == 2


def test_checkpoints_are_kept_and_protected_from_the_sweep(table: Table) -> None:
    job = table.add()
    lease = table.take()
    assert table.leases.checkpoint(lease) is None
    checkpoint = LatentCheckpoint(job_id=job.id, steps_done=2, latents=LATENTS)
    table.leases.record_checkpoint(lease, checkpoint)
    assert table.leases.checkpoint(lease) == checkpoint
    assert table.jobs.kept_digests() == {LATENTS.sha256}
    table.leases.complete(lease, [_result()])
    assert table.jobs.kept_digests() == {"a" * 64}


def test_cancel_before_work_is_final_and_during_work_is_a_request(table: Table) -> None:
    waiting = table.add()
    assert table.jobs.request_cancel(waiting.id).status is JobStatus.CANCELLED
    assert table.leases.take("me", 60.0) is None
    working = table.add()
    lease = table.take()
    assert table.jobs.request_cancel(working.id).status is JobStatus.IN_PROGRESS
    assert table.leases.renew(lease, 60.0)
    table.leases.cancel(lease)
    assert table.jobs.request_cancel(working.id).status is JobStatus.CANCELLED
    assert table.kinds(working.id)[-1] is EventKind.CANCELLED
    with pytest.raises(JobCancelled):
        table.jobs.reopen(working.id)


def test_a_failed_job_can_be_reopened(table: Table) -> None:
    job = table.add()
    table.leases.fail(table.take(), MediaUnreadable("broken", param="visuals.0"))
    failed = table.jobs.get(job.id)
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("media_unreadable", "visuals.0")
    reopened = table.jobs.reopen(job.id)
    assert (reopened.status, reopened.error) == (JobStatus.QUEUED, None)
    table.take()
    assert table.jobs.reopen(job.id).status is JobStatus.IN_PROGRESS
    assert table.kinds(job.id)[2:] == [EventKind.FAILED, EventKind.QUEUED, EventKind.RESUMED]


def test_what_a_failed_job_goes_on_from_is_kept(table: Table) -> None:
    job = table.add()
    table.leases.fail(table.take(), ServiceTimeout("later"), {"c" * 64})
    assert table.jobs.kept_digests() == {"c" * 64}
    table.jobs.reopen(job.id)
    table.leases.fail(table.take(), ServiceTimeout("broken again, before its checkpoint could be read"))
    assert table.jobs.kept_digests() == {"c" * 64}
    table.jobs.reopen(job.id)
    table.leases.fail(table.take(), MediaUnreadable("it would fail again"))
    assert table.jobs.kept_digests() == set(), "nothing can go on from there"


def test_admission(table: Table) -> None:
    table.add(max_open=2)
    table.add(max_open=2)
    with pytest.raises(ServiceOverloaded, match="2 jobs are waiting or at work, and at most 2") as caught:
        table.add(max_open=2)
    assert caught.value.retry_after_s
    assert len(table.jobs.newest(10)) == 2


def test_the_newest_come_first_page_by_page(table: Table) -> None:
    ids = [table.add().id for _ in range(5)]
    first = table.jobs.newest(2)
    assert [job.id for job in first] == [ids[4], ids[3]]
    assert [job.id for job in table.jobs.newest(10, before=first[-1].id)] == ids[2::-1]


def test_unknown_ids(table: Table) -> None:
    calls: list[Callable[[str], object]] = [
        table.jobs.get,
        table.jobs.events,
        table.jobs.request_cancel,
        table.jobs.reopen,
        lambda job_id: table.jobs.newest(3, before=job_id),
    ]
    for call in calls:
        with pytest.raises(JobNotFound, match="job_nobody"):
            call("job_nobody")
    with pytest.raises(AssetNotFound, match="upload_x"):
        table.jobs.asset("upload_x")


async def test_langgraph_checkpoints_are_fenced_in_the_same_transaction(table: Table) -> None:
    job = table.add()
    old = table.take(ttl_s=-1.0)
    saver = FencedSaver(table.database, old)
    config: Any = {"configurable": {"thread_id": job.id, "checkpoint_ns": ""}}
    first = await saver.aput(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    await saver.aput_writes(first, [("spec", {"a": 1})], "task")
    successor = FencedSaver(table.database, table.take())
    with pytest.raises(LeaseLost):
        await saver.aput(first, empty_checkpoint(), {"source": "loop", "step": 0}, {})
    with pytest.raises(LeaseLost):
        await saver.aput_writes(first, [("spec", {"a": 2})], "task", "")
    found = await successor.aget_tuple(config)
    assert found is not None
    assert found.checkpoint["id"] == first["configurable"]["checkpoint_id"]
    assert found.pending_writes == [("task", "spec", {"a": 1})]
    assert len([one async for one in successor.alist(config)]) == 1
    await successor.aput(first, empty_checkpoint(), {"source": "loop", "step": 0}, {})
    saver.close()
    successor.close()
