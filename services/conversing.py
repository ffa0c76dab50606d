"""The `Sessions` port: what a turn is made of, who wins when two come at once, undo, replay and comparison.

It knows jobs only as something to submit. What an instruction refers to is `vogue.schemas.referring`'s business.
"""

from __future__ import annotations

import asyncio
import builtins
import secrets
from collections.abc import Awaitable, Callable
from sqlite3 import Connection
from typing import Protocol

from vogue.schemas.config import Role
from vogue.schemas.errors import RequestInvalid, TagUnresolved, TurnConflict
from vogue.schemas.jobs import Asset, Job, StoredAsset
from vogue.schemas.ports import Codec
from vogue.schemas.queries import Idempotency
from vogue.schemas.references import Artifact, MediaKind, TensorRef
from vogue.schemas.referring import Given, Known, refer
from vogue.schemas.requests import GenerationRequest, VisualInput
from vogue.schemas.sessions import (
    Comparison,
    Difference,
    HeadRequest,
    ReplayTurnRequest,
    Session,
    SessionRequest,
    SessionSummary,
    Turn,
    TurnRequest,
    TurnVisual,
)
from vogue.schemas.stages import FrameComparison, PrepareRequest

from .sessions import SessionStore, TurnDraft, is_open, require_turn

__all__ = ["SessionService"]

_MOST_TURNS = 9999
"""As far as tags count."""


class Jobs(Protocol):
    """What sessions need of the orchestrator."""

    async def submit(
        self,
        request: GenerationRequest,
        once: Idempotency | None = None,
        *,
        also: Callable[[Connection, str], None] | None = None,
    ) -> Job: ...

    async def submitted(self, once: Idempotency) -> Job | None: ...

    async def cancel(self, job_id: str) -> Job: ...

    async def asset(self, asset_id: str) -> StoredAsset: ...


