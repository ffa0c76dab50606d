"""The SQLite file behind jobs, events, assets and checkpoints: its tables, its transactions, rows to values and back."""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vogue.schemas.errors import JobNotFound
from vogue.schemas.jobs import Asset, ErrorInfo, EventKind, Job, JobEvent, JobStatus, Stage, StoredAsset
from vogue.schemas.plan import Plan, Trial
from vogue.schemas.references import Artifact, Lossless
from vogue.schemas.requests import GenerationRequest, JobSpec

from .callers import current_tenant, own
from .metrics import FAILURES, FINISHED, JOB_SECONDS
from .queueing import starts_in
from .webhooks import announce

__all__ = ["OPEN", "QUEUE_ORDER", "Database", "connect", "new_id"]

logger = logging.getLogger(__name__)

OPEN = (JobStatus.QUEUED.value, JobStatus.IN_PROGRESS.value)
QUEUE_ORDER = "created_at_s + COALESCE(cost_s, 0), number"
"""Who is next: who came first, but for each second that a job will take others may come a second later and still go before it."""

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    spec TEXT NOT NULL,
    created_at_s REAL NOT NULL,
    started_at_s REAL,
    finished_at_s REAL,
    stage TEXT,
    steps_done INTEGER NOT NULL DEFAULT 0,
    steps_total INTEGER NOT NULL,
    notices TEXT NOT NULL,
    error TEXT,
    checkpoint TEXT,
    plan TEXT,
    decision TEXT,
    trials TEXT,
    answer TEXT,
    held TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    lease_until_s REAL NOT NULL DEFAULT 0,
    tenant TEXT,
    deadline_at_s REAL,
    cost_s REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
