"""Sessions: conversations with the server, written once as coroutines; `vogue.blocking_sessions` wraps them."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import quote

from vogue.schemas.base import Message
from vogue.schemas.config import Role
from vogue.schemas.errors import WireError
from vogue.schemas.jobs import Asset, Job
from vogue.schemas.sessions import (
    Comparison,
    HeadRequest,
    ReplayTurnRequest,
    Session,
    SessionRequest,
    SessionSummary,
    Turn,
    TurnRequest,
    UndoRequest,
)
from vogue.schemas.wire import validate

from .assets import list_entries
from .exchange import Exchange, read_as
from .handles import AsyncJobHandle
from .inputs import Media, Settings

__all__ = ["AsyncSessionHandle", "AsyncSessions", "AsyncTurnHandle"]

M = TypeVar("M", bound=Message)
Uploader = Callable[[Media], Awaitable[Asset]]
_TAG = re.compile(r"(turn|image|video)[1-9][0-9]{0,3}")


class AsyncSessions:
    """The server's conversations."""

    def __init__(self, exchange: Exchange, upload: Uploader) -> None:
        self._exchange = exchange
        self._upload = upload

    async def create(self, title: str = "") -> AsyncSessionHandle:
        """Begin a conversation."""
        wanted = validate(SessionRequest, {"title": title})
        return self._handle(await _post(self._exchange, Session, "/v1/sessions", wanted, repeatable=False))

    async def get(self, session_id: str) -> AsyncSessionHandle:
        """A conversation as it stands.

        Raises:
            SessionNotFound: no session has this id.
        """
        return self._handle(await self._exchange.fetch(Session, "GET", _path(session_id)))

    async def list(self, limit: int = 20, before: str | None = None) -> list[SessionSummary]:
        """The newest conversations first, starting below the session `before`."""
        params = {"limit": limit} if before is None else {"limit": limit, "before": before}
        content = (await self._exchange.call("GET", "/v1/sessions", params=params)).content
        return [read_as(SessionSummary, json.dumps(entry)) for entry in list_entries(content)]

    async def delete(self, session_id: str) -> None:
        """Forget a conversation. What its turns made stays until it is deleted, or too old.

        Raises:
            SessionNotFound: no session has this id.
            TurnConflict: a turn is still at work.
        """
        await self._exchange.call("DELETE", _path(session_id), repeatable=False)

    def _handle(self, session: Session) -> AsyncSessionHandle:
        return AsyncSessionHandle(self._exchange, session, self._upload)