class SessionService:
    """Conversations over one orchestrator's jobs."""

    def __init__(self, store: SessionStore, jobs: Jobs, codec: Codec) -> None:
        self._store = store
        self._jobs = jobs
        self._codec = codec

    async def create(self, request: SessionRequest) -> Session:
        """A new session without turns."""
        return await asyncio.to_thread(self._store.create, request.title)

    async def get(self, session_id: str) -> Session:
        """The whole session."""
        return await asyncio.to_thread(self._store.get, session_id)

    async def list(self, limit: int = 50, before: str | None = None) -> builtins.list[SessionSummary]:
        """Sessions, newest first, starting below the session `before`."""
        if not 1 <= limit <= 200:
            raise RequestInvalid(f"limit is {limit}; ask for 1 to 200 sessions", param="limit")
        return await asyncio.to_thread(self._store.newest, limit, before)

    async def delete(self, session_id: str) -> None:
        """Forget a session and its turns, but not what they made."""
        await asyncio.to_thread(self._store.delete, session_id)

    async def turn(self, session_id: str, request: TurnRequest, once: Idempotency | None = None) -> Turn:
        """Work out what the instruction looks at, and submit it as the next turn. What came `once` is not done again.

        Raises:
            TagUnresolved: the instruction speaks of something that is not there, or unclearly.
            TurnConflict: the head's turn is still at work, or another turn came first.
            IdempotencyConflict: the key belongs to another request.
        """
        return await self._once(session_id, once, lambda: self._next(session_id, request, once))

    async def _once(self, session_id: str, once: Idempotency | None, take: Callable[[], Awaitable[Turn]]) -> Turn:
        """A turn, or the one that came under its key before, maybe in this very moment."""
        if once is None:
            return await take()
        if (first := await self._jobs.submitted(once)) is None:
            try:
                return await take()
            except TurnConflict:
                if (first := await self._jobs.submitted(once)) is None:
                    raise
        return await asyncio.to_thread(self._store.turn_of, session_id, first.id)

    async def _next(self, session_id: str, request: TurnRequest, once: Idempotency | None) -> Turn:
        session, revision = await asyncio.to_thread(self._store.snapshot, session_id)
        _check_head(session, request.expected_head)
        parent = request.parent if request.parent is not None else session.head
        if request.parent:
            require_turn(session, request.parent, "parent")
        assets = {one.tag: one.asset for one in session.assets}
        given, brought = await self._bring(request, assets, await asyncio.to_thread(self._store.tags, session_id))
        found = refer(request.instruction, _known(session, assets), _last(session, parent or None), given, request.task)
        inputs = tuple(
            TurnVisual(
                tag=one.tag,
                called=one.called,
                role=one.role,
                asset_id=_still(session, one.tag).id if one.still else assets[one.tag].id,
                turn=int(one.tag.removeprefix("turn")) if one.tag.startswith("turn") else None,
                still=one.still,
            )
            for one in found.visuals
        )
        visuals = tuple(VisualInput(tag=one.called, role=one.role, upload_id=one.asset_id) for one in inputs)
        wanted = request.outside().model_copy(update={"instruction": found.instruction, "visuals": visuals})
        draft = TurnDraft(session_id, revision, parent or None, request.instruction, inputs, brought)
        return await self._submit(draft, wanted, once)

    async def replay(
        self, session_id: str, number: int, request: ReplayTurnRequest, once: Idempotency | None = None
    ) -> Turn:
        """Do a turn again beside itself, with another seed; everything else stays. What came `once` is not done again."""
        return await self._once(session_id, once, lambda: self._again(session_id, number, request, once))

    async def _again(self, session_id: str, number: int, request: ReplayTurnRequest, once: Idempotency | None) -> Turn:
        session, revision = await asyncio.to_thread(self._store.snapshot, session_id)
        _check_head(session, None)
        turn = require_turn(session, number, "turn")
        if turn.job is None:
            raise RequestInvalid(f"the job of turn {number} was deleted, so it cannot be done again", param="turn")
        seed = request.seed if request.seed is not None else secrets.randbelow(2**31)
        wanted = turn.job.request.model_copy(update={"seed": seed})
        draft = TurnDraft(session_id, revision, turn.parent, turn.instruction, turn.inputs, {}, number)
        return await self._submit(draft, wanted, once)

    async def undo(self, session_id: str, expected_head: int | None = None) -> Session:
        """Move the head to its parent. The turn stays in the tree; one at work is cancelled."""
        session, left = await asyncio.to_thread(self._store.move_head, session_id, None, expected_head)
        if left is not None and is_open(left):
            await self._jobs.cancel(left.job_id)
        return session

    async def move_head(self, session_id: str, request: HeadRequest) -> Session:
        """Go on from any turn, or from the start: the next turn branches there."""
        session, _ = await asyncio.to_thread(self._store.move_head, session_id, request.turn, request.expected_head)
        return session

    async def compare(self, session_id: str, a: int, b: int) -> tuple[Comparison, Artifact | None]:
        """Two turns: what differs, and both results side by side as one picture."""
        session = await self.get(session_id)
        turns = [require_turn(session, number, name) for number, name in ((a, "a"), (b, "b"))]
        frames = [await self._frames_of(turn) for turn in turns]
        seen: FrameComparison | None = None
        if frames[0] is not None and frames[1] is not None:
            seen = await self._codec.compare(frames[0], frames[1])
        comparison = Comparison(
            session_id=session_id,
            a=a,
            b=b,
            differences=_differences(*turns),
            identical=seen is not None and seen.identical,
            psnr_db=seen.psnr_db if seen is not None else None,
            has_picture=seen is not None,
        )
        return comparison, seen.picture if seen is not None else None

    async def _submit(self, draft: TurnDraft, wanted: GenerationRequest, once: Idempotency | None) -> Turn:
        job = await self._jobs.submit(wanted, once, also=lambda db, job_id: self._store.append(db, draft, job_id))
        return await asyncio.to_thread(self._store.turn_of, draft.session_id, job.id)

    async def _bring(
        self, request: TurnRequest, assets: dict[str, Asset], taken: set[str]
    ) -> tuple[builtins.list[Given], dict[str, str]]:
        """The explicit inputs by tag. What is new to the session gets the next tag of its kind, and is added to `assets`.

        Args:
            taken: tags that were given before.
        """
        given, brought = [], {}
        tags = {asset.id: tag for tag, asset in assets.items()}
        for one in request.inputs:
            if one.upload_id is None:
                given.append(Given(one.tag or "", one.role))
                continue
            if one.upload_id not in tags:
                asset = (await self._jobs.asset(one.upload_id)).asset
                count = 1 + max(
                    (int(tag.removeprefix(asset.kind)) for tag in taken if tag.startswith(asset.kind)), default=0
                )
                tag = tags[asset.id] = f"{asset.kind}{count}"
                assets[tag], brought[tag] = asset, asset.id
                taken.add(tag)
            given.append(Given(tags[one.upload_id], one.role))
        return given, brought

    async def _frames_of(self, turn: Turn) -> TensorRef | None:
        """The frames of a turn's result, if there is one."""
        return await self.frames(turn.result.id) if turn.result is not None else None

    async def frames(self, asset_id: str) -> TensorRef:
        """The lossless frames of a result, uint8 [T, H, W, 3], decoded again if they were swept.

        Raises:
            RequestInvalid: it is no result, or one of a time before they were kept.
        """
        stored = await self._jobs.asset(asset_id)
        if stored.lossless is None:
            raise RequestInvalid(
                f"{asset_id} has no lossless frames: they are kept of what VOGUE made; read its file instead"
            )
        frames, height_px, width_px, _ = stored.lossless.frames.shape
        visual = VisualInput(tag=f"{stored.asset.kind}1", role=Role.SOURCE, upload_id=stored.asset.id)
        request = PrepareRequest(
            visual=visual,
            original=stored.artifact,
            lossless=stored.lossless,
            height_px=height_px,
            width_px=width_px,
            max_frames=frames,
        )
        return (await self._codec.prepare(request)).frames


