"""Sessions for programs without asyncio: each method carries the coroutine of the same name to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, Unpack

from vogue.schemas.sessions import Comparison, Session, SessionSummary, Turn

from .blocking_handles import JobHandle
from .conversation import AsyncSessionHandle, AsyncSessions, AsyncTurnHandle
from .inputs import Media, Settings
from .transport import run

__all__ = ["SessionHandle", "Sessions", "TurnHandle"]


class Sessions:
    """See `AsyncSessions`."""

    def __init__(self, sessions: AsyncSessions) -> None:
        self._sessions = sessions

    def create(self, title: str = "") -> SessionHandle:
        """See `AsyncSessions.create`."""
        return SessionHandle(run(self._sessions.create(title)))

    def get(self, session_id: str) -> SessionHandle:
        """See `AsyncSessions.get`."""
        return SessionHandle(run(self._sessions.get(session_id)))

    def list(self, limit: int = 20, before: str | None = None) -> list[SessionSummary]:
        """See `AsyncSessions.list`."""
        return run(self._sessions.list(limit, before))

    def delete(self, session_id: str) -> None:
        """See `AsyncSessions.delete`."""
        run(self._sessions.delete(session_id))


class SessionHandle:
    """See `AsyncSessionHandle`."""

    def __init__(self, handle: AsyncSessionHandle) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return repr(self._handle).replace("<Async", "<", 1)

    @property
    def session(self) -> Session:
        """The last known state."""
        return self._handle.session

    @property
    def id(self) -> str:
        """The session's id."""
        return self._handle.id

    @property
    def head(self) -> int | None:
        """The turn that the next one follows, or None at the start."""
        return self._handle.head

    @property
    def turns(self) -> list[TurnHandle]:
        """Every turn, by number."""
        return [TurnHandle(turn) for turn in self._handle.turns]

    def refresh(self) -> Self:
        """See `AsyncSessionHandle.refresh`."""
        run(self._handle.refresh())
        return self

    def say(
        self,
        instruction: str,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        visual_prompts: Sequence[Media] = (),
        inputs: Sequence[Media] = (),
        parent: int | None = None,
        expected_head: int | None = None,
        **settings: Unpack[Settings],
    ) -> TurnHandle:
        """See `AsyncSessionHandle.say`."""
        work = self._handle.say(
            instruction,
            source=source,
            first_frame=first_frame,
            references=references,
            visual_prompts=visual_prompts,
            inputs=inputs,
            parent=parent,
            expected_head=expected_head,
            **settings,
        )
        return TurnHandle(run(work))

    def replay(self, number: int, seed: int | None = None) -> TurnHandle:
        """See `AsyncSessionHandle.replay`."""
        return TurnHandle(run(self._handle.replay(number, seed)))

    def delete(self) -> None:
        """See `AsyncSessions.delete`."""
        run(self._handle.delete())

    def undo(self) -> Self:
        """See `AsyncSessionHandle.undo`."""
        run(self._handle.undo())
        return self

    def go_to(self, number: int) -> Self:
        """See `AsyncSessionHandle.go_to`."""
        run(self._handle.go_to(number))
        return self

    def compare(self, a: int, b: int) -> Comparison:
        """See `AsyncSessionHandle.compare`."""
        return run(self._handle.compare(a, b))

    def compare_picture(self, a: int, b: int) -> bytes:
        """See `AsyncSessionHandle.compare_picture`."""
        return run(self._handle.compare_picture(a, b))


class TurnHandle(JobHandle):
    """See `AsyncTurnHandle`."""

    _handle: AsyncTurnHandle

    def __init__(self, handle: AsyncTurnHandle) -> None:
        super().__init__(handle)

    @property
    def turn(self) -> Turn:
        """What was known when it was asked for."""
        return self._handle.turn

    @property
    def number(self) -> int:
        """How people call it: turn 1, turn 2, …"""
        return self._handle.number