CREATE TABLE IF NOT EXISTS events (
    job_id TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS assets (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, job_id TEXT, asset TEXT NOT NULL, artifact TEXT NOT NULL, created_at_s REAL NOT NULL,
    lossless TEXT,
    purpose TEXT,
    tenant TEXT
);
CREATE INDEX IF NOT EXISTS assets_by_job ON assets (job_id, number);
CREATE TABLE IF NOT EXISTS submissions (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, created_at_s REAL NOT NULL, head INTEGER, revision INTEGER NOT NULL DEFAULT 0,
    tenant TEXT
);
CREATE TABLE IF NOT EXISTS turns (
    session_id TEXT NOT NULL, number INTEGER NOT NULL, parent INTEGER, job_id TEXT NOT NULL, instruction TEXT NOT NULL,
    inputs TEXT NOT NULL, replay_of INTEGER, created_at_s REAL NOT NULL, PRIMARY KEY (session_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session_assets (
    session_id TEXT NOT NULL, tag TEXT NOT NULL, asset_id TEXT NOT NULL, PRIMARY KEY (session_id, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL, tenant TEXT NOT NULL, scope TEXT NOT NULL,
    created_at_s REAL NOT NULL, expires_at_s REAL, revoked_at_s REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, job_id TEXT NOT NULL, tenant TEXT, url TEXT NOT NULL, body TEXT NOT NULL, created_at_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, due_at_s REAL, delivered_at_s REAL, error TEXT, attempted_at_s REAL, answered INTEGER
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at_s) WHERE due_at_s IS NOT NULL;
CREATE TABLE IF NOT EXISTS rates (
    tenant TEXT PRIMARY KEY, tokens REAL NOT NULL, at_s REAL NOT NULL
) WITHOUT ROWID;
"""

_ADDED = (
    ("assets", "lossless", "TEXT"),
    ("assets", "purpose", "TEXT"),
    *(("jobs", column, "TEXT") for column in ("plan", "decision", "trials", "answer", "held")),
    *((table, "tenant", "TEXT") for table in ("jobs", "assets", "sessions")),
    ("jobs", "deadline_at_s", "REAL"),
    ("jobs", "cost_s", "REAL"),
    ("deliveries", "attempted_at_s", "REAL"),
    ("deliveries", "answered", "INTEGER"),
)
"""Columns that files of an earlier version lack."""

_INDEXES = """
CREATE INDEX IF NOT EXISTS jobs_by_tenant ON jobs (tenant, number);
CREATE INDEX IF NOT EXISTS assets_by_tenant ON assets (tenant, number);
CREATE INDEX IF NOT EXISTS sessions_by_tenant ON sessions (tenant, number);
CREATE INDEX IF NOT EXISTS jobs_by_deadline ON jobs (deadline_at_s) WHERE deadline_at_s IS NOT NULL;
"""
"""Those over added columns."""


def new_id(prefix: str) -> str:
    """An id that cannot be guessed: the prefix and 144 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(18)}"


def connect(path: Path) -> sqlite3.Connection:
    """A connection for several threads under the caller's lock.

    Its commits survive the process at once, and a power cut as soon as a durable transaction follows them.
    """
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    return db


class Database:
    """One connection under a lock. Methods that take `db` are for use inside `transaction` or `reading`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._db = connect(path)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(_TABLES)
        for table, column, kind in _ADDED:
            if column not in {row["name"] for row in self._db.execute(f"PRAGMA table_info({table})")}:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        self._db.executescript(_INDEXES)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else writes meanwhile.

        A durable one is on the disk when it ends. What can be done again, such as the word that a step is finished, does
        without and takes a hundredth of the time.
        """
        with self._lock:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            with self._begun("BEGIN IMMEDIATE"):
                yield self._db

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view."""
        with self._lock, self._begun("BEGIN"):
            yield self._db

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        """What lies between a statement that begins and its commit; nothing stays open, whichever of them fails."""
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # After some errors, such as a full disk, SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


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
        assets=job_assets(db, job_id),
        error=ErrorInfo.model_validate_json(row["error"]) if row["error"] else None,
    )


def job_assets(db: sqlite3.Connection, job_id: str) -> tuple[Asset, ...]:
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


def tell_queue(db: sqlite3.Connection) -> list[str]:
    """Tell every waiting job its place and for how long it may wait, from what it and those before it cost. Returns their ids."""
    waiting = db.execute(
        f"SELECT id, steps_total, cost_s FROM jobs WHERE status = ? ORDER BY {QUEUE_ORDER}", (JobStatus.QUEUED.value,)
    ).fetchall()
    if not waiting:
        return []
    running, each_s = left_of_running(db), _usual_s(db)
    costs = [row["cost_s"] if row["cost_s"] is not None else each_s for row in waiting]
    known = [cost for cost in costs if cost is not None]
    begins: Sequence[float | None] = [None] * len(waiting)
    if running is not None and len(known) == len(waiting):
        begins = starts_in(running, known, max(len(running), 1))
    for place, (row, eta_s) in enumerate(zip(waiting, begins, strict=True), 1):
        append_event(
            db,
            row["id"],
            EventKind.QUEUED,
            steps_total=row["steps_total"],
            queue_position=place,
            eta_s=eta_s,
        )
    return [row["id"] for row in waiting]


def left_of_running(db: sqlite3.Connection) -> list[float] | None:
    """Seconds that each job at work still takes of the machine, by its steps; None if that is not known of all."""
    rows = db.execute(
        "SELECT cost_s, steps_done, steps_total FROM jobs WHERE status = ?", (JobStatus.IN_PROGRESS.value,)
    ).fetchall()
    each_s = _usual_s(db)
    costs = [row["cost_s"] if row["cost_s"] is not None else each_s for row in rows]
    if any(cost is None for cost in costs):
        return None
    shares = (1 - row["steps_done"] / max(row["steps_total"], 1) for row in rows)
    return [cost * share for cost, share in zip(costs, shares, strict=True)]


def _usual_s(db: sqlite3.Connection) -> float | None:
    """How long the last jobs took: for those that came before anything was known."""
    (each_s,) = db.execute(
        "SELECT AVG(took) FROM (SELECT finished_at_s - started_at_s AS took FROM jobs WHERE status = ?"
        " ORDER BY number DESC LIMIT 8)",
        (JobStatus.COMPLETED.value,),
    ).fetchone()
    return None if each_s is None else max(float(each_s), 0.0)


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
        assets=job_assets(db, job_id) if status is JobStatus.COMPLETED else (),
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
