"""Conversations that are played: the sessions of `vogue.testing`, with the real rules for what an instruction refers to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from vogue.schemas.errors import RequestInvalid, SessionNotFound, TurnConflict, TurnNotFound
from vogue.schemas.references import MediaKind
from vogue.schemas.referring import Given, Known, refer
from vogue.schemas.requests import GenerationRequest, VisualInput
from vogue.schemas.sessions import (
    Comparison,
    HeadRequest,
    ReplayTurnRequest,
    Session,
    SessionRequest,
    TaggedAsset,
    Turn,
    TurnRequest,
    TurnVisual,
    UndoRequest,
)
from vogue.schemas.wire import validate

from .rehearsal import Rehearsal

__all__ = ["RehearsedSessions"]

Route = tuple[str, str, Callable[..., httpx.Response]]


class RehearsedSessions:
    """Sessions in memory. What an instruction refers to is found as the server finds it; clips have no still pictures."""

    def __init__(self, stage: Rehearsal, requests: list[GenerationRequest]) -> None:
        self._stage = stage
        self._requests = requests
        self._sessions: dict[str, Session] = {}
        self._keys: dict[tuple[str, str], int] = {}
        self._begun = 0

    def routes(self) -> tuple[Route, ...]:
        """Every path below /v1/sessions."""
        one = "/v1/sessions/([^/]+)"
        return (
            ("POST", "/v1/sessions", self._create),
            ("GET", "/v1/sessions", self._list),
            ("GET", one, lambda _, session_id: _answer(self._fresh(session_id))),
            ("DELETE", one, self._delete),
            ("POST", f"{one}/turns", self._turn),
            ("GET", rf"{one}/turns/(\d+)", lambda _, session_id, number: _answer(self._turn_of(session_id, number))),
            ("POST", rf"{one}/turns/(\d+)/replay", self._replay),
            ("POST", f"{one}/undo", self._undo),
            ("POST", f"{one}/head", self._head),
            ("GET", f"{one}/compare", self._compare),
        )

    def forget_all(self) -> int:
        """Forget every session; returns how many there were."""
        count = len(self._sessions)
        self._sessions.clear()
        return count

    def _create(self, request: httpx.Request) -> httpx.Response:
        wanted = validate(SessionRequest, json.loads(request.read() or b"{}"))
        self._begun += 1
        session_id = f"session_{self._begun:016d}"
        self._sessions[session_id] = Session(id=session_id, title=wanted.title, created_at_s=0.0)
        return _answer(self._sessions[session_id], 201)

    def _list(self, _: httpx.Request) -> httpx.Response:
        kept = {"turns", "assets"}
        found = [session.model_dump(mode="json", exclude=kept) for session in reversed(self._sessions.values())]
        return httpx.Response(200, json={"object": "list", "data": found})

    def _fresh(self, session_id: str) -> Session:
        """A session with its jobs as they stand."""
        if session_id not in self._sessions:
            raise SessionNotFound(f"no session is called {session_id}")
        session = self._sessions[session_id]
        records = self._stage.records
        turns = tuple(
            turn.model_copy(update={"job": records[turn.job_id].job if turn.job_id in records else None})
            for turn in session.turns
        )
        brought = [one for one in session.assets if one.turn is None]
        made = [
            TaggedAsset(tag=f"turn{turn.number}", asset=turn.result, turn=turn.number)
            for turn in turns
            if turn.result is not None
        ]
        update = {"turns": turns, "num_turns": len(turns), "assets": (*brought, *made)}
        self._sessions[session_id] = session.model_copy(update=update)
        return self._sessions[session_id]

    def _delete(self, _: httpx.Request, session_id: str) -> httpx.Response:
        for turn in self._fresh(session_id).turns:
            if turn.job is not None and not turn.job.status.final:
                raise TurnConflict(f"turn {turn.number} of session {session_id} is still at work")
        del self._sessions[session_id]
        return httpx.Response(200, json={"id": session_id, "object": "session", "deleted": True})

    def _turn_of(self, session_id: str, number: str) -> Turn:
        turn = self._fresh(session_id).turn(int(number))
        if turn is None:
            raise TurnNotFound(f"session {session_id} has no turn {number}")
        return turn

    def _turn(self, request: httpx.Request, session_id: str) -> httpx.Response:
        wanted = validate(TurnRequest, json.loads(request.read()))
        session = self._fresh(session_id)
        key = (session_id, request.headers.get("idempotency-key", ""))
        if key in self._keys:
            return _answer(self._turn_of(session_id, str(self._keys[key])), 201)
        _check_head(session, wanted.expected_head)
        given = []
        for one in wanted.inputs:
            tag = one.tag
            if one.upload_id is not None:
                session, tag = self._bring(session, one.upload_id)
            given.append(Given(tag or "", one.role))
        parent = (wanted.parent if wanted.parent is not None else session.head) or None
        assets = {one.tag: one for one in session.assets}
        known = {tag: Known(MediaKind(one.asset.kind)) for tag, one in assets.items()}
        found = refer(wanted.instruction, known, _last(session, parent), given, wanted.task)
        inputs = tuple(
            TurnVisual(
                tag=one.tag,
                called=one.called,
                role=one.role,
                asset_id=assets[one.tag].asset.id,
                turn=assets[one.tag].turn,
            )
            for one in found.visuals
        )
        visuals = tuple(VisualInput(tag=one.called, role=one.role, upload_id=one.asset_id) for one in inputs)
        outside = wanted.outside().model_copy(update={"instruction": found.instruction, "visuals": visuals})
        answer = self._took(session, outside, parent=parent, instruction=wanted.instruction, inputs=inputs)
        if key[1]:
            self._keys[key] = len(session.turns) + 1
        return answer

    def _replay(self, request: httpx.Request, session_id: str, number: str) -> httpx.Response:
        wanted = validate(ReplayTurnRequest, json.loads(request.read() or b"{}"))
        turn = self._turn_of(session_id, number)
        if turn.job is None:
            raise RequestInvalid(f"the job of turn {number} was deleted")
        seed = wanted.seed if wanted.seed is not None else (turn.job.spec.seed + 1)
        again = turn.job.request.model_copy(update={"seed": seed})
        fields = {"parent": turn.parent, "instruction": turn.instruction, "inputs": turn.inputs}
        return self._took(self._fresh(session_id), again, **fields, replay_of=turn.number)

    def _took(self, session: Session, wanted: GenerationRequest, **fields: Any) -> httpx.Response:
        self._requests.append(wanted)
        job = self._stage.begin(wanted).job
        number = len(session.turns) + 1
        turn = Turn(session_id=session.id, number=number, created_at_s=float(number), job_id=job.id, job=job, **fields)
        self._sessions[session.id] = session.model_copy(update={"turns": (*session.turns, turn), "head": number})
        return _answer(turn, 201)

    def _bring(self, session: Session, asset_id: str) -> tuple[Session, str]:
        """An asset's tag, new if it is new to the session."""
        tags = {one.asset.id: one.tag for one in session.assets}
        if asset_id in tags:
            return session, tags[asset_id]
        asset = self._stage.file(asset_id)[0]
        count = sum(one.tag.startswith(asset.kind) for one in session.assets) + 1
        tagged = TaggedAsset(tag=f"{asset.kind}{count}", asset=asset)
        return session.model_copy(update={"assets": (*session.assets, tagged)}), tagged.tag

    def _undo(self, request: httpx.Request, session_id: str) -> httpx.Response:
        wanted = validate(UndoRequest, json.loads(request.read() or b"{}"))
        session = self._fresh(session_id)
        if wanted.expected_head is not None and wanted.expected_head != (session.head or 0):
            raise TurnConflict(f"the head is at turn {session.head or 0}", param="expected_head")
        head = session.turn(session.head) if session.head is not None else None
        if head is None:
            raise RequestInvalid(f"session {session_id} is at its start: there is nothing to undo")
        return self._moved(session, head.parent)

    def _head(self, request: httpx.Request, session_id: str) -> httpx.Response:
        wanted = validate(HeadRequest, json.loads(request.read()))
        session = self._fresh(session_id)
        if wanted.turn:
            self._turn_of(session_id, str(wanted.turn))
        return self._moved(session, wanted.turn or None)

    def _moved(self, session: Session, head: int | None) -> httpx.Response:
        self._sessions[session.id] = session.model_copy(update={"head": head})
        return _answer(self._sessions[session.id])

    def _compare(self, request: httpx.Request, session_id: str) -> httpx.Response:
        a, b = (int(request.url.params[name]) for name in ("a", "b"))
        for number in (a, b):
            self._turn_of(session_id, str(number))
        return _answer(Comparison(session_id=session_id, a=a, b=b, identical=True))


def _check_head(session: Session, expected: int | None) -> None:
    head = session.turn(session.head) if session.head is not None else None
    if expected is not None and expected != (session.head or 0):
        raise TurnConflict(f"the head is at turn {session.head or 0}, not at {expected}", param="expected_head")
    if head is not None and head.job is not None and not head.job.status.final:
        raise TurnConflict(f"turn {head.number} is still at work: wait for it, or undo it")


def _last(session: Session, number: int | None) -> str | None:
    """The latest result on a turn's branch."""
    while number is not None and (turn := session.turn(number)) is not None:
        if turn.result is not None:
            return f"turn{number}"
        number = turn.parent
    return None


def _answer(contract: Session | Turn | Comparison, status: int = 200) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return httpx.Response(status, content=contract.model_dump_json(), headers=headers)
