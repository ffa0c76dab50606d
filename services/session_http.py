"""Sessions over HTTP: every path below /v1/sessions, and no logic."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import FileResponse

from vogue.schemas.errors import RequestInvalid
from vogue.schemas.ports import Orchestrator, Sessions
from vogue.schemas.recipes import Replay, ReplayRequest
from vogue.schemas.sessions import (
    Comparison,
    HeadRequest,
    ReplayTurnRequest,
    Session,
    SessionRequest,
    Turn,
    TurnRequest,
    UndoRequest,
)

from .blobs import BlobStore
from .sessions import require_turn
from .submissions import once_of

__all__ = ["serve_replays", "serve_sessions"]

_Number = Annotated[int, Query(ge=1)]
_Key = Annotated[str | None, Header(min_length=1, max_length=255)]


def serve_replays(app: FastAPI, orchestrator: Orchestrator) -> None:
    """Add the paths that make files again, and show what is not done twice."""

    @app.post("/v1/replays", status_code=201)
    async def replay(request: ReplayRequest) -> Replay:
        """Make a file again from the recipe that it carries."""
        return await orchestrator.replay(request)

    @app.get("/v1/counters")
    async def counters() -> dict[str, Any]:
        """How often each operation (encode, look, prepare, …) was computed, and how often its result was there already."""
        counts = await orchestrator.counts()
        return {"object": "list", "data": [count.model_dump(mode="json") for count in counts]}


def serve_sessions(app: FastAPI, sessions: Sessions, blobs: BlobStore) -> None:
    """Add the paths."""

    @app.get("/v1/assets/{asset_id}/frames", response_class=FileResponse)
    async def frames(asset_id: str) -> Response:
        """The lossless frames of a result, uint8 [T, H, W, 3], as a stored tensor (schemas/tensors.py)."""
        headers = {"cache-control": "private, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
        place = blobs.path(await sessions.frames(asset_id))
        return FileResponse(place, media_type="application/x-vogue-tensor", headers=headers)

    @app.post("/v1/sessions", status_code=201)
    async def create_session(request: SessionRequest | None = None) -> Session:
        """Begin a conversation."""
        return await sessions.create(request or SessionRequest())

    @app.get("/v1/sessions")
    async def list_sessions(
        limit: Annotated[int, Query(ge=1, le=200)] = 50, before: str | None = None
    ) -> dict[str, Any]:
        """Sessions, newest first; `before` continues below a session."""
        found = await sessions.list(limit, before)
        return {"object": "list", "data": [session.model_dump(mode="json") for session in found]}

    @app.get("/v1/sessions/{session_id}")
    async def get_session(session_id: str) -> Session:
        """The tree of turns, the head, and what each asset is called."""
        return await sessions.get(session_id)

    @app.delete("/v1/sessions/{session_id}")
    async def delete_session(session_id: str) -> dict[str, Any]:
        """Forget a conversation. Its jobs, and what they made, stay until they are deleted or too old."""
        await sessions.delete(session_id)
        return {"id": session_id, "object": "session", "deleted": True}

    @app.post("/v1/sessions/{session_id}/turns", status_code=201)
    async def take_turn(session_id: str, request: TurnRequest, idempotency_key: _Key = None) -> Turn:
        """The next turn: one job, which edits what the instruction refers to. Under an `Idempotency-Key` it is taken once."""
        once = once_of(idempotency_key, f"POST /v1/sessions/{session_id}/turns", request)
        return await sessions.turn(session_id, request, once)

    @app.get("/v1/sessions/{session_id}/turns/{number}")
    async def get_turn(session_id: str, number: int) -> Turn:
        """A turn as it stands."""
        return require_turn(await sessions.get(session_id), number, "number")

    @app.post("/v1/sessions/{session_id}/turns/{number}/replay", status_code=201)
    async def replay_turn(
        session_id: str, number: int, request: ReplayTurnRequest | None = None, idempotency_key: _Key = None
    ) -> Turn:
        """The same turn with another seed. Under an `Idempotency-Key` it is done once."""
        wanted = request or ReplayTurnRequest()
        once = once_of(idempotency_key, f"POST /v1/sessions/{session_id}/turns/{number}/replay", wanted)
        return await sessions.replay(session_id, number, wanted, once)

    @app.post("/v1/sessions/{session_id}/undo")
    async def undo_turn(session_id: str, request: UndoRequest | None = None) -> Session:
        """Move the head to its parent."""
        return await sessions.undo(session_id, (request or UndoRequest()).expected_head)

    @app.post("/v1/sessions/{session_id}/head")
    async def move_head(session_id: str, request: HeadRequest) -> Session:
        """Go on from any turn, or from the start (0)."""
        return await sessions.move_head(session_id, request)

    @app.get("/v1/sessions/{session_id}/compare")
    async def compare_turns(session_id: str, a: _Number, b: _Number) -> Comparison:
        """What differs between two turns."""
        return (await sessions.compare(session_id, a, b))[0]

    @app.get("/v1/sessions/{session_id}/compare/picture", response_class=FileResponse)
    async def compare_picture(session_id: str, a: _Number, b: _Number) -> Response:
        """Both results side by side."""
        _, picture = await sessions.compare(session_id, a, b)
        if picture is None:
            raise RequestInvalid(f"turns {a} and {b} have no two results to show side by side")
        headers = {"cache-control": "private", "x-content-type-options": "nosniff"}
        return FileResponse(blobs.path(picture), media_type=picture.media_type, headers=headers)
