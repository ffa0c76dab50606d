"""The `Sessions` port across processes: the calls that the orchestrator's deployment answers, and the other end of them."""

from __future__ import annotations

import builtins

from vogue.schemas.queries import Idempotency
from vogue.schemas.references import Artifact, TensorRef
from vogue.schemas.sessions import (
    Comparison,
    HeadRequest,
    ReplayTurnRequest,
    Session,
    SessionRequest,
    SessionSummary,
    Turn,
    TurnRequest,
)

from .conversing import SessionService
from .remote import OwnersRemote

__all__ = ["RemoteSessions", "SessionCalls"]


class SessionCalls:
    """Methods of a deployment that has sessions; a handle calls methods by name, so the names say whose they are."""

    _sessions: SessionService

    async def session_create(self, request: SessionRequest) -> Session:
        """See `Sessions.create`."""
        return await self._sessions.create(request)

    async def session_get(self, session_id: str) -> Session:
        """See `Sessions.get`."""
        return await self._sessions.get(session_id)

    async def session_list(self, limit: int, before: str | None) -> list[SessionSummary]:
        """See `Sessions.list`."""
        return await self._sessions.list(limit, before)

    async def session_delete(self, session_id: str) -> None:
        """See `Sessions.delete`."""
        await self._sessions.delete(session_id)

    async def session_turn(self, session_id: str, request: TurnRequest, once: Idempotency | None) -> Turn:
        """See `Sessions.turn`."""
        return await self._sessions.turn(session_id, request, once)

    async def session_replay(
        self, session_id: str, number: int, request: ReplayTurnRequest, once: Idempotency | None
    ) -> Turn:
        """See `Sessions.replay`."""
        return await self._sessions.replay(session_id, number, request, once)

    async def session_undo(self, session_id: str, expected_head: int | None) -> Session:
        """See `Sessions.undo`."""
        return await self._sessions.undo(session_id, expected_head)

    async def session_move_head(self, session_id: str, request: HeadRequest) -> Session:
        """See `Sessions.move_head`."""
        return await self._sessions.move_head(session_id, request)

    async def session_compare(self, session_id: str, a: int, b: int) -> tuple[Comparison, Artifact | None]:
        """See `Sessions.compare`."""
        return await self._sessions.compare(session_id, a, b)

    async def session_frames(self, asset_id: str) -> TensorRef:
        """See `Sessions.frames`."""
        return await self._sessions.frames(asset_id)


class RemoteSessions(OwnersRemote):
    """`Sessions` in another process."""

    async def create(self, request: SessionRequest) -> Session:
        """A new session without turns."""
        session: Session = await self._call("session_create", request)
        return session

    async def get(self, session_id: str) -> Session:
        """The whole session."""
        session: Session = await self._call("session_get", session_id)
        return session

    async def list(self, limit: int = 50, before: str | None = None) -> builtins.list[SessionSummary]:
        """Newest first."""
        found: builtins.list[SessionSummary] = await self._call("session_list", limit, before)
        return found

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        await self._call("session_delete", session_id)

    async def turn(self, session_id: str, request: TurnRequest, once: Idempotency | None = None) -> Turn:
        """Submit the next turn."""
        turn: Turn = await self._call("session_turn", session_id, request, once)
        return turn

    async def replay(
        self, session_id: str, number: int, request: ReplayTurnRequest, once: Idempotency | None = None
    ) -> Turn:
        """Do a turn again with another seed."""
        turn: Turn = await self._call("session_replay", session_id, number, request, once)
        return turn

    async def undo(self, session_id: str, expected_head: int | None = None) -> Session:
        """Move the head to its parent."""
        session: Session = await self._call("session_undo", session_id, expected_head)
        return session

    async def move_head(self, session_id: str, request: HeadRequest) -> Session:
        """Go on from any turn."""
        session: Session = await self._call("session_move_head", session_id, request)
        return session

    async def compare(self, session_id: str, a: int, b: int) -> tuple[Comparison, Artifact | None]:
        """What differs between two turns."""
        seen: tuple[Comparison, Artifact | None] = await self._call("session_compare", session_id, a, b)
        return seen

    async def frames(self, asset_id: str) -> TensorRef:
        """The lossless frames of a result."""
        ref: TensorRef = await self._call("session_frames", asset_id)
        return ref
