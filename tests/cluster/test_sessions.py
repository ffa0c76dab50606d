"""A conversation over real services: turns, undo, branches, replay, comparison, and two who speak at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from vogue import Vogue
from vogue.schemas.errors import TagUnresolved, TurnConflict, TurnNotFound

from .cluster import Server

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def vogue(server: Server) -> Iterator[Vogue]:
    with Vogue(server.url) as made:
        yield made


def _counts(vogue_url: str) -> dict[str, tuple[int, int]]:
    found = httpx.get(f"{vogue_url}/v1/counters").json()["data"]
    return {one["operation"]: (one["computed"], one["reused"]) for one in found}


def test_a_conversation(vogue: Vogue, server: Server, tmp_path: Path) -> None:
    session = vogue.sessions.create("a star")
    first = session.say("a yellow star", num_frames=5, steps=2, seed=1)
    first.wait()
    before = _counts(server.url)
    second = session.say("now make it blue", steps=2, seed=2)
    second.wait()
    after = _counts(server.url)
    # The second turn starts from what the first one was before it became a file.
    for operation in ("codec.prepare", "codec.encode"):
        assert after.get(operation, (0, 0))[0] == before.get(operation, (0, 0))[0], operation
    assert second.job.request.visuals[0].upload_id == first.results[0].asset.id
    session.undo()
    assert session.head == 1
    branch = session.say("put it into the night", steps=2)
    branch.wait()
    assert [(turn.number, turn.turn.parent) for turn in session.refresh().turns] == [(1, None), (2, 1), (3, 1)]
    again = session.replay(2, seed=9)
    again.wait()
    compared = session.compare(2, again.number)
    assert any("seed" in str(difference) for difference in compared.differences)
    assert session.compare_picture(2, again.number)[:4] == b"\x89PNG"
    with pytest.raises(TurnNotFound):
        session.go_to(77)
    with pytest.raises(TagUnresolved):
        session.say("put the fox from turn 44 on it")
    path = second.save(tmp_path / "second.mp4")
    replayed = vogue.replay(path).wait()
    assert not replayed.differences
    assert (replayed.frames() == second.frames()).all()


def test_of_two_turns_at_once_one_wins(server: Server) -> None:
    with Vogue(server.url) as vogue:
        session_id = vogue.sessions.create().id
    outcomes: list[Any] = []
    barrier = threading.Barrier(2)

    def speak() -> None:
        with Vogue(server.url) as mine:
            session = mine.sessions.get(session_id)
            barrier.wait()
            try:
                outcomes.append(session.say("a star", steps=32, num_frames=5))
            except TurnConflict as error:
                outcomes.append(error)

    threads = [threading.Thread(target=speak) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(one, TurnConflict) for one in outcomes) == [False, True]
    with Vogue(server.url) as vogue:
        session = vogue.sessions.get(session_id)
        assert len(session.turns) == 1
        vogue.jobs.cancel(session.turns[0].id)
