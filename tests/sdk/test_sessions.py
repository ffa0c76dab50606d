"""Conversations, replays, pixels and files through both clients: on the server in memory, then on real networks."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vogue import (
    AsyncVogue,
    Clip,
    JobStatus,
    Vogue,
    blocking_handles,
    blocking_sessions,
    conversation,
    files,
    read_recipe,
)
from vogue.cli.app import build_app
from vogue.schemas.config import Role
from vogue.schemas.errors import (
    AssetNotFound,
    JobNotFound,
    RequestInvalid,
    SessionNotFound,
    TagUnresolved,
    TurnConflict,
    TurnNotFound,
)
from vogue.schemas.recipes import Recipe, RecipeInput
from vogue.testing import SMALLEST_GIF, FakeServer

PICTURE = np.zeros((16, 16, 3), np.uint8)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture(params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, server: FakeServer) -> Any:
    return server.client() if request.param == "blocking" else server.async_client()


async def do(call: Any) -> Any:
    return await call if inspect.isawaitable(call) else call


def test_both_clients_have_the_same_methods() -> None:
    pairs = [
        (conversation.AsyncSessions, blocking_sessions.Sessions),
        (conversation.AsyncSessionHandle, blocking_sessions.SessionHandle),
        (conversation.AsyncTurnHandle, blocking_sessions.TurnHandle),
        (files.AsyncFiles, blocking_handles.Files),
    ]
    for one, other in pairs:
        mine, theirs = ({name for name in vars(cls) if not name.startswith("_")} for cls in (one, other))
        assert mine - {"session", "turn"} == theirs - {"session", "turn"}
        for name in mine:
            if inspect.isfunction(getattr(one, name)) and inspect.isfunction(getattr(other, name)):
                signatures = [list(inspect.signature(getattr(cls, name)).parameters) for cls in (one, other)]
                assert signatures[0] == signatures[1], name


async def test_a_conversation(client: Any, server: FakeServer) -> None:
    session = await do(client.sessions.create("stars"))
    first = await do(session.say("a red star", seed=1, source=None))
    with pytest.raises(TurnConflict, match="still at work"):
        await do(session.say("make it blue"))
    await do(first.wait())
    second = await do((await do(session.say("make it blue", task="v2v_edit"))).wait())
    assert (second.number, second.turn.inputs[0].tag, session.head) == (2, "turn1", 2)
    assert server.requests[1].visuals[0].upload_id == first.results[0].asset.id
    third = await do((await do(session.say("put it there", references=[PICTURE], inputs=["turn1"]))).wait())
    assert [(one.tag, one.role) for one in third.turn.inputs] == [
        ("image1", "reference"),
        ("turn1", "reference"),
        ("turn2", "source"),
    ]
    with pytest.raises(TagUnresolved, match="turn1, turn2, turn3"):
        await do(session.say("make turn8 blue"))
    await do((await do(session.replay(2, seed=9))).wait())
    assert server.requests[-1].seed == 9
    await do(session.undo())
    assert session.head == 1
    await do(session.go_to(3))
    assert session.head == 3 and len(session.turns) == 4
    with pytest.raises(TurnNotFound):
        await do(session.go_to(9))
    assert (await do(session.compare(1, 2))).identical
    again = await do(client.sessions.get(session.id))
    assert again.session == session.session
    assert [one.id for one in await do(client.sessions.list())] == [session.id]


async def test_bad_turns_never_reach_the_server(client: Any, server: FakeServer) -> None:
    session = await do(client.sessions.create())
    calls = len(server.calls)
    for fields in ({"steps": 0}, {"parent": -1}, {"sede": 1}):
        with pytest.raises(RequestInvalid):
            await do(session.say("x", source=PICTURE, **fields))
    assert len(server.calls) == calls


async def test_pixels_files_frames_and_forgetting(client: Any) -> None:
    clip = await do(client.files.upload(Clip(np.stack([PICTURE] * 5), fps=8.0)))
    picture = await do(client.files.upload(Image.fromarray(PICTURE), "mine.png"))
    assert (clip.asset.filename, picture.asset.filename) == ("clip.png", "mine.png")
    job = await do((await do(client.edit("make it blue", PICTURE))).wait())
    assert (await do(job.frames())).shape[0] == job.results[0].asset.num_frames
    with pytest.raises(RequestInvalid, match="lossless"):
        await do(clip.frames())
    listed = await do(client.files.list())
    assert [one.asset.id for one in listed][-2:] == [picture.asset.id, clip.asset.id]
    assert all(not one.asset.is_result for one in listed)
    await do(client.files.delete(clip.asset.id))
    with pytest.raises(AssetNotFound):
        await do(client.files.get(clip.asset.id))
    await do(client.jobs.delete(job.id))
    with pytest.raises(JobNotFound):
        await do(client.jobs.get(job.id))


async def test_a_replay_asks_for_the_recipe(client: Any, server: FakeServer) -> None:
    job = await do((await do(client.generate("a star", seed=3))).wait())
    needs = RecipeInput(tag="video1", role="source", kind="video", asset_id="asset_0123456789abcdef")
    recipe = Recipe(spec=job.job.spec, inputs=(needs,))
    with pytest.raises(AssetNotFound):
        await do(client.replay(recipe))
    again = await do(client.replay(recipe, source=job.results[0]))
    assert again.differences == () and server.requests[-1].visuals[0].upload_id == job.results[0].asset.id
    with pytest.raises(RequestInvalid, match="no reference input"):
        await do(client.replay(recipe, references=[PICTURE]))


def test_notebooks_show_what_was_made() -> None:
    server = FakeServer(result=b"\x89PNG not really", media_type="image/png")
    with server.client() as client:
        job = client.generate('a <b>"red"</b> star')
        assert "<img" not in job._repr_html_() and "&lt;b&gt;" in job._repr_html_()
        shown = job.wait()._repr_html_()
        assert 'src="data:image/png;base64,' in shown and "<b>&quot;" not in shown
        assert job.results[0]._repr_png_() == b"\x89PNG not really"
        server.fail_next(AssetNotFound("gone"))
        assert job.results[0]._repr_png_() is None


def test_a_conversation_with_real_networks(live_tiny: Any, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    with Vogue(live_tiny.url) as client:
        session = client.sessions.create()
        session.say("make it blue", source=Clip(frames, fps=8.0), steps=2, seed=1).wait()
        seen: list[Any] = []
        turn = session.say("now make it red", steps=4, seed=2, preview_every_steps=2).wait(seen.append)
        assert turn.turn.inputs[0].tag == "turn1" and turn.frames().shape == (5, 32, 32, 3)
        assert {event.kind for event in seen} >= {"queued", "stage", "step", "completed"}
        comparison = session.compare(1, 2)
        assert comparison.psnr_db is not None and session.compare_picture(1, 2).startswith(b"\x89PNG")
        path = turn.save(tmp_path / "red.mp4")
        assert read_recipe(path).asked == "now make it red"
        again = client.replay(path).wait()
        assert np.array_equal(again.frames(), turn.frames())
        assert turn._repr_html_().count("data:image/png") == 1


async def test_a_conversation_with_real_networks_and_an_event_loop(live_tiny: Any) -> None:
    async with AsyncVogue(live_tiny.url) as client:
        session = await client.sessions.create()
        turn = await (await session.say("a star", num_frames=1, task="t2i", steps=2)).wait()
        assert turn.status is JobStatus.COMPLETED and await turn.poster() is not None
        assert "data:image/png" in turn._repr_html_()
        edit = await (await session.say("make it blue", steps=2)).wait()
        assert edit.job.spec.task == "i2i_edit"


def test_the_command_line(live_tiny: Any, tmp_path: Path) -> None:
    runner, app = CliRunner(), build_app()

    def vogue(*words: str, code: int = 0) -> str:
        ended = runner.invoke(app, [*words, "--server", live_tiny.url])
        assert ended.exit_code == code, ended.output
        return ended.stdout

    session = vogue("session", "new", "--title", "stars").strip()
    out = tmp_path / "star.mp4"
    vogue("session", "say", session, "a star", "--steps", "2", "--seed", "1", "-o", str(out))
    vogue("session", "say", session, "make it blue", "--steps", "2", "-o", str(tmp_path / "blue.mp4"))
    vogue("session", "replay", session, "2", "--seed", "5", "-o", str(tmp_path / "other.mp4"))
    tree = vogue("session", "show", session).splitlines()
    assert [line.partition(" completed")[0].rstrip() for line in tree] == ["  turn1", "    turn2", "→   turn3"]
    assert "seed:" in vogue("session", "compare", session, "2", "3", "-o", str(tmp_path / "both.png"))
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert vogue("session", "undo", session).strip() == "at turn 1"
    assert vogue("session", "go", session, "2").strip() == "at turn 2"
    assert session in vogue("session", "list")
    vogue("session", "say", session, "make turn9 blue", code=3)
    vogue("session", "show", "session_none", code=4)
    again = tmp_path / "again.mp4"
    vogue("replay", str(out), "-o", str(again))
    assert again.read_bytes() == out.read_bytes()
    assert '"vogue-recipe"' in vogue("replay", str(out), "--show")
    (tmp_path / "x.txt").write_text("nothing")
    vogue("replay", str(tmp_path / "x.txt"), code=3)


def test_sessions_are_deleted_and_what_they_made_stays() -> None:
    server = FakeServer()
    with server.client() as vogue:
        first, second = vogue.sessions.create("one"), vogue.sessions.create("two")
        turn = first.say("a red star")
        with pytest.raises(TurnConflict):
            vogue.sessions.delete(first.id)
        turn.wait()
        vogue.sessions.delete(first.id)
        second.delete()
        with pytest.raises(SessionNotFound):
            vogue.sessions.get(first.id)
        assert vogue.sessions.list() == [] and vogue.jobs.get(turn.id).results
        assert vogue.sessions.create("three").id not in (first.id, second.id)


def test_a_turn_whose_answer_was_lost_is_taken_once() -> None:
    server = FakeServer()
    with server.client() as vogue:
        session = vogue.sessions.create()
        handle, lost = server._handle, [True]

        def losing(request: httpx.Request) -> httpx.Response:
            answer = handle(request)
            if request.method == "POST" and request.url.path.endswith("/turns") and lost.pop():
                lost.append(False)
                raise httpx.ReadError("the connection was reset")
            return answer

        server._handle = losing  # type: ignore[method-assign]
        with server.client() as again:
            turn = again.sessions.get(session.id).say("a red star", deadline_s=60.0)
        assert turn.number == 1 and len(server.requests) == 1 and server.requests[0].deadline_s == 60.0


def test_marks_are_named_in_a_turn() -> None:
    server = FakeServer()
    with server.client() as vogue:
        session = vogue.sessions.create()
        session.say("a star").wait()
        session.say("remove what is marked", source="turn1", visual_prompts=[SMALLEST_GIF]).wait()
        assert [visual.role for visual in server.requests[1].visuals] == [Role.VISUAL_PROMPT, Role.SOURCE]