class AsyncSessionHandle:
    """One conversation. `session` is its last known state: turns, head, and every asset with its tag."""

    def __init__(self, exchange: Exchange, session: Session, upload: Uploader) -> None:
        self._exchange = exchange
        self._upload = upload
        self.session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} at turn {self.head or 0} of {len(self.session.turns)}>"

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    @property
    def head(self) -> int | None:
        """The turn that the next one follows, or None at the start."""
        return self.session.head

    @property
    def turns(self) -> list[AsyncTurnHandle]:
        """Every turn, by number."""
        return [AsyncTurnHandle(self._exchange, turn) for turn in self.session.turns if turn.job is not None]

    async def refresh(self) -> Self:
        """Ask where it stands."""
        self.session = await self._exchange.fetch(Session, "GET", _path(self.id))
        return self

    async def say(
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
    ) -> AsyncTurnHandle:
        """The next turn: what the instruction refers to (`it`, `turn 1`, `image2`) is found by the server.

        Args:
            source, first_frame, references, visual_prompts: named explicitly, by tag (`"turn1"`) or as media that is new.
            inputs: media to bring in; the words say what each is for.
            parent: the turn to follow instead of the head; 0 begins anew.
            expected_head: refuse if the head is elsewhere by now.

        Raises:
            TagUnresolved: the words refer to something that is not there, or unclearly.
            TurnConflict: another turn is at work, or came first.
        """
        given = [(Role.REFERENCE, media) for media in references]
        given += [(Role.FIRST_FRAME, first_frame)] if first_frame is not None else []
        given += [(Role.SOURCE, source)] if source is not None else []
        given += [(Role.VISUAL_PROMPT, media) for media in visual_prompts]
        fields: dict[str, Any] = {"instruction": instruction, "parent": parent, "expected_head": expected_head}
        fields = {name: value for name, value in {**fields, **settings}.items() if value is not None}
        validate(TurnRequest, fields)
        named = [await self._named(media, role) for role, media in given]
        named += [await self._named(media, None) for media in inputs]
        wanted = validate(TurnRequest, {**fields, "inputs": named})
        turn = await _post(self._exchange, Turn, f"{_path(self.id)}/turns", wanted, key=secrets.token_urlsafe(18))
        return await self._took(turn)

    async def replay(self, number: int, seed: int | None = None) -> AsyncTurnHandle:
        """Do a turn again beside itself, with the seed given or a new one."""
        path = f"{_path(self.id)}/turns/{number}/replay"
        wanted = validate(ReplayTurnRequest, {"seed": seed})
        return await self._took(await _post(self._exchange, Turn, path, wanted, key=secrets.token_urlsafe(18)))

    async def delete(self) -> None:
        """See `AsyncSessions.delete`."""
        await self._exchange.call("DELETE", _path(self.id), repeatable=False)

    async def undo(self) -> Self:
        """Move the head to its parent; the turn stays, and can be gone back to. One at work is cancelled."""
        expected = validate(UndoRequest, {"expected_head": self.head or 0})
        path = f"{_path(self.id)}/undo"
        self.session = await _post(self._exchange, Session, path, expected, repeatable=False)
        return self

    async def go_to(self, number: int) -> Self:
        """Go on from any turn: the next one branches there. 0 is the start."""
        wanted = validate(HeadRequest, {"turn": number})
        self.session = await _post(self._exchange, Session, f"{_path(self.id)}/head", wanted)
        return self

    async def compare(self, a: int, b: int) -> Comparison:
        """What differs between two turns, and how far apart their pixels are."""
        path = f"{_path(self.id)}/compare"
        return await self._exchange.fetch(Comparison, "GET", path, params={"a": a, "b": b})

    async def compare_picture(self, a: int, b: int) -> bytes:
        """Both results side by side, as a png."""
        path = f"{_path(self.id)}/compare/picture"
        return (await self._exchange.call("GET", path, params={"a": a, "b": b})).content

    async def _took(self, turn: Turn) -> AsyncTurnHandle:
        await self.refresh()
        return AsyncTurnHandle(self._exchange, turn)

    async def _named(self, media: Media, role: Role | None) -> dict[str, Any]:
        named = {"role": role.value} if role is not None else {}
        if isinstance(media, str) and _TAG.fullmatch(media):
            return {**named, "tag": media}
        return {**named, "upload_id": (await self._upload(media)).id}


class AsyncTurnHandle(AsyncJobHandle):
    """One turn, which is a job: wait for it, save it, cancel it. `turn` is what was known when it was asked for."""

    def __init__(self, exchange: Exchange, turn: Turn) -> None:
        super().__init__(exchange, _job_of(turn))
        self.turn = turn

    @property
    def number(self) -> int:
        """How people call it: turn 1, turn 2, …"""
        return self.turn.number


def _job_of(turn: Turn) -> Job:
    if turn.job is None:
        raise WireError(f"turn {turn.number} has no job any more: it was deleted")
    return turn.job


def _path(session_id: str) -> str:
    return f"/v1/sessions/{quote(session_id, safe='') or '-'}"


async def _post(
    exchange: Exchange,
    contract: type[M],
    path: str,
    body: Message,
    *,
    repeatable: bool = True,
    key: str | None = None,
) -> M:
    """Send a body. Under a `key` of its own the server takes it once, however often it comes."""
    content = body.model_dump_json(exclude_none=True).encode()
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key is not None else {})
    return await exchange.fetch(contract, "POST", path, content=content, headers=headers, repeatable=repeatable)
