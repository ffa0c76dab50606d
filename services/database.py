"""The SQLite file behind jobs, events, assets and checkpoints: its tables and its transactions. `rows.py` reads them."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Database", "connect", "new_id"]

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