def _check_head(session: Session, expected: int | None) -> None:
    """One turn at a time: the next one builds on what this one makes."""
    if expected is not None and expected != (session.head or 0):
        raise TurnConflict(
            f"the head of session {session.id} is at turn {session.head or 0}, not at {expected}: another turn came first",
            param="expected_head",
        )
    head = session.turn(session.head) if session.head is not None else None
    if head is not None and is_open(head):
        raise TurnConflict(
            f"turn {head.number} of session {session.id} is still at work (job {head.job_id}): wait for it, or undo it"
        )
    if len(session.turns) >= _MOST_TURNS:
        raise RequestInvalid(
            f"session {session.id} has {_MOST_TURNS} turns, and that is all it can have; begin another"
        )


def _known(session: Session, assets: dict[str, Asset]) -> dict[str, Known]:
    """Every tag that can be said."""
    return {
        tag: Known(asset.kind, tag.startswith("turn") and _poster(session, tag) is not None)
        for tag, asset in assets.items()
    }


def _poster(session: Session, tag: str) -> Asset | None:
    """The first picture of a turn's clip."""
    turn = session.turn(int(tag.removeprefix("turn")))
    pictures = [asset for asset in turn.job.assets[1:] if asset.kind is MediaKind.IMAGE] if turn and turn.job else []
    return pictures[0] if pictures else None


def _still(session: Session, tag: str) -> Asset:
    poster = _poster(session, tag)
    if poster is None:
        raise TagUnresolved(f"{tag} is a clip without a still picture, and only pictures can be references")
    return poster


def _last(session: Session, number: int | None) -> str | None:
    """The latest result on the branch of a turn: its own, or that of the nearest turn before it that has one."""
    while number is not None:
        turn = session.turn(number)
        if turn is None:
            return None
        if turn.result is not None:
            return f"turn{number}"
        number = turn.parent
    return None


def _differences(a: Turn, b: Turn) -> tuple[Difference, ...]:
    """What was asked and used, where it is not the same."""
    one, other = _facts(a), _facts(b)
    return tuple(
        Difference(name=name, a=one.get(name), b=other.get(name))
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    )


def _facts(turn: Turn) -> dict[str, str]:
    facts = {"asked": turn.instruction, "inputs": ", ".join(f"{one.tag} as {one.role}" for one in turn.inputs)}
    if turn.job is not None:
        spec = turn.job.spec.model_dump(mode="json", exclude_none=True)
        facts |= {name: str(value) for name, value in spec.items()} | {"status": turn.job.status.value}
    return facts
