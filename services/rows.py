"""Rows of the jobs, events and assets tables to values and back. All of it happens inside a transaction of the caller's."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from typing import Any

from vogue.schemas.errors import JobNotFound
from vogue.schemas.jobs import Asset, ErrorInfo, EventKind, Job, JobEvent, JobStatus, Stage, StoredAsset
from vogue.schemas.plan import Plan, Trial
from vogue.schemas.references import Artifact, Lossless
from vogue.schemas.requests import GenerationRequest, JobSpec

from .callers import current_tenant, own
from .metrics import FAILURES, FINISHED, JOB_SECONDS
from .webhooks import announce

__all__ = [
    "OPEN",
    "append_event",
    "asset_row",
    "end_job",
    "insert_asset",
    "job_row",
    "load_job",
    "stored_asset",
]

logger = logging.getLogger(__name__)

OPEN = (JobStatus.QUEUED.value, JobStatus.IN_PROGRESS.value)


def job_row(db: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    """The row of a job.

    Raises:
        JobNotFound: there is none of that id, or it is another tenant's.
    """
    mine, tenant = own()
    row: sqlite3.Row | None = db.execute(f"SELECT * FROM jobs WHERE id = ? AND {mine}", (job_id, *tenant)).fetchone()
    if row is None:
        raise JobNotFound(f"no job has the id {job_id!r}")
    return row


def load_job(db: sqlite3.Connection, job_id: str) -> Job:
    """A job as its owner sees it."""
    row = job_row(db, job_id)
    return Job(
        id=row["id"],
        status=JobStatus(row["status"]),
        request=GenerationRequest.model_validate_json(row["request"]),
        spec=JobSpec.model_validate_json(row["spec"]),
        created_at_s=row["created_at_s"],
        started_at_s=row["started_at_s"],
        finished_at_s=row["finished_at_s"],
        stage=Stage(row["stage"]) if row["stage"] else None,
        steps_done=row["steps_done"],
        steps_total=row["steps_total"],
        estimate_s=row["cost_s"],
        notices=tuple(json.loads(row["notices"])),
        plan=Plan.model_validate_json(row["plan"]) if row["plan"] else None,
        trials=tuple(Trial.model_validate(one) for one in json.loads(row["trials"] or "[]")),
        answer=row["answer"],
        assets=_job_assets(db, job_id),
        error=ErrorInfo.model_validate_json(row["error"]) if row["error"] else None,
    )


def _job_assets(db: sqlite3.Connection, job_id: str) -> tuple[Asset, ...]:
    """What a job has delivered, in order."""
    rows = db.execute(
        "SELECT asset FROM assets WHERE job_id = ? AND purpose IS NULL ORDER BY number", (job_id,)
    ).fetchall()
    return tuple(Asset.model_validate_json(row["asset"]) for row in rows)


def insert_asset(db: sqlite3.Connection, stored: StoredAsset, job_id: str | None, purpose: str | None = None) -> None:
    """Store an upload (no job), a result, or something else that goes with a job and has a purpose of its own.

    An upload belongs to whom it comes from; the rest to whom the job belongs, for workers have no caller.
    """
    db.execute(
        "INSERT INTO assets (id, job_id, asset, artifact, created_at_s, lossless, purpose, tenant)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, COALESCE(?, (SELECT tenant FROM jobs WHERE id = ?)))",
        (
            stored.asset.id,
            job_id,
            stored.asset.model_dump_json(),
            stored.artifact.model_dump_json(),
            time.time(),
            stored.lossless.model_dump_json() if stored.lossless is not None else None,
            purpose,
            current_tenant(),
            job_id,
        ),
    )


def asset_row(db: sqlite3.Connection, asset_id: str) -> sqlite3.Row | None:
    """The row of an upload or a result, if there is one and the caller owns it."""
    mine, tenant = own()
    row: sqlite3.Row | None = db.execute(
        f"SELECT * FROM assets WHERE id = ? AND {mine}", (asset_id, *tenant)
    ).fetchone()
    return row


def stored_asset(row: sqlite3.Row) -> StoredAsset:
    """A row of the assets table."""
    return StoredAsset(
        asset=Asset.model_validate_json(row["asset"]),
        artifact=Artifact.model_validate_json(row["artifact"]),
        lossless=Lossless.model_validate_json(row["lossless"]) if row["lossless"] else None,
        created_at_s=row["created_at_s"],
        job_id=row["job_id"],
    )


def append_event(db: sqlite3.Connection, job_id: str, kind: EventKind, **fields: Any) -> None:
    """Add to a job's log under the next number."""
    seq = db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM events WHERE job_id = ?", (job_id,)).fetchone()[0]
    event = JobEvent(job_id=job_id, seq=seq, kind=kind, time_s=time.time(), **fields)
    db.execute("INSERT INTO events VALUES (?, ?, ?)", (job_id, seq, event.model_dump_json()))


def end_job(db: sqlite3.Connection, job_id: str, status: JobStatus, error: ErrorInfo | None = None) -> None:
    """Make a job final and say so in its log."""
    db.execute(
        "UPDATE jobs SET status = ?, finished_at_s = ?, error = ?, lease_until_s = 0 WHERE id = ?",
        (status.value, time.time(), error.model_dump_json() if error else None, job_id),
    )
    row = job_row(db, job_id)
    append_event(
        db,
        job_id,
        EventKind(status.value),
        steps_done=row["steps_done"],
        steps_total=row["steps_total"],
        assets=_job_assets(db, job_id) if status is JobStatus.COMPLETED else (),
        error=error,
    )
    announce(db, job_id, status, error)
    _count_end(row, status, error)


def _count_end(row: sqlite3.Row, status: JobStatus, error: ErrorInfo | None) -> None:
    task = JobSpec.model_validate_json(row["spec"]).task
    FINISHED.add(task=task, status=status)
    if error is not None:
        FAILURES.add(code=error.code)
    if row["started_at_s"] is not None:
        JOB_SECONDS.observe(row["finished_at_s"] - row["started_at_s"], task=task)
    known = {"job_id": row["id"], "task": task.value, "status": status.value}
    logger.info("over: %s", error.code if error is not None else status.value, extra=known)
