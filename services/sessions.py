"""Sessions at rest: turns, the head, and what each asset is called. `conversing.py` decides what a turn is made of.

Every change of a session raises its revision. What was worked out from one revision is only written onto that same one, in
the transaction that stores the turn's job: of two turns that come at once, one wins.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import NamedTuple

from vogue.schemas.errors import JobNotFound, RequestInvalid, SessionNotFound, TurnConflict, TurnNotFound
from vogue.schemas.jobs import Job, JobStatus
from vogue.schemas.sessions import Session, SessionSummary, TaggedAsset, Turn, TurnVisual

from .callers import current_tenant, own
from .database import Database, new_id
from .removal import forget_session
from .rows import load_job, stored_asset

__all__ = ["SessionStore", "TurnDraft"]


class TurnDraft(NamedTuple):
    """A turn on its way: worked out from a revision of its session. `brought` are new assets by their tags."""

    session_id: str
    revision: int
    parent: int | None
    instruction: str
    inputs: tuple[TurnVisual, ...]
    brought: Mapping[str, str]
    replay_of: int | None = None


class SessionStore:
    """All sessions of one state directory. Calls are synchronous."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, title: str) -> Session:
        """A new session without turns."""
        session_id = new_id("session")
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO sessions (id, title, created_at_s, tenant) VALUES (?, ?, ?, ?)",
                (session_id, title, time.time(), current_tenant()),
            )
            return _load(db, session_id)

    def get(self, session_id: str) -> Session:
        """The whole session.

        Raises:
            SessionNotFound: there is none of that id.
        """
        return self.snapshot(session_id)[0]

    def snapshot(self, session_id: str) -> tuple[Session, int]:
        """The whole session, and the revision that this is."""
        with self._database.reading() as db:
            return _load(db, session_id), int(_row(db, session_id)["revision"])

    def tags(self, session_id: str) -> set[str]:
        """Every tag that was given to a file, also of those deleted since: none is given twice."""
        with self._database.reading() as db:
            rows = db.execute("SELECT tag FROM session_assets WHERE session_id = ?", (session_id,)).fetchall()
        return {row["tag"] for row in rows}

    def newest(self, limit: int, before: str | None = None) -> list[SessionSummary]:
        """Sessions, newest first, starting below the session `before`."""
        with self._database.reading() as db:
            top = _row(db, before)["number"] if before is not None else 2**62
            mine, tenant = own()
            rows = db.execute(
                "SELECT *, (SELECT COUNT(*) FROM turns WHERE session_id = sessions.id) AS num_turns"
                f" FROM sessions WHERE number < ? AND {mine} ORDER BY number DESC LIMIT ?",
                (top, *tenant, limit),
            ).fetchall()
        return [
            SessionSummary(
                id=row["id"],
                title=row["title"],
                created_at_s=row["created_at_s"],
                head=row["head"],
                num_turns=row["num_turns"],
            )
            for row in rows
        ]

    def delete(self, session_id: str) -> None:
        """Forget a session and its turns. Their jobs and what they made stay, and go as other jobs do.

        Raises:
            SessionNotFound: there is none of that id.
            TurnConflict: a turn is still at work.
        """
        with self._database.transaction() as db:
            session = _load(db, session_id)
            if (busy := next(filter(is_open, session.turns), None)) is not None:
                raise TurnConflict(
                    f"turn {busy.number} of session {session_id} is still at work (job {busy.job_id}): wait for it, or cancel it"
                )
            forget_session(db, session_id)

    def append(self, db: sqlite3.Connection, draft: TurnDraft, job_id: str) -> None:
        """Add a turn and make it the head, in the transaction that stores its job.

        Raises:
            TurnConflict: the session has changed since the draft was worked out.
        """
        row = _row(db, draft.session_id)
        if row["revision"] != draft.revision:
            raise TurnConflict(
                f"another turn of session {draft.session_id} came first; look at its head, which is now {_said(row['head'])},"
                " and send the turn again if it still fits",
                param="expected_head",
            )
        (number,) = db.execute(
            "SELECT COALESCE(MAX(number), 0) + 1 FROM turns WHERE session_id = ?", (draft.session_id,)
        ).fetchone()
        inputs = json.dumps([one.model_dump(mode="json") for one in draft.inputs])
        db.execute(
            "INSERT INTO turns (session_id, number, parent, job_id, instruction, inputs, replay_of, created_at_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                draft.session_id,
                number,
                draft.parent,
                job_id,
                draft.instruction,
                inputs,
                draft.replay_of,
                time.time(),
            ),
        )
        for tag, asset_id in draft.brought.items():
            db.execute("INSERT INTO session_assets VALUES (?, ?, ?)", (draft.session_id, tag, asset_id))
        _set_head(db, draft.session_id, number)

    def turn_of(self, session_id: str, job_id: str) -> Turn:
        """The turn of a job."""
        with self._database.reading() as db:
            row = db.execute("SELECT * FROM turns WHERE session_id = ? AND job_id = ?", (session_id, job_id)).fetchone()
            if row is None:
                raise TurnNotFound(f"session {session_id} has no turn with the job {job_id}")
            return _turn(db, row)

    def move_head(
        self, session_id: str, number: int | None, expected: int | None = None
    ) -> tuple[Session, Turn | None]:
        """Move the head to a turn, to the start (0), or to its parent (None). Returns the session and where the head was.

        Raises:
            TurnNotFound: there is no such turn.
            TurnConflict: the head is not at `expected` (0 for the start).
            RequestInvalid: there is nothing to undo.
        """
        with self._database.transaction() as db:
            session = _load(db, session_id)
            if expected is not None and expected != (session.head or 0):
                raise TurnConflict(
                    f"the head of session {session_id} is {_said(session.head)}, not {_said(expected or None)}",
                    param="expected_head",
                )
            left = session.turn(session.head) if session.head is not None else None
            if number is None:
                if left is None:
                    raise RequestInvalid(f"session {session_id} is at its start: there is nothing to undo")
                number = left.parent or 0
            elif number and session.turn(number) is None:
                raise TurnNotFound(_no_turn(session, number), param="turn")
            _set_head(db, session_id, number or None)
            return _load(db, session_id), left


