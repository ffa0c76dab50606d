"""Taking things out of a state directory: jobs with all that belongs to them, and files, but never what a job at work reads.

Only rows go here; `housekeeping.py` then frees the bytes that nobody refers to any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress

from vogue.schemas.access import MediaDeletion
from vogue.schemas.errors import AssetInUse, AssetNotFound, JobUnfinished
from vogue.schemas.jobs import JobStatus, StoredAsset

from .callers import own
from .database import Database
from .rows import asset_row, job_row, stored_asset

__all__ = ["Removal", "forget_progress", "forget_session"]

_FINAL = tuple(status.value for status in JobStatus if status.final)
_IS_FINAL = f"status IN ({', '.join('?' * len(_FINAL))})"


class Removal:
    """Deletes; calls are synchronous and all or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete_job(self, job_id: str) -> set[str]:
        """Forget a finished job: its log, its results, its checkpoints. Returns the digests of what it held.

        Raises:
            JobNotFound: there is none of that id.
            JobUnfinished: it is not over.
            AssetInUse: an unfinished job reads one of its results.
        """
        with self._database.transaction() as db:
            return _forget_job(db, job_id)

    def delete_asset(self, asset_id: str) -> set[str]:
        """Forget an upload or a result. Returns the digests of what it held.

        Raises:
            AssetNotFound: there is none of that id.
            AssetInUse: an unfinished job reads it.
        """
        with self._database.transaction() as db:
            return _forget_asset(db, asset_id)

    def delete_everything(self) -> tuple[MediaDeletion, set[str]]:
        """Forget all that the caller owns, but jobs that are not over and what those read. Returns also the digests of what it held."""
        mine, tenant = own()
        gone: set[str] = set()
        num_jobs = num_files = 0
        with self._database.transaction() as db:
            for row in db.execute(f"SELECT id FROM jobs WHERE {_IS_FINAL} AND {mine}", (*_FINAL, *tenant)).fetchall():
                num_results = len(_assets(db, "job_id", row["id"]))
                with suppress(AssetInUse):
                    gone |= _forget_job(db, row["id"])
                    num_jobs, num_files = num_jobs + 1, num_files + num_results
            for row in db.execute(f"SELECT id FROM assets WHERE job_id IS NULL AND {mine}", tenant).fetchall():
                with suppress(AssetInUse):
                    gone |= _forget_asset(db, row["id"])
                    num_files += 1
            sessions = db.execute(f"SELECT id FROM sessions WHERE {mine}", tenant).fetchall()
            for row in sessions:
                forget_session(db, row["id"])
            left = db.execute(f"SELECT id FROM jobs WHERE NOT {_IS_FINAL} AND {mine}", (*_FINAL, *tenant)).fetchall()
        unfinished = tuple(row["id"] for row in left)
        return MediaDeletion(
            num_jobs=num_jobs, num_files=num_files, num_sessions=len(sessions), unfinished=unfinished
        ), gone

    def unfinished(self) -> list[str]:
        """Ids of the caller's jobs that are not over."""
        mine, tenant = own()
        with self._database.reading() as db:
            rows = db.execute(f"SELECT id FROM jobs WHERE NOT {_IS_FINAL} AND {mine}", (*_FINAL, *tenant)).fetchall()
        return [row["id"] for row in rows]

    def forsaken(self, before_s: float) -> list[str]:
        """Ids of jobs whose plan waits for a word since a time in seconds since the epoch."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id FROM jobs WHERE status = ? AND created_at_s < ?", (JobStatus.WAITING.value, before_s)
            ).fetchall()
        return [row["id"] for row in rows]

    def delete_empty_sessions(self, before_s: float) -> None:
        """Forget sessions that began before a time and have no job any more: only words would be left of them."""
        with self._database.transaction() as db:
            rows = db.execute(
                "SELECT id FROM sessions WHERE created_at_s < ? AND NOT EXISTS"
                " (SELECT 1 FROM turns JOIN jobs ON jobs.id = turns.job_id WHERE turns.session_id = sessions.id)",
                (before_s,),
            ).fetchall()
            for row in rows:
                forget_session(db, row["id"])

    def expired(self, before_s: float) -> tuple[list[str], list[str]]:
        """Jobs that were over, and uploads that came, before a time in seconds since the epoch: their ids."""
        with self._database.reading() as db:
            jobs = db.execute(f"SELECT id FROM jobs WHERE {_IS_FINAL} AND finished_at_s < ?", (*_FINAL, before_s))
            uploads = db.execute("SELECT id FROM assets WHERE job_id IS NULL AND created_at_s < ?", (before_s,))
            return [row["id"] for row in jobs.fetchall()], [row["id"] for row in uploads.fetchall()]


def _forget_job(db: sqlite3.Connection, job_id: str) -> set[str]:
    """See `Removal.delete_job`."""
    status = JobStatus(job_row(db, job_id)["status"])
    if not status.final:
        raise JobUnfinished(f"job {job_id} is {status}; cancel it, wait for its end, then delete it")
    results = [stored_asset(row) for row in _assets(db, "job_id", job_id)]
    for result in results:
        _check_unused(db, result.asset.id)
    for statement in (
        "DELETE FROM assets WHERE job_id = ?",
        "DELETE FROM events WHERE job_id = ?",
        "DELETE FROM submissions WHERE job_id = ?",
        "DELETE FROM deliveries WHERE job_id = ? AND due_at_s IS NULL",
        "DELETE FROM jobs WHERE id = ?",
        *_checkpoint_deletions(db),
    ):
        db.execute(statement, (job_id,))
    return _digests(results)


def _forget_asset(db: sqlite3.Connection, asset_id: str) -> set[str]:
    """See `Removal.delete_asset`."""
    row = asset_row(db, asset_id)
    if row is None:
        raise AssetNotFound(f"no upload or asset has the id {asset_id!r}")
    _check_unused(db, asset_id)
    db.execute("DELETE FROM assets WHERE id = ?", (asset_id,))
    return _digests([stored_asset(row)])


def forget_session(db: sqlite3.Connection, session_id: str) -> None:
    """Delete the rows of a session."""
    for table, column in (("turns", "session_id"), ("session_assets", "session_id"), ("sessions", "id")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (session_id,))


def _assets(db: sqlite3.Connection, column: str, value: str) -> list[sqlite3.Row]:
    return db.execute(f"SELECT * FROM assets WHERE {column} = ?", (value,)).fetchall()


def _check_unused(db: sqlite3.Connection, asset_id: str) -> None:
    # Ids are random, so a request that has one anywhere in it means that asset; but another tenant's means nothing by it.
    row = db.execute(
        f"SELECT id FROM jobs WHERE NOT {_IS_FINAL} AND instr(request, ?) > 0"
        " AND (tenant IS NULL OR tenant IS (SELECT tenant FROM assets WHERE id = ?)) LIMIT 1",
        (*_FINAL, asset_id, asset_id),
    ).fetchone()
    if row is not None:
        raise AssetInUse(f"{asset_id} is read by job {row['id']}, which is not over; wait for its end, or cancel it")


def forget_progress(db: sqlite3.Connection, job_id: str) -> None:
    """Let a job begin anew when it is taken next."""
    for statement in (
        "UPDATE jobs SET checkpoint = NULL, held = NULL, plan = NULL, decision = NULL WHERE id = ?",
        *_checkpoint_deletions(db),
    ):
        db.execute(statement, (job_id,))


def _checkpoint_deletions(db: sqlite3.Connection) -> Iterable[str]:
    """LangGraph's tables, which are there once a job has run; a thread is a job."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('checkpoints', 'writes')")
    return [f"DELETE FROM {row['name']} WHERE thread_id = ?" for row in tables.fetchall()]


def _digests(found: Iterable[StoredAsset]) -> set[str]:
    gone = set()
    for stored in found:
        gone.add(stored.artifact.sha256)
        if stored.lossless is not None:
            gone |= {stored.lossless.frames.sha256, stored.lossless.latents.sha256}
    return gone
