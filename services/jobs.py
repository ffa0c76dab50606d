"""Jobs, events and assets as their owner sees them. `leases.py` is the side of whoever works on them.

Calls are synchronous and take about a millisecond: asynchronous callers put them on a thread.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable

from vogue.schemas.access import TenantLimits
from vogue.schemas.errors import AssetNotFound, JobCancelled, ServiceOverloaded
from vogue.schemas.jobs import Asset, EventKind, Job, JobEvent, JobStatus, StoredAsset
from vogue.schemas.queries import Idempotency
from vogue.schemas.requests import GenerationRequest, JobSpec, Thinking
from vogue.schemas.stages import LatentCheckpoint

from .cache import digests
from .callers import current_tenant, own
from .database import Database, new_id
from .keys.admission import check_job_room, check_upload_room
from .queueing import place_of, room_in, tell_queue
from .removal import forget_progress
from .rows import OPEN, append_event, asset_row, end_job, insert_asset, job_row, load_job, stored_asset
from .submissions import check_assets, first_job, remember

__all__ = ["JobStore"]

_AT_FAULT = (
    "json_extract(error, '$.type') = 'invalid_request_error' AND json_extract(error, '$.code') != 'service_overloaded'"
)
"""Of failed jobs: whether the request itself was at fault, so that going on would only fail again."""


class JobStore:
    """All jobs and assets of one state directory."""

    def __init__(self, database: Database, limits: TenantLimits | None = None) -> None:
        self._database = database
        self._limits = limits or TenantLimits()

    def add(
        self,
        request: GenerationRequest,
        spec: JobSpec,
        notices: tuple[str, ...],
        max_open: int,
        once: Idempotency | None = None,
        also: Callable[[sqlite3.Connection, str], None] | None = None,
        max_waiting: int | None = None,
        cost_s: float | None = None,
    ) -> Job:
        """Store a new job; it is on disk when this returns. One that came `once` already is returned instead.

        Args:
            also: what else belongs to this transaction; called with the new job's id. If it raises, nothing is stored.
            max_waiting: how many plans of the caller may wait for a word.
            cost_s: seconds of the machine that the job will take, if that can be told.

        Raises:
            ServiceOverloaded: `max_open` jobs are waiting or at work already, or as many of the caller's as it may have; or too many
                plans wait.
            LimitExceeded: the caller's files fill the room that it has.
            IdempotencyConflict: the key belongs to another request.
            AssetNotFound: an input was deleted meanwhile.
        """
        job_id = new_id("job")
        with self._database.transaction() as db:
            if once is not None and (first := first_job(db, once)) is not None:
                return load_job(db, first)
            check_assets(db, {visual.upload_id for visual in request.visuals})
            check_job_room(db, self._limits)
            count = db.execute("SELECT COUNT(*) FROM jobs WHERE status IN (?, ?)", OPEN).fetchone()[0]
            if count >= max_open:
                raise ServiceOverloaded(
                    f"{count} jobs are waiting or at work, and at most {max_open} are accepted; try again later",
                    retry_after_s=room_in(db),
                )
            if max_waiting is not None and spec.thinking is Thinking.REVIEW:
                _check_waiting(db, max_waiting)
            db.execute(
                "INSERT INTO jobs (id, status, request, spec, created_at_s, steps_total, notices, tenant, deadline_at_s,"
                " cost_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    JobStatus.QUEUED.value,
                    request.model_dump_json(),
                    spec.model_dump_json(),
                    time.time(),
                    spec.steps,
                    json.dumps(notices),
                    current_tenant(),
                    _deadline_at_s(request),
                    cost_s,
                ),
            )
            if once is not None:
                remember(db, once, job_id)
            if also is not None:
                also(db, job_id)
            append_event(db, job_id, EventKind.QUEUED, steps_total=spec.steps, queue_position=place_of(db, job_id))
            for notice in notices:
                append_event(db, job_id, EventKind.NOTICE, message=notice)
            return load_job(db, job_id)

    def submitted(self, once: Idempotency) -> Job | None:
        """The job that a key already stands for.

        Raises:
            IdempotencyConflict: it belongs to another request.
        """
        with self._database.reading() as db:
            first = first_job(db, once)
            return load_job(db, first) if first is not None else None

    def get(self, job_id: str) -> Job:
        """The job as it stands.

        Raises:
            JobNotFound: there is none of that id.
        """
        with self._database.reading() as db:
            return load_job(db, job_id)

    def newest(self, limit: int, before: str | None = None) -> list[Job]:
        """Jobs, newest first, starting below the job `before`."""
        with self._database.reading() as db:
            top = job_row(db, before)["number"] if before is not None else 2**62
            mine, tenant = own()
            rows = db.execute(
                f"SELECT id FROM jobs WHERE number < ? AND {mine} ORDER BY number DESC LIMIT ?", (top, *tenant, limit)
            ).fetchall()
            return [load_job(db, row["id"]) for row in rows]

    def events(self, job_id: str, after: int = 0) -> tuple[list[JobEvent], bool]:
        """Events with `seq > after`, in order, and whether the job is over, so that none can follow."""
        with self._database.reading() as db:
            over = JobStatus(job_row(db, job_id)["status"]).final
            rows = db.execute(
                "SELECT body FROM events WHERE job_id = ? AND seq > ? ORDER BY seq", (job_id, after)
            ).fetchall()
        return [JobEvent.model_validate_json(row["body"]) for row in rows], over

    def request_cancel(self, job_id: str) -> Job:
        """Mark a job to be stopped. One that still waits is over at once; one that is over stays as it is."""
        with self._database.transaction() as db:
            status = JobStatus(job_row(db, job_id)["status"])
            if not status.final:
                db.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
            if status in (JobStatus.QUEUED, JobStatus.WAITING):
                end_job(db, job_id, JobStatus.CANCELLED)
                tell_queue(db)
            return load_job(db, job_id)

    def reopen(self, job_id: str) -> Job:
        """Queue a failed job again, with as much time as it had; an unfinished or completed one stays as it is.

        It goes on from where it was. Only if its request was at fault does it begin anew: what it had come to may be gone.

        Raises:
            JobCancelled: its owner cancelled it.
        """
        with self._database.transaction() as db:
            status = JobStatus(job_row(db, job_id)["status"])
            if status is JobStatus.CANCELLED:
                raise JobCancelled(f"job {job_id} was cancelled and cannot be resumed; submit it again")
            if status is JobStatus.FAILED:
                if db.execute(f"SELECT 1 FROM jobs WHERE id = ? AND {_AT_FAULT}", (job_id,)).fetchone() is not None:
                    forget_progress(db, job_id)
                request = GenerationRequest.model_validate_json(job_row(db, job_id)["request"])
                db.execute(
                    "UPDATE jobs SET status = ?, error = NULL, finished_at_s = NULL, attempts = 0, deadline_at_s = ? WHERE id = ?",
                    (JobStatus.QUEUED.value, _deadline_at_s(request), job_id),
                )
                append_event(db, job_id, EventKind.QUEUED)
            return load_job(db, job_id)

    def finished(self, limit: int) -> list[tuple[GenerationRequest, JobSpec, float, float]]:
        """The jobs of everybody that were completed last, with when they were taken and ended, in seconds since the epoch."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT request, spec, started_at_s, finished_at_s FROM jobs WHERE status = ? AND decision IS NULL"
                " AND started_at_s IS NOT NULL ORDER BY finished_at_s DESC LIMIT ?",
                (JobStatus.COMPLETED.value, limit),
            ).fetchall()
        return [
            (
                GenerationRequest.model_validate_json(row["request"]),
                JobSpec.model_validate_json(row["spec"]),
                row["started_at_s"],
                row["finished_at_s"],
            )
            for row in rows
        ]

    def add_asset(self, stored: StoredAsset) -> Asset:
        """Store an upload.

        Raises:
            LimitExceeded: the caller has no room for it.
        """
        with self._database.transaction() as db:
            check_upload_room(db, stored.asset.num_bytes, self._limits)
            insert_asset(db, stored, None)
        return stored.asset

    def asset(self, asset_id: str) -> StoredAsset:
        """An upload or a result.

        Raises:
            AssetNotFound: there is none of that id.
        """
        with self._database.reading() as db:
            row = asset_row(db, asset_id)
        if row is None:
            raise AssetNotFound(f"no upload or asset has the id {asset_id!r}; upload the file first")
        return stored_asset(row)

    def newest_assets(self, limit: int, before: str | None = None) -> list[Asset]:
        """Uploads and results, newest first, starting below the asset `before`.

        Raises:
            AssetNotFound: there is none called `before`.
        """
        with self._database.reading() as db:
            top = 2**62
            if before is not None:
                row = asset_row(db, before)
                if row is None:
                    raise AssetNotFound(f"no upload or asset has the id {before!r}", param="before")
                top = row["number"]
            mine, tenant = own()
            rows = db.execute(
                f"SELECT asset FROM assets WHERE number < ? AND purpose IS NULL AND {mine} ORDER BY number DESC LIMIT ?",
                (top, *tenant, limit),
            )
            return [Asset.model_validate_json(row["asset"]) for row in rows.fetchall()]

    def kept_digests(self) -> set[str]:
        """Digests of all assets and of the latents behind results, and of those that unfinished or failed jobs can go on from."""
        with self._database.reading() as db:
            assets = db.execute("SELECT * FROM assets").fetchall()
            checkpoints = db.execute(
                "SELECT checkpoint, held FROM jobs WHERE (checkpoint IS NOT NULL OR held IS NOT NULL)"
                f" AND status NOT IN (?, ?) AND NOT (status = ? AND {_AT_FAULT})",
                (JobStatus.COMPLETED.value, JobStatus.CANCELLED.value, JobStatus.FAILED.value),
            ).fetchall()
        kept = set()
        for stored in map(stored_asset, assets):
            kept.add(stored.artifact.sha256)
            if stored.lossless is not None:
                kept.add(stored.lossless.latents.sha256)
        for row in checkpoints:
            kept.update(json.loads(row["held"] or "[]"))
            if row["checkpoint"] is not None:
                kept.update(digests(LatentCheckpoint.model_validate_json(row["checkpoint"])))
        return kept

    def oldest_open_s(self) -> float | None:
        """When the oldest unfinished job was submitted, in seconds since the epoch."""
        with self._database.reading() as db:
            row = db.execute("SELECT MIN(created_at_s) FROM jobs WHERE status IN (?, ?)", OPEN).fetchone()
        return None if row[0] is None else float(row[0])


def _deadline_at_s(request: GenerationRequest) -> float | None:
    """When a job that is queued now must be over."""
    return time.time() + request.deadline_s if request.deadline_s is not None else None


def _check_waiting(db: sqlite3.Connection, most: int) -> None:
    """Refuse one more plan to be reviewed where many wait already, or will.

    Raises:
        ServiceOverloaded: too many do.
    """
    mine, tenant = own()
    (count,) = db.execute(
        "SELECT COUNT(*) FROM jobs WHERE decision IS NULL AND json_extract(spec, '$.thinking') = ?"
        f" AND status IN (?, ?, ?) AND {mine}",
        (Thinking.REVIEW.value, *OPEN, JobStatus.WAITING.value, *tenant),
    ).fetchone()
    if count >= most:
        raise ServiceOverloaded(
            f"{count} plans wait for a word, and at most {most} may; approve or reject some, or cancel their jobs",
            retry_after_s=60.0,
        )
