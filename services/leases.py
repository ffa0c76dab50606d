"""Leases: who works on a job, and the writes that only its present worker may make.

Each time a job is taken its epoch rises. Every write that belongs to the work names the epoch it was taken at, and is
refused in the same transaction once a higher one exists: a worker that was thought dead cannot spoil the work of
its successor. `saver.py` holds LangGraph's checkpoints to the same rule.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vogue.schemas.errors import DeadlineExceeded, VogueError
from vogue.schemas.jobs import ErrorInfo, EventKind, JobStatus, Stage, StoredAsset
from vogue.schemas.requests import JobSpec
from vogue.schemas.stages import LatentCheckpoint

from .database import Database
from .metrics import QUEUE_SECONDS
from .queueing import QUEUE_ORDER, tell_queue
from .rows import OPEN, append_event, end_job, insert_asset, job_row

__all__ = ["JobOver", "Lease", "LeaseLost", "LeaseTable", "check_lease", "too_late"]


class LeaseLost(RuntimeError):
    """Somebody else works on the job now, or it is gone: stop, and write nothing more about it."""


class JobOver(LeaseLost):
    """The job ended under this very lease: nothing is left to be done."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until it expires or is taken over. `attempts` counts from 1."""

    job_id: str
    epoch: int
    attempts: int = 1
    deadline_at_s: float | None = None


def check_lease(db: sqlite3.Connection, lease: Lease, *, also_over: bool = False) -> None:
    """Let only the newest lease on an unfinished job pass, or also one under which the job has ended."""
    row = db.execute("SELECT epoch, status FROM jobs WHERE id = ?", (lease.job_id,)).fetchone()
    if row is None or row[0] != lease.epoch:
        raise LeaseLost(f"job {lease.job_id} was taken from epoch {lease.epoch}, or deleted")
    if JobStatus(row[1]).final and not also_over:
        raise JobOver(f"job {lease.job_id} is over")


def too_late() -> DeadlineExceeded:
    """What a job fails of that was not over in time."""
    return DeadlineExceeded(
        "the job was not over by its deadline; resume it, with as much time again, or submit it with a later one",
        param="deadline_s",
    )


