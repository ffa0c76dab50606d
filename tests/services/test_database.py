"""Transactions that cannot be finished: the next one begins as if nothing had been."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from vogue.services.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    built = Database(tmp_path / "jobs.sqlite")
    built._db.execute("PRAGMA foreign_keys=ON")
    built._db.executescript(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);"
    )
    return built


@pytest.mark.parametrize("view", ["transaction", "reading"])
def test_a_commit_that_fails_leaves_nothing_open(database: Database, view: str) -> None:
    # A deferred constraint is looked at by the commit, which then fails and leaves the transaction as it was.
    with pytest.raises(sqlite3.IntegrityError), getattr(database, view)() as db:
        db.execute("INSERT INTO children VALUES (1)")
    with database.transaction() as db:
        db.execute("INSERT INTO parents VALUES (1)")
    with database.reading() as db:
        assert db.execute("SELECT (SELECT COUNT(*) FROM parents), (SELECT COUNT(*) FROM children)").fetchone()[:] == (
            1,
            0,
        )
    database.close()


def test_what_sqlite_rolled_back_by_itself_is_told_as_it_was(database: Database) -> None:
    with pytest.raises(ValueError, match="first"), database.transaction() as db:
        db.execute("ROLLBACK")
        raise ValueError("first")
    with database.transaction() as db:
        db.execute("INSERT INTO parents VALUES (1)")
    database.close()
