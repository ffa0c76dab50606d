"""Conversations over HTTP and in the house: reference, branches, undo, replay, comparison, conflict, restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from vogue.schemas.config import Role, Task
from vogue.schemas.errors import RequestInvalid, SessionNotFound, TagUnresolved, TurnConflict, TurnNotFound, UrlRefused
from vogue.schemas.jobs import JobStatus
from vogue.schemas.queries import Idempotency
from vogue.schemas.sessions import HeadRequest, ReplayTurnRequest, Session, SessionRequest, Turn, TurnInput, TurnRequest
from vogue.services.callers import ANYBODY, become
from vogue.services.fakes import netpbm, read_netpbm

from .border import remote_orchestrator


async def say(house: Any, session: Session, instruction: str, **fields: Any) -> Turn:
    """Take a turn and wait for it."""
    sessions = house.orchestrator.sessions
    turn = await sessions.turn(session.id, TurnRequest(instruction=instruction, **fields))
    assert (await house.finish(turn.job_id)).status is JobStatus.COMPLETED
    found = (await sessions.get(session.id)).turn(turn.number)
    assert found is not None
    return found


async def begin(house: Any) -> Session:
    return await house.orchestrator.sessions.create(SessionRequest(title="stars"))


async def upload(house: Any, frames: int = 1, value: int = 9) -> str:
    pixels = np.full((frames, 32, 32, 3), value, np.uint8)
    return (await house.orchestrator.add_upload(house.blobs.put(netpbm(pixels), "x/y"), "it.ppm")).id


def read(turn: Turn) -> list[tuple[str, str]]:
    return [(one.tag, one.role.value) for one in turn.inputs]


async def test_it_is_the_last_result_and_earlier_ones_have_names(house: Any) -> None:
    session = await begin(house)
    first = await say(house, session, "a red star", seed=1)
    second = await say(house, session, "now make it blue")
    assert (second.parent, read(second)) == (1, [("turn1", "source")])
    assert second.job is not None and second.job.spec.task is Task.V2V_EDIT
    assert second.inputs[0].asset_id == first.result.id and second.inputs[0].turn == 1
    third = await say(house, session, "put the star from turn 1 on it")
    assert read(third) == [("turn1", "reference"), ("turn2", "source")]
    assert third.inputs[0].still and third.inputs[0].asset_id == first.job.assets[1].id
    assert third.instruction == "put the star from turn 1 on it"
    assert third.job.request.instruction == "put the star from image1 on it"
    found = await house.orchestrator.sessions.get(session.id)
    assert (found.head, [one.tag for one in found.assets]) == (3, ["turn1", "turn2", "turn3"])
    assert [(turn.number, turn.parent) for turn in found.turns] == [(1, None), (2, 1), (3, 2)]


async def test_files_that_are_brought_in_get_tags(house: Any) -> None:
    session = await begin(house)
    clip, picture = await upload(house, 5), await upload(house)
    first = await say(house, session, "make it blue", inputs=(TurnInput(upload_id=clip),))
    assert read(first) == [("video1", "source")]
    second = await say(house, session, "put the hat on the head", inputs=(TurnInput(upload_id=picture),))
    assert read(second) == [("image1", "reference"), ("turn1", "source")]
    again = TurnInput(upload_id=picture, role=Role.SOURCE)
    third = await say(house, session, "make this red", inputs=(again,))
    assert read(third) == [("image1", "source")] and third.job.spec.task is Task.I2I_EDIT
    fourth = await say(house, session, "video1 in green")
    assert read(fourth) == [("video1", "source")]
    tags = [one.tag for one in (await house.orchestrator.sessions.get(session.id)).assets]
    assert tags == ["image1", "video1", "turn1", "turn2", "turn3", "turn4"]


async def test_the_tag_of_a_deleted_file_is_not_given_again(house: Any) -> None:
    session = await begin(house)
    first, second = await upload(house), await upload(house, value=7)
    for picture, tag in ((first, "image1"), (second, "image2")):
        turn = await say(house, session, "make it blue", inputs=(TurnInput(upload_id=picture, role=Role.SOURCE),))
        assert read(turn) == [(tag, "source")]
        await house.orchestrator.delete_asset(picture)


async def test_undo_branch_and_the_start(house: Any) -> None:
    session, sessions = await begin(house), house.orchestrator.sessions
    await say(house, session, "a red star")
    await say(house, session, "make it blue")
    assert (await sessions.undo(session.id)).head == 1
    third = await say(house, session, "make it green")
    assert (third.parent, read(third)) == (1, [("turn1", "source")])
    fourth = await say(house, session, "smaller", parent=2)
    assert (fourth.parent, read(fourth)) == (2, [("turn2", "source")])
    assert (await sessions.get(session.id)).head == 4
    assert (await sessions.move_head(session.id, HeadRequest(turn=3))).head == 3
    fifth = await say(house, session, "a yellow ring", parent=0)
    assert (fifth.parent, read(fifth)) == (None, [])
    assert (await sessions.undo(session.id)).head is None
    with pytest.raises(RequestInvalid, match="nothing to undo"):
        await sessions.undo(session.id)
    with pytest.raises(TurnNotFound, match="turns are 1 to 5"):
        await sessions.move_head(session.id, HeadRequest(turn=6))
    with pytest.raises(TurnConflict):
        await sessions.move_head(session.id, HeadRequest(turn=1, expected_head=3))


async def test_a_turn_without_a_result_is_passed_over(house: Any) -> None:
    session, sessions = await begin(house), house.orchestrator.sessions
    await say(house, session, "a red star")
    turn = await sessions.turn(session.id, TurnRequest(instruction="make it blue"))
    assert (await sessions.undo(session.id)).head == 1
    assert (await house.finish(turn.job_id)).status is JobStatus.CANCELLED
    await sessions.move_head(session.id, HeadRequest(turn=2))
    third = await say(house, session, "make it green")
    assert (third.parent, read(third)) == (2, [("turn1", "source")])
    with pytest.raises(TagUnresolved, match="there is no turn2 in this session: there are turn1, turn3"):
        await sessions.turn(session.id, TurnRequest(instruction="make turn2 red"))


async def test_replay_and_compare(house: Any) -> None:
    session, sessions = await begin(house), house.orchestrator.sessions
    await say(house, session, "a red star", seed=1)
    edit = await say(house, session, "make it blue", seed=2)
    turn = await sessions.replay(session.id, 2, ReplayTurnRequest(seed=3))
    await house.finish(turn.job_id)
    other = (await sessions.get(session.id)).turn(3)
    assert (other.parent, other.replay_of, other.inputs) == (1, 2, edit.inputs)
    assert other.job.request == edit.job.request.model_copy(update={"seed": 3})
    seen, picture = await sessions.compare(session.id, 2, 3)
    assert [(one.name, one.a, one.b) for one in seen.differences] == [("seed", "2", "3")]
    assert picture is not None and read_netpbm(bytes(house.blobs.get(picture))).shape == (1, 32, 68, 3)
    apart, _ = await sessions.compare(session.id, 1, 2)
    assert not apart.identical and apart.psnr_db is not None and 0 < apart.psnr_db < 60
    assert {"asked", "inputs", "task", "seed"} <= {one.name for one in apart.differences}
    same, _ = await sessions.compare(session.id, 2, 2)
    assert same.identical and same.psnr_db is None and same.differences == ()
    free = await sessions.replay(session.id, 2, ReplayTurnRequest())
    assert free.job is not None and free.job.spec.seed not in (2, 3)


async def test_of_turns_that_come_at_once_one_wins(house: Any) -> None:
    session, sessions = await begin(house), house.orchestrator.sessions
    await say(house, session, "a red star")
    turns = [sessions.turn(session.id, TurnRequest(instruction=f"make it {n}")) for n in range(6)]
    ended = await asyncio.gather(*turns, return_exceptions=True)
    won = [one for one in ended if isinstance(one, Turn)]
    lost = [one for one in ended if isinstance(one, TurnConflict)]
    assert (len(won), len(lost)) == (1, 5)
    found = await sessions.get(session.id)
    assert (found.head, found.num_turns) == (2, 2)
    assert len(await house.orchestrator.list()) == 2
    await house.finish(won[0].job_id)
    with pytest.raises(TurnConflict, match="at turn 2, not at 1"):
        await sessions.turn(session.id, TurnRequest(instruction="red", expected_head=1))


async def test_sessions_survive_a_restart_and_a_deleted_job(tmp_path: Path, new_house: Any) -> None:
    first = new_house.build(tmp_path)
    await first.orchestrator.start()
    session = await begin(first)
    await say(first, session, "a red star")
    turn = await first.orchestrator.sessions.turn(session.id, TurnRequest(instruction="make it blue"))
    await first.orchestrator.close()
    second = new_house.build(tmp_path)
    await second.orchestrator.start()
    assert (await second.finish(turn.job_id)).status is JobStatus.COMPLETED
    third = await say(second, session, "make it green")
    assert read(third) == [("turn2", "source")]
    await second.orchestrator.delete(turn.job_id)
    found = await second.orchestrator.sessions.get(session.id)
    assert found.turn(2).job is None and [one.tag for one in found.assets] == ["turn1", "turn3"]
    with pytest.raises(RequestInvalid, match="deleted"):
        await second.orchestrator.sessions.replay(session.id, 2, ReplayTurnRequest())
    await second.orchestrator.close()


async def test_over_http(house: Any, client: httpx.AsyncClient) -> None:
    session = (await client.post("/v1/sessions", json={"title": "stars"})).json()
    path = f"/v1/sessions/{session['id']}"
    for number, words in ((1, "a red star"), (2, "make it blue")):
        response = await client.post(f"{path}/turns", json={"instruction": words, "seed": number})
        assert response.status_code == 201, response.text
        await house.finish(response.json()["job_id"])
    turn = (await client.get(f"{path}/turns/2")).json()
    assert turn["inputs"][0]["tag"] == "turn1" and turn["job"]["status"] == "completed"
    again = (await client.post(f"{path}/turns/2/replay", json={"seed": 5})).json()
    await house.finish(again["job_id"])
    assert again["replay_of"] == 2
    seen = (await client.get(f"{path}/compare", params={"a": 2, "b": 3})).json()
    assert seen["has_picture"] and {one["name"] for one in seen["differences"]} == {"seed"}
    picture = await client.get(f"{path}/compare/picture", params={"a": 2, "b": 3})
    assert picture.status_code == 200 and picture.content.startswith(b"P6")
    assert (await client.post(f"{path}/undo")).json()["head"] == 1
    assert (await client.post(f"{path}/head", json={"turn": 3})).json()["head"] == 3
    listed = (await client.get("/v1/sessions")).json()["data"]
    assert [(one["id"], one["num_turns"], one["title"]) for one in listed] == [(session["id"], 3, "stars")]
    unknown = await client.post(f"{path}/turns", json={"instruction": "make turn9 blue"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "tag_unresolved")
    assert "turn1, turn2, turn3" in unknown.json()["error"]["message"]
    late = await client.post(f"{path}/turns", json={"instruction": "blue", "expected_head": 1})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "turn_conflict")
    for lost in ("/v1/sessions/session_x", f"{path}/turns/9"):
        assert (await client.get(lost)).status_code == 404
    given = {"instruction": "x", "inputs": [{"tag": "turn1", "upload_id": "upload_0123456789abcdef"}]}
    assert (await client.post(f"{path}/turns", json=given)).status_code == 400


async def test_unknown_sessions(house: Any) -> None:
    with pytest.raises(SessionNotFound):
        await house.orchestrator.sessions.get("session_none")
    with pytest.raises(SessionNotFound):
        await house.orchestrator.sessions.turn("session_none", TurnRequest(instruction="x"))


async def test_a_turn_under_a_key_is_taken_once(house: Any, client: httpx.AsyncClient) -> None:
    session = await begin(house)
    path, key = f"/v1/sessions/{session.id}/turns", {"idempotency-key": "k"}
    asked = {"instruction": "a red star", "seed": 1}
    turns = [await client.post(path, json=asked, headers=key) for _ in range(2)]
    assert [turn.status_code for turn in turns] == [201, 201], "also while the first is at work"
    assert turns[0].json()["job_id"] == turns[1].json()["job_id"]
    other = await client.post(path, json=asked | {"seed": 2}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    await house.finish(turns[0].json()["job_id"])
    replays = [
        await client.post(f"{path}/1/replay", json={"seed": 5}, headers=key | {"idempotency-key": "r"}) for _ in "ab"
    ]
    assert [replay.json()["number"] for replay in replays] == [2, 2]
    await house.finish(replays[0].json()["job_id"])
    elsewhere = await begin(house)
    again = await client.post(f"/v1/sessions/{elsewhere.id}/turns", json=asked, headers=key)
    assert again.json()["error"]["code"] == "idempotency_conflict"


async def test_a_turn_that_came_in_the_same_moment_is_no_conflict(house: Any) -> None:
    session = await begin(house)
    sessions, once = house.orchestrator.sessions, Idempotency(key="k", fingerprint="a" * 64)
    both = await asyncio.gather(
        *(sessions.turn(session.id, TurnRequest(instruction="a red star"), once) for _ in range(2))
    )
    assert both[0].job_id == both[1].job_id and len((await sessions.get(session.id)).turns) == 1
    await house.finish(both[0].job_id)


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")
async def test_keys_and_deletion_cross_to_another_process(house: Any) -> None:
    remote = remote_orchestrator(house.orchestrator)
    become(ANYBODY)
    session = await remote.sessions.create(SessionRequest())
    once = Idempotency(key="k", fingerprint="a" * 64)
    turns = [await remote.sessions.turn(session.id, TurnRequest(instruction="a red star"), once) for _ in range(2)]
    assert turns[0].job_id == turns[1].job_id
    await house.finish(turns[0].job_id)
    again = once.model_copy(update={"key": "r"})
    replays = [await remote.sessions.replay(session.id, 1, ReplayTurnRequest(seed=3), again) for _ in range(2)]
    assert [replay.number for replay in replays] == [2, 2]
    await house.finish(replays[0].job_id)
    await remote.sessions.delete(session.id)
    with pytest.raises(SessionNotFound):
        await remote.sessions.get(session.id)
    with pytest.raises(UrlRefused, match="sends no webhooks"):
        await remote.webhook_secret()


async def test_a_deleted_session_leaves_its_jobs_and_their_media(house: Any, client: httpx.AsyncClient) -> None:
    session = await begin(house)
    turn = await say(house, session, "a red star", inputs=(TurnInput(upload_id=await upload(house)),))
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET status = 'waiting'")
    kept = await begin(house)
    refused = await client.delete(f"/v1/sessions/{session.id}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "turn_conflict")
    assert turn.job_id in refused.text
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET status = 'completed'")
    assert (await client.delete(f"/v1/sessions/{session.id}")).json()["deleted"] is True
    assert (await client.get(f"/v1/sessions/{session.id}")).json()["error"]["code"] == "session_not_found"
    assert (await client.delete(f"/v1/sessions/{session.id}")).status_code == 404
    assert [one["id"] for one in (await client.get("/v1/sessions")).json()["data"]] == [kept.id]
    assert (await house.orchestrator.get(turn.job_id)).assets
    with house.orchestrator._database.reading() as db:
        for table in ("turns", "session_assets"):
            assert db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 0