class LeaseTable:
    """The worker's side of the jobs table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, owner: str, ttl_s: float) -> Lease | None:
        """Take the next job that waits or whose lease ran out."""
        now = time.time()
        with self._database.transaction(durable=False) as db:
            row = db.execute(
                f"SELECT * FROM jobs WHERE status IN (?, ?) AND lease_until_s < ? ORDER BY {QUEUE_ORDER} LIMIT 1",
                (*OPEN, now),
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE jobs SET epoch = epoch + 1, attempts = attempts + 1, owner = ?, lease_until_s = ?, status = ?,"
                " started_at_s = COALESCE(started_at_s, ?) WHERE id = ?",
                (owner, now + ttl_s, JobStatus.IN_PROGRESS.value, now, row["id"]),
            )
            if row["started_at_s"] is not None:
                append_event(
                    db, row["id"], EventKind.RESUMED, steps_done=row["steps_done"], steps_total=row["steps_total"]
                )
            else:
                QUEUE_SECONDS.observe(now - row["created_at_s"], task=JobSpec.model_validate_json(row["spec"]).task)
            if row["status"] == JobStatus.QUEUED.value:
                tell_queue(db)
            return Lease(row["id"], row["epoch"] + 1, row["attempts"] + 1, row["deadline_at_s"])

    def end_overdue(self) -> list[str]:
        """End the jobs that nobody works on and whose deadlines have passed. Returns their ids."""
        overdue = "SELECT id FROM jobs WHERE deadline_at_s <= ? AND status IN (?, ?)"
        values = (time.time(), JobStatus.QUEUED.value, JobStatus.WAITING.value)
        with self._database.reading() as db:
            if db.execute(overdue, values).fetchone() is None:
                return []
        with self._database.transaction() as db:
            ids = [row["id"] for row in db.execute(overdue, values).fetchall()]
            for job_id in ids:
                end_job(db, job_id, JobStatus.FAILED, ErrorInfo.of(too_late()))
            tell_queue(db)
        return ids

    def renew(self, lease: Lease, ttl_s: float) -> bool:
        """Keep a lease for another `ttl_s`. Returns whether the owner has asked to cancel.

        Raises:
            LeaseLost: it is somebody else's by now.
        """
        with self.fenced(lease) as db:
            db.execute("UPDATE jobs SET lease_until_s = ? WHERE id = ?", (time.time() + ttl_s, lease.job_id))
            return bool(job_row(db, lease.job_id)["cancel_requested"])

    def release(self, lease: Lease) -> None:
        """Give an unfinished job back, for anybody to take at once. That attempt does not count."""
        with self.fenced(lease) as db:
            db.execute("UPDATE jobs SET lease_until_s = 0, attempts = attempts - 1 WHERE id = ?", (lease.job_id,))

    def record_stage(self, lease: Lease, stage: Stage) -> None:
        """Note that a stage began; entering the same stage again is no news."""
        with self.fenced(lease) as db:
            if job_row(db, lease.job_id)["stage"] != stage.value:
                db.execute("UPDATE jobs SET stage = ? WHERE id = ?", (stage.value, lease.job_id))
                append_event(db, lease.job_id, EventKind.STAGE, stage=stage)

    def record_step(self, lease: Lease, steps_done: int, steps_total: int, eta_s: float | None = None) -> None:
        """Note finished steps; steps done again after a crash are no news."""
        with self.fenced(lease) as db:
            if steps_done > job_row(db, lease.job_id)["steps_done"]:
                db.execute(
                    "UPDATE jobs SET steps_done = ?, steps_total = ? WHERE id = ?",
                    (steps_done, steps_total, lease.job_id),
                )
                append_event(
                    db,
                    lease.job_id,
                    EventKind.STEP,
                    stage=Stage.DENOISE,
                    steps_done=steps_done,
                    steps_total=steps_total,
                    eta_s=eta_s,
                )

    def record_preview(self, lease: Lease, picture: StoredAsset, steps_done: int) -> None:
        """Show what the result looks like after so many steps."""
        with self.fenced(lease) as db:
            insert_asset(db, picture, lease.job_id, purpose="preview")
            append_event(
                db,
                lease.job_id,
                EventKind.PREVIEW,
                stage=Stage.DENOISE,
                steps_done=steps_done,
                steps_total=job_row(db, lease.job_id)["steps_total"],
                assets=(picture.asset,),
            )

    def record_resumed(self, lease: Lease, steps_done: int) -> None:
        """Note that a denoiser took the job up after so many steps."""
        with self.fenced(lease) as db:
            total = job_row(db, lease.job_id)["steps_total"]
            append_event(
                db, lease.job_id, EventKind.RESUMED, stage=Stage.DENOISE, steps_done=steps_done, steps_total=total
            )

    def record_notice(self, lease: Lease, message: str) -> None:
        """Tell the owner something; the same words are not said twice."""
        with self.fenced(lease) as db:
            notices = json.loads(job_row(db, lease.job_id)["notices"])
            if message not in notices:
                db.execute("UPDATE jobs SET notices = ? WHERE id = ?", (json.dumps([*notices, message]), lease.job_id))
                append_event(db, lease.job_id, EventKind.NOTICE, message=message)

    def record_checkpoint(self, lease: Lease, checkpoint: LatentCheckpoint) -> None:
        """Remember the latents to go on from. The job has come further, so its attempts count anew."""
        with self.fenced(lease) as db:
            db.execute(
                "UPDATE jobs SET checkpoint = ?, attempts = 1 WHERE id = ?",
                (checkpoint.model_dump_json(), lease.job_id),
            )

    def checkpoint(self, lease: Lease) -> LatentCheckpoint | None:
        """The latents to go on from, if any were kept."""
        with self._database.reading() as db:
            body = job_row(db, lease.job_id)["checkpoint"]
        return LatentCheckpoint.model_validate_json(body) if body else None

    def complete(self, lease: Lease, results: Sequence[StoredAsset]) -> None:
        """Hand the results over and end the job, in one transaction."""
        with self.fenced(lease, durable=True) as db:
            for result in results:
                insert_asset(db, result, lease.job_id)
            end_job(db, lease.job_id, JobStatus.COMPLETED)

    def fail(self, lease: Lease, error: VogueError, held: Iterable[str] = ()) -> None:
        """End the job with its error.

        Args:
            held: digests of what it goes on from once it is resumed.
        """
        with self.fenced(lease, durable=True) as db:
            if found := sorted(set(held)):
                db.execute("UPDATE jobs SET held = ? WHERE id = ?", (json.dumps(found), lease.job_id))
            end_job(db, lease.job_id, JobStatus.FAILED, ErrorInfo.of(error))

    def cancel(self, lease: Lease) -> None:
        """End the job because its owner asked."""
        with self.fenced(lease, durable=True) as db:
            end_job(db, lease.job_id, JobStatus.CANCELLED)

    @contextmanager
    def fenced(self, lease: Lease, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that only the newest lease on the job may make."""
        with self._database.transaction(durable=durable) as db:
            check_lease(db, lease)
            yield db