def require_turn(session: Session, number: int, param: str) -> Turn:
    """A turn of a session.

    Raises:
        TurnNotFound: there is none of that number.
    """
    turn = session.turn(number)
    if turn is None:
        raise TurnNotFound(_no_turn(session, number), param=param)
    return turn


def _no_turn(session: Session, number: int) -> str:
    there = f"its turns are 1 to {len(session.turns)}" if session.turns else "it has none yet"
    return f"session {session.id} has no turn {number}: {there}"


def _said(head: int | None) -> str:
    return f"turn {head}" if head is not None else "the start"


def _set_head(db: sqlite3.Connection, session_id: str, head: int | None) -> None:
    db.execute("UPDATE sessions SET head = ?, revision = revision + 1 WHERE id = ?", (head, session_id))


def _row(db: sqlite3.Connection, session_id: str) -> sqlite3.Row:
    mine, tenant = own()
    row: sqlite3.Row | None = db.execute(
        f"SELECT * FROM sessions WHERE id = ? AND {mine}", (session_id, *tenant)
    ).fetchone()
    if row is None:
        raise SessionNotFound(f"no session has the id {session_id!r}")
    return row


def _load(db: sqlite3.Connection, session_id: str) -> Session:
    row = _row(db, session_id)
    rows = db.execute("SELECT * FROM turns WHERE session_id = ? ORDER BY number", (session_id,)).fetchall()
    turns = tuple(_turn(db, row) for row in rows)
    results = [
        TaggedAsset(tag=f"turn{turn.number}", asset=turn.result, turn=turn.number)
        for turn in turns
        if turn.result is not None
    ]
    return Session(
        id=row["id"],
        title=row["title"],
        created_at_s=row["created_at_s"],
        head=row["head"],
        num_turns=len(turns),
        turns=turns,
        assets=(*_brought(db, session_id), *results),
    )


def _brought(db: sqlite3.Connection, session_id: str) -> list[TaggedAsset]:
    """Files that came with turns; those deleted since are left out."""
    rows = db.execute(
        "SELECT tag, assets.* FROM session_assets JOIN assets ON assets.id = asset_id WHERE session_id = ? ORDER BY tag",
        (session_id,),
    ).fetchall()
    return [TaggedAsset(tag=row["tag"], asset=stored_asset(row).asset) for row in rows]


def _turn(db: sqlite3.Connection, row: sqlite3.Row) -> Turn:
    job: Job | None
    try:
        job = load_job(db, row["job_id"])
    except JobNotFound:
        job = None  # deleted by its owner; the rest of the tree stays
    return Turn(
        session_id=row["session_id"],
        number=row["number"],
        parent=row["parent"],
        instruction=row["instruction"],
        inputs=tuple(TurnVisual.model_validate(one) for one in json.loads(row["inputs"])),
        replay_of=row["replay_of"],
        created_at_s=row["created_at_s"],
        job_id=row["job_id"],
        job=job,
    )


def is_open(turn: Turn | None) -> bool:
    """Whether a turn's job is not over."""
    return turn is not None and turn.job is not None and not JobStatus(turn.job.status).final
