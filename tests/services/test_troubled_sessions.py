"""Conversations in bad times: a server that dies in the middle of a turn, plans that wait over restarts, two users at one session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vogue.schemas.errors import SessionNotFound, TurnConflict, VogueError
from vogue.schemas.jobs import JobStatus
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.requests import Thinking
from vogue.schemas.sessions import HeadRequest, ReplayTurnRequest, Session, SessionRequest, Turn, TurnRequest
from vogue.services.leases import LeaseTable
from vogue.services.orchestrator import OrchestratorService

from .gates import Gate


async def begin(house: Any) -> Session:
    return await house.orchestrator.sessions.create(SessionRequest())


async def take(house: Any, session: Session, words: str, **fields: Any) -> Turn:
    return await house.orchestrator.sessions.turn(session.id, TurnRequest(instruction=words, **fields))


async def done(house: Any, turn: Turn) -> None:
    assert (await house.finish(turn.job_id)).status is JobStatus.COMPLETED


def planning(house: Any) -> Any:
    """The same house, whose weights can plan."""
    preset = house.preset.model_copy(update={"can_plan": True})
    house.orchestrator = OrchestratorService(
        house.orchestrator._database, house.blobs, house.ports, preset, house.config
    )
    return house


async def killed_in_the_middle_of_a_turn(
    folder: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Session, Turn]:
    """The next server, not started yet, over what one left that died in the fifth step of a session's only turn."""
    first = new_house.build(folder)
    gate = Gate(first.ports.denoiser, at_step=5)
    first = new_house.build(folder, replace(first.ports, denoiser=gate), lease_ttl_s=0.2)
    await first.orchestrator.start()
    session = await begin(first)
    turn = await take(first, session, "a red star", steps=8)
    await gate.reached.wait()
    with monkeypatch.context() as patched:
        # As SIGKILL does: nothing is given back.
        patched.setattr(LeaseTable, "release", lambda *_: None)
        await first.orchestrator.close()
    return new_house.build(folder, lease_ttl_s=0.2), session, turn


