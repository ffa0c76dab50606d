"""Tools for conversations: sessions whose turns build on each other, so that `it` and `turn 1` mean something."""

from __future__ import annotations

import re
from typing import Any

from vogue.conversation import AsyncTurnHandle
from vogue.inputs import Media
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.wire import validate

from .arguments import SessionPage, SessionStart, SessionTarget, TurnAsk, TurnTarget, WaitedTurn
from .media import find_media
from .reports import SessionLine, SessionList, SessionReport, TurnReport
from .work import Bench, by_part, media_of, settings_of, wait_for

__all__ = [
    "go_to_turn",
    "list_sessions",
    "list_turns",
    "start_session",
    "submit_turn",
    "take_turn",
    "undo_turn",
]

_TAG = re.compile(r"(turn|image|video)[1-9][0-9]{0,3}")


async def start_session(bench: Bench, wanted: SessionStart) -> SessionReport:
    """Begin a conversation."""
    return SessionReport.of((await bench.client.sessions.create(wanted.title)).session)


async def list_sessions(bench: Bench, wanted: SessionPage) -> SessionList:
    """Conversations, newest first."""
    found = await bench.client.sessions.list(wanted.limit, wanted.before)
    return SessionList(
        sessions=tuple(
            SessionLine(session_id=one.id, title=one.title, num_turns=one.num_turns, head=one.head) for one in found
        ),
        next_before=found[-1].id if len(found) == wanted.limit else None,
    )


async def list_turns(bench: Bench, wanted: SessionTarget) -> SessionReport:
    """A conversation as it stands."""
    return SessionReport.of((await bench.client.sessions.get(wanted.session_id)).session)


async def submit_turn(bench: Bench, wanted: TurnAsk) -> TurnReport:
    """Queue the next turn."""
    return _report(bench, await _submit(bench, wanted))


async def take_turn(bench: Bench, wanted: WaitedTurn) -> TurnReport:
    """Take the next turn, and wait for its result."""
    handle = await _submit(bench, wanted)
    await wait_for(bench, handle, wanted.timeout_s)
    return _report(bench, handle)


async def undo_turn(bench: Bench, wanted: SessionTarget) -> SessionReport:
    """Go back to where the last turn came from."""
    session = await bench.client.sessions.get(wanted.session_id)
    return SessionReport.of((await session.undo()).session)


async def go_to_turn(bench: Bench, wanted: TurnTarget) -> SessionReport:
    """Go on from another turn."""
    session = await bench.client.sessions.get(wanted.session_id)
    return SessionReport.of((await session.go_to(wanted.turn)).session)


def _report(bench: Bench, handle: AsyncTurnHandle) -> TurnReport:
    return TurnReport.of_turn(handle.turn, handle.job, bench.client.server)


async def _submit(bench: Bench, wanted: TurnAsk) -> AsyncTurnHandle:
    """Find what is new to the session, then submit; what it has already is named by its tag."""
    settings = settings_of(wanted)
    validate(GenerationRequest, {"instruction": wanted.instruction, **settings})
    session = await bench.client.sessions.get(wanted.session_id)
    found: dict[str, Media] = {}
    for param, one in media_of(wanted):
        found[param] = one if _TAG.fullmatch(one) else await find_media(bench.client, bench.roots, one, param)
    named: dict[str, Any] = by_part(found)
    return await session.say(wanted.instruction, **named, parent=wanted.parent, **settings)