async def test_a_server_that_is_killed_in_the_middle_of_a_turn(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, session, turn = await killed_in_the_middle_of_a_turn(tmp_path, new_house, monkeypatch)
    found = await second.orchestrator.sessions.get(session.id)
    assert (found.head, found.turns[0].job.status) == (1, JobStatus.IN_PROGRESS)
    with pytest.raises(TurnConflict, match="still at work"):
        await take(second, session, "make it blue")
    await second.orchestrator.start()
    await done(second, turn)
    blue = await take(second, session, "make it blue")
    await done(second, blue)
    assert [one.tag for one in blue.inputs] == ["turn1"]
    await second.orchestrator.close()


async def test_a_turn_of_a_killed_server_can_be_undone_before_it_is_taken_up(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, session, turn = await killed_in_the_middle_of_a_turn(tmp_path, new_house, monkeypatch)
    assert (await second.orchestrator.sessions.undo(session.id)).head is None
    await second.orchestrator.start()
    assert (await second.finish(turn.job_id)).status is JobStatus.CANCELLED
    again = await take(second, session, "a blue star")
    await done(second, again)
    await second.orchestrator.close()


async def test_a_plan_of_a_turn_waits_over_a_restart_and_holds_its_conversation(tmp_path: Path, new_house: Any) -> None:
    first = planning(new_house.build(tmp_path))
    await first.orchestrator.start()
    session = await begin(first)
    await done(first, await take(first, session, "a red star"))
    turn = await take(first, session, "make it blue", thinking=Thinking.REVIEW)
    async for event in first.orchestrator.events(turn.job_id):
        if event.kind == "waiting":
            break
    await first.orchestrator.close()
    second = planning(new_house.build(tmp_path))
    await second.orchestrator.start()
    found = await second.orchestrator.sessions.get(session.id)
    waiting = found.turn(2)
    assert waiting is not None and waiting.job is not None
    assert (found.head, waiting.job.status) == (2, JobStatus.WAITING)
    for late in (
        take(second, session, "make it green"),
        second.orchestrator.sessions.replay(session.id, 1, ReplayTurnRequest()),
        second.orchestrator.sessions.delete(session.id),
    ):
        with pytest.raises(TurnConflict, match="still at work"):
            await late
    plan = waiting.job.plan
    assert isinstance(plan, Plan)
    edited = plan.model_copy(update={"dense_prompt": "all of it blue"})
    await second.orchestrator.decide(turn.job_id, PlanDecision(plan=edited))
    await done(second, turn)
    assert (await second.orchestrator.get(turn.job_id)).spec.instruction == "all of it blue"
    green = await take(second, session, "make it green")
    await done(second, green)
    assert [one.tag for one in green.inputs] == ["turn2"]
    await second.orchestrator.close()


async def test_a_plan_that_waits_is_undone_with_its_turn(tmp_path: Path, new_house: Any) -> None:
    house = planning(new_house.build(tmp_path))
    await house.orchestrator.start()
    session = await begin(house)
    turn = await take(house, session, "a red star", thinking=Thinking.REVIEW)
    async for event in house.orchestrator.events(turn.job_id):
        if event.kind == "waiting":
            break
    assert (await house.orchestrator.sessions.undo(session.id)).head is None
    assert (await house.orchestrator.get(turn.job_id)).status is JobStatus.CANCELLED
    await done(house, await take(house, session, "a star without a plan"))
    await house.orchestrator.close()


async def test_two_users_do_everything_to_one_session_at_once(house: Any) -> None:
    """Whatever they do, the tree stays a tree, each job belongs to one turn, and every refusal is a typed one."""
    session = await begin(house)
    await done(house, await take(house, session, "a red star", steps=1))
    sessions = house.orchestrator.sessions

    async def user(number: int) -> int:
        refused = 0
        for turn in range(6):
            acts = (
                lambda: take(house, session, f"make it {number}", steps=1),
                lambda: sessions.undo(session.id),
                lambda: sessions.move_head(session.id, HeadRequest(turn=1)),
                lambda seed=turn: sessions.replay(session.id, 1, ReplayTurnRequest(seed=seed)),
            )
            try:
                await acts[(turn + number) % len(acts)]()
            except VogueError as error:
                assert error.http_status in (400, 404, 409), error
                refused += 1
        return refused

    assert sum(await asyncio.gather(*(user(number) for number in range(4)))) < 24
    found = await sessions.get(session.id)
    for turn in found.turns:
        await house.finish(turn.job_id)
    found = await sessions.get(session.id)
    assert [turn.number for turn in found.turns] == list(range(1, found.num_turns + 1))
    assert all(turn.parent is None or turn.parent < turn.number for turn in found.turns)
    jobs = [turn.job_id for turn in found.turns]
    assert len(set(jobs)) == len(jobs) == len(await house.orchestrator.list())
    assert {turn.job.status for turn in found.turns if turn.job} <= {JobStatus.COMPLETED, JobStatus.CANCELLED}
    await sessions.move_head(session.id, HeadRequest(turn=1))
    await done(house, await take(house, session, "and it goes on", steps=1))


async def test_one_deletes_the_session_while_the_other_speaks(house: Any) -> None:
    for _ in range(5):
        session = await begin(house)
        before = len(await house.orchestrator.list())
        said, deleted = await asyncio.gather(
            take(house, session, "a red star", steps=1),
            house.orchestrator.sessions.delete(session.id),
            return_exceptions=True,
        )
        jobs = len(await house.orchestrator.list()) - before
        if isinstance(said, Turn):
            assert jobs == 1
            await house.finish(said.job_id)
            assert deleted is None or isinstance(deleted, TurnConflict)
        else:
            assert isinstance(said, SessionNotFound) and deleted is None
            assert jobs == 0, "a turn that was refused leaves no job"
