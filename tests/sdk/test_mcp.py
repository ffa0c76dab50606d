"""The MCP server through the SDK's own client: each test over stdio (a real process) and over HTTP (a real port)."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import jsonschema
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image

from vogue import AsyncVogue, JobEvent, JobStatus
from vogue.mcp.content import THUMBNAIL_BYTES, THUMBNAIL_SIDE_PX, thumbnail
from vogue.mcp.server import _teller
from vogue.schemas.config import Role
from vogue.schemas.references import MediaKind
from vogue.testing import FakeServer

TOOLS = ["generate", "edit", "understand", "plan", "decide_plan", "submit_generate", "submit_edit"]
TOOLS += ["get_job", "cancel_job", "start_session", "take_turn", "submit_turn", "list_turns", "undo_turn", "go_to_turn"]
TOOLS += ["list_sessions", "list_assets"]
READS_ONLY = {"get_job", "list_turns", "list_sessions", "list_assets"}
DESTROYS = {"cancel_job", "undo_turn"}
REPEATABLE = {*READS_ONLY, "cancel_job", "go_to_turn"}


class World(NamedTuple):
    """A way to connect, what lies behind it, and the folder that only stdio may read."""

    transport: str
    connect: Callable[..., AbstractAsyncContextManager[Client]]
    live: Any
    root: Path


def _command(url: str, *options: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "vogue.cli", "mcp", "--server", url, *options],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


@pytest.fixture(params=["stdio", "http", "http, handshake"])
def world(request: pytest.FixtureRequest, live: Any, tmp_path: Path, clip: bytes) -> World:
    root = tmp_path / "clips"
    root.mkdir()
    (root / "clip.pam").write_bytes(clip)
    target: Any = f"{live.url}/mcp" if "http" in request.param else _command(live.url, "--root", str(root))
    mode = "legacy" if "handshake" in request.param else "auto"

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        async with Client(target, mode=mode, read_timeout_seconds=120) as client:
            yield client

    return World(request.param, connect, live, root)


def text_of(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def refusal(result: CallToolResult) -> str:
    assert result.is_error and result.structured_content is None
    return text_of(result)


async def uploaded(world: World, clip: bytes) -> str:
    async with AsyncVogue(world.live.url) as vogue:
        return (await vogue.upload(clip, "clip.pam")).id


async def test_every_tool_works_and_answers_what_its_schema_says(world: World, clip: bytes) -> None:
    source = await uploaded(world, clip)
    async with world.connect() as client:
        assert client.instructions is not None and "never given inline" in client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == TOOLS

        async def call(name: str, **given: Any) -> dict[str, Any]:
            jsonschema.validate(given, tools[name].input_schema)
            result = await client.call_tool(name, given)
            assert not result.is_error, result
            jsonschema.validate(result.structured_content, tools[name].output_schema)
            answered: dict[str, Any] = result.structured_content
            return answered

        made = await call("generate", instruction="a red star", seed=3)
        assert (made["status"], made["seed"], made["task"]) == ("completed", 3, "t2v")
        assert made["steps_done"] == made["steps_total"] > 0
        edited = await call("edit", instruction="make it blue", source=made["results"][0]["asset_id"], seed=3)
        assert (edited["status"], edited["task"]) == ("completed", "v2v_edit")
        started = await call("submit_edit", instruction="make it green", source=source)
        other = await call("submit_generate", instruction="a star", output="image")
        for job_id in (started["job_id"], other["job_id"]):
            ended = await call("get_job", job_id=job_id, wait_s=60)
            assert ended["status"] == "completed" and ended["results"][0]["asset_id"] in ended["advice"]
        assert ended["task"] == "t2i"
        assert (await call("cancel_job", job_id=other["job_id"]))["status"] == "completed"
        told = await call("understand", question="what are these?", media=[source, edited["results"][1]["asset_id"]])
        assert (told["status"], told["answer"], told["results"]) == ("completed", "2 visuals", [])
        thought = await call("plan", instruction="make it red", source=source)
        assert (thought["status"], thought["plan"]["task"]) == ("waiting", "v2v_edit")
        assert thought["plan"]["dense_prompt"] == "MAKE IT RED" and "decide_plan" in thought["advice"]
        assert (await call("get_job", job_id=thought["job_id"], wait_s=60))["status"] == "waiting"
        changed = thought["plan"] | {"dense_prompt": "all of it red"}
        await call("decide_plan", job_id=thought["job_id"], plan=changed)
        drawn = await call("get_job", job_id=thought["job_id"], wait_s=60)
        assert (drawn["status"], drawn["plan"]["dense_prompt"]) == ("completed", "all of it red")
        dropped = await call("plan", instruction="a star", output="image")
        assert dropped["plan"]["task"] == "t2i"
        await call("decide_plan", job_id=dropped["job_id"], approved=False)
        assert (await call("get_job", job_id=dropped["job_id"], wait_s=60))["error"]["code"] == "plan_rejected"

        page = await call("list_assets", limit=2)
        assert page["assets"][1] == drawn["results"][0] and page["next_before"] == page["assets"][1]["asset_id"]
        rest = await call("list_assets", limit=100, before=page["next_before"])
        assert source in [asset["asset_id"] for asset in rest["assets"]] and rest["next_before"] is None


async def test_hints_tell_what_a_tool_may_do(world: World) -> None:
    async with world.connect() as client:
        for tool in (await client.list_tools()).tools:
            assert tool.annotations is not None and tool.title and tool.description
            assert tool.annotations.read_only_hint is (tool.name in READS_ONLY)
            assert tool.annotations.destructive_hint is (tool.name in DESTROYS)
            assert tool.annotations.idempotent_hint is (tool.name in REPEATABLE)
            assert tool.annotations.open_world_hint is False


async def test_a_conversation_of_turns_that_build_on_each_other(world: World, clip: bytes) -> None:
    source = await uploaded(world, clip)
    async with world.connect() as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}

        async def call(name: str, **given: Any) -> dict[str, Any]:
            result = await client.call_tool(name, given)
            assert not result.is_error, result
            jsonschema.validate(result.structured_content, schemas[name])
            answered: dict[str, Any] = result.structured_content
            return answered

        session = await call("start_session", title="stars")
        of = {"session_id": session["session_id"]}
        assert (session["head"], session["turns"], session["title"]) == (None, [], "stars")
        first = await call("take_turn", **of, instruction="a red star", seed=1)
        assert (first["turn"], first["parent"], first["status"]) == (1, None, "completed")
        assert "take_turn" in first["advice"] and first["results"]
        second = await call("take_turn", **of, instruction="now make it blue")
        assert (second["parent"], second["looked_at"], second["task"]) == (1, ["turn1 as source"], "v2v_edit")
        third = await call("take_turn", **of, instruction="in green", source=source, references=["turn1"], parent=0)
        assert third["looked_at"] == ["turn1 as reference", "video1 as source"] and third["parent"] is None
        undone = await call("undo_turn", **of)
        assert undone["head"] is None and len(undone["turns"]) == 3
        assert (await call("go_to_turn", **of, turn=2))["head"] == 2
        started = await call("submit_turn", **of, instruction="and a ring around it")
        assert (started["turn"], started["parent"], started["looked_at"]) == (4, 2, ["turn2 as source"])
        assert (await call("get_job", job_id=started["job_id"], wait_s=60))["status"] == "completed"
        tree = await call("list_turns", **of)
        assert [(turn["turn"], turn["parent"]) for turn in tree["turns"]] == [(1, None), (2, 1), (3, None), (4, 2)]
        assert {turn["status"] for turn in tree["turns"]} == {"completed"}
        assert {one["tag"]: one["asset_id"] for one in tree["tags"]}["video1"] == source
        page = await call("list_sessions", limit=1)
        assert page["sessions"][0] == {**of, "title": "stars", "num_turns": 4, "head": 4}
        assert page["next_before"] == session["session_id"]


async def test_turns_that_cannot_be_taken_say_why(world: World) -> None:
    async with world.connect() as client:
        session = (await client.call_tool("start_session", {})).structured_content
        of = {"session_id": session["session_id"]}

        async def refused(name: str, **given: Any) -> str:
            return refusal(await client.call_tool(name, given))

        assert "tag_unresolved" in await refused("take_turn", **of, instruction="make turn 7 blue")
        assert "nothing to undo" in await refused("undo_turn", **of)
        assert "list_turns tells" in await refused("go_to_turn", **of, turn=9)
        assert "list_sessions tells" in await refused("list_turns", session_id="session_none")
        assert "never given inline" in await refused(
            "take_turn", **of, instruction="x", source="data:image/png;base64,A"
        )
        assert "shape_unsupported" in await refused("take_turn", **of, instruction="a star", num_frames=6)
        world.live.gate.clear()
        try:
            started = (await client.call_tool("submit_turn", {**of, "instruction": "a star"})).structured_content
            said = await refused("take_turn", **of, instruction="another one")
            assert "turn_conflict" in said and started["job_id"] in said
            undone = (await client.call_tool("undo_turn", of)).structured_content
            assert undone["head"] is None
        finally:
            world.live.gate.set()
        ended = await client.call_tool("get_job", {"job_id": started["job_id"], "wait_s": 60})
        assert ended.structured_content["status"] == "cancelled"


async def test_marks_drawn_on_pictures_come_in(world: World, clip: bytes) -> None:
    source = await uploaded(world, clip)
    async with world.connect() as client:
        made = (await client.call_tool("generate", {"instruction": "a star", "output": "image"})).structured_content
        marks = made["results"][0]["asset_id"]
        edited = await client.call_tool(
            "edit", {"instruction": "remove what is marked", "source": source, "visual_prompts": [marks]}
        )
        session = (await client.call_tool("start_session", {})).structured_content
        of = {"session_id": session["session_id"], "instruction": "remove what is marked"}
        turn = await client.call_tool("take_turn", {**of, "source": source, "visual_prompts": [marks]})
        for result in (edited, turn):
            assert not result.is_error, result
            async with AsyncVogue(world.live.url) as vogue:
                job = (await vogue.jobs.get(result.structured_content["job_id"])).job
            assert {visual.upload_id: visual.role for visual in job.request.visuals} == {
                source: Role.SOURCE,
                marks: Role.VISUAL_PROMPT,
            }


async def test_results_come_as_links_with_a_small_picture(world: World) -> None:
    async with world.connect() as client:
        result = await client.call_tool("generate", {"instruction": "a red star"})
        links = [block for block in result.content if isinstance(block, ResourceLink)]
        clip, poster = result.structured_content["results"]
        assert [link.uri for link in links] == [f"vogue://assets/{one['asset_id']}" for one in (clip, poster)]
        assert links[0].mime_type == clip["media_type"] and links[0].size == clip["num_bytes"]
        pictures = [block for block in result.content if isinstance(block, ImageContent)]
        assert len(pictures) == 1
        small = base64.b64decode(pictures[0].data)
        assert len(small) <= THUMBNAIL_BYTES
        with Image.open(BytesIO(small)) as opened:
            assert max(opened.size) <= THUMBNAIL_SIDE_PX and Image.MIME[opened.format or ""] == pictures[0].mime_type

        (read,) = (await client.read_resource(links[0].uri)).contents
        async with AsyncVogue(world.live.url) as vogue:
            content = await (await vogue.assets.get(clip["asset_id"])).read()
        assert base64.b64decode(read.model_dump()["blob"]) == content
        assert clip["url"] == f"{world.live.url}/v1/assets/{clip['asset_id']}/content"
        assert links[0].uri in [str(one.uri) for one in (await client.list_resources()).resources]
        assert (await client.list_resource_templates()).resource_templates[0].uri_template.startswith("vogue://")


async def test_progress_grows_from_queued_to_completed(world: World) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with world.connect() as client:
        await client.call_tool("generate", {"instruction": "a red star", "steps": 6}, progress_callback=hear)
    counts = [progress for progress, _, _ in seen]
    assert counts == sorted(set(counts)), "progress has to grow"
    assert {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0} <= set(counts) and seen[-1][:2] == (7.0, 7.0)
    assert "queued" in str(seen[0][2]) and "3 of 6 steps" in " ".join(str(message) for *_, message in seen)


async def test_a_preview_on_the_way_is_named_and_can_be_read(world: World) -> None:
    said: list[str] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        said.append(message or "")

    async with world.connect() as client:
        given = {"instruction": "a red star", "steps": 6, "preview_every_steps": 2}
        made = await client.call_tool("generate", given, progress_callback=hear)
        assert made.structured_content is not None and made.structured_content["status"] == "completed"
        shown = [match[0] for message in said if (match := re.search(r"vogue://assets/\S+", message))]
        # A slow picture may be left out, never the last one.
        assert shown and len(shown) <= 2
        read = await client.read_resource(shown[-1].rstrip(","))
        assert read.contents[0].uri in shown[-1]


async def test_the_tier_is_the_jobs(world: World) -> None:
    async with world.connect() as client:
        quick = await client.call_tool("submit_generate", {"instruction": "a red star", "tier": "fast"})
        exact = await client.call_tool("submit_generate", {"instruction": "a red star", "tier": "exact"})
        wrong = refusal(await client.call_tool("submit_generate", {"instruction": "a red star", "tier": "warp"}))
        assert "tier" in wrong and "'exact' or 'fast'" in wrong
        assert quick.structured_content is not None and exact.structured_content is not None
        async with AsyncVogue(world.live.url) as vogue:
            jobs = [(await vogue.jobs.get(one.structured_content["job_id"])).job for one in (quick, exact)]
    assert [job.spec.tier for job in jobs] == ["fast", "exact"]
    assert jobs[0].spec.steps < jobs[1].spec.steps


async def test_a_cancelled_call_cancels_its_job(world: World) -> None:
    world.live.gate.clear()
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(_: float, __: float | None, message: str | None) -> None:
        await told.put(message or "")

    try:
        async with world.connect() as client, anyio.create_task_group() as group:

            async def wait_for_it() -> None:
                await client.call_tool("generate", {"instruction": "a long one"}, progress_callback=hear)

            group.start_soon(wait_for_it)
            while "1 of" not in (message := await told.get()):
                pass
            job_id = message.split()[1].rstrip(":")
            group.cancel_scope.cancel()
        async with AsyncVogue(world.live.url) as vogue:
            last = [event.kind async for event in vogue.jobs.events(job_id)][-1]
            assert last == "cancelled" and (await vogue.jobs.get(job_id)).status is JobStatus.CANCELLED
    finally:
        world.live.gate.set()


async def test_submitted_jobs_outlive_the_connection_and_can_be_cancelled(world: World) -> None:
    world.live.gate.clear()
    try:
        async with world.connect() as client:
            started = (await client.call_tool("submit_generate", {"instruction": "a long one"})).structured_content
            assert started["status"] in ("queued", "in_progress") and "get_job" in started["advice"]
        async with world.connect() as client:
            asked = await client.call_tool("get_job", {"job_id": started["job_id"], "wait_s": 0.1})
            assert asked.structured_content["status"] in ("queued", "in_progress")
            await client.call_tool("cancel_job", {"job_id": started["job_id"]})
            ended = await client.call_tool("get_job", {"job_id": started["job_id"], "wait_s": 60})
            assert ended.structured_content["status"] == "cancelled"
    finally:
        world.live.gate.set()


async def test_patience_ends_before_the_job(world: World) -> None:
    world.live.gate.clear()
    try:
        async with world.connect() as client:
            result = await client.call_tool("generate", {"instruction": "a long one", "timeout_s": 1})
            assert (
                result.structured_content["status"] == "in_progress"
                and "get_job" in result.structured_content["advice"]
            )
    finally:
        world.live.gate.set()


REFUSED: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("edit", {"source": "upload_0123456789abcdef"}, ("asset_not_found (source)", "list_assets")),
    ("edit", {"source": "data:image/png;base64,AAAA"}, ("source: ", "never given inline", "upload the file")),
    ("edit", {"source": "A" * 5000}, ("source: ", "never given inline", "5000 characters")),
    ("edit", {"source": "https://example.com/a.png"}, ("source: ", "URLs are not fetched")),
    ("generate", {"references": ["file:///etc/passwd"]}, ("references.0: ", "URLs are not fetched")),
    ("generate", {"image_data": "AAAA"}, ("image_data: ", "The arguments of generate are instruction, ")),
    ("generate", {"num_frames": 6}, ("shape_unsupported", "num_frames is 6", "4k + 1")),
    ("generate", {"guidance": "much"}, ("guidance: ", "number")),
    ("generate", {"steps": 100_000}, ("limit_exceeded (steps)", "100000", "at most")),
    ("understand", {"question": "what?", "media": ["x" * 4097]}, ("media.0: ", "never given inline")),
    (
        "plan",
        {"instruction": "is it blue?"},
        ("clarification_needed (instruction): job job_", "what do you mean by is it blue?"),
    ),
    ("decide_plan", {"job_id": "job_none"}, ("job_not_found", "job_none")),
    ("get_job", {"job_id": "job_none"}, ("job_not_found", "job_none")),
    ("cancel_job", {}, ("job_id: ", "Field required")),
    ("list_assets", {"limit": 0}, ("limit: ", "greater than or equal to 1")),
]


async def test_refusals_say_what_was_wrong_and_what_to_do(world: World) -> None:
    async with world.connect() as client:
        for tool, given, told in REFUSED:
            given = ({"instruction": "make it blue"} if tool in ("edit", "generate") else {}) | given
            said = refusal(await client.call_tool(tool, given))
            assert all(word in said for word in told), said


async def test_paths_are_for_declared_folders_only(world: World, tmp_path: Path, clip: bytes) -> None:
    outside = tmp_path / "outside.pam"
    outside.write_bytes(clip)
    (world.root / "link.pam").symlink_to(outside)
    (world.root / "folder").symlink_to(tmp_path)
    os.mkfifo(world.root / "pipe")
    (world.root / "inner.pam").symlink_to(world.root / "clip.pam")
    async with world.connect() as client:

        async def edit(source: str) -> CallToolResult:
            return await client.call_tool("edit", {"instruction": "make it blue", "source": source})

        if world.transport != "stdio":
            for named in ("clip.pam", str(world.root / "clip.pam"), "/etc/passwd"):
                assert "reads no files" in refusal(await edit(named))
            return
        assert str(world.root) in (client.instructions or "")
        for named in ("clip.pam", str(world.root / "clip.pam"), "inner.pam"):
            assert (await edit(named)).structured_content["status"] == "completed"
        for named in (
            str(outside),
            "../outside.pam",
            "link.pam",
            "folder/outside.pam",
            "/etc/passwd",
            "/nowhere/at/all",
        ):
            said = refusal(await edit(named))
            assert "leads out of the folders" in said and str(world.root) in said
        for named in ("missing.pam", "pipe", "."):
            assert "there is no file" in refusal(await edit(named))


async def test_what_the_protocol_itself_refuses(world: World) -> None:
    async with world.connect() as client:
        with pytest.raises(MCPError, match="no tool is called 'paint'; there are generate"):
            await client.call_tool("paint", {})
        for uri, why in [
            ("vogue://assets/asset_0123456789abcdef", "asset_not_found"),
            ("vogue://assets/../../etc/passwd", "is not of the form"),
            ("file:///etc/passwd", "is not of the form"),
        ]:
            with pytest.raises(MCPError, match=why):
                await client.read_resource(uri)


@pytest.mark.parametrize("size", [(8, 8), (2000, 500), (300, 4000), (1, 1)])
def test_thumbnails_are_bounded_whatever_the_picture(size: tuple[int, int]) -> None:
    noise = Image.effect_noise(size, 100).convert("RGB")
    for form in ("PNG", "JPEG", "WEBP", "PPM"):
        target = BytesIO()
        noise.save(target, form)
        media_type, small = thumbnail(target.getvalue())
        with Image.open(BytesIO(small)) as opened:
            assert max(opened.size) <= THUMBNAIL_SIDE_PX and Image.MIME[opened.format or ""] == media_type
        assert len(small) <= THUMBNAIL_BYTES
    for junk in (b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", target.getvalue()[:8]):
        with pytest.raises((OSError, ValueError)):
            thumbnail(junk)


async def test_progress_tells_of_queue_time_and_previews_and_never_falls() -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    tell = _teller(report)
    asset = FakeServer().stage.keep("asset", b"", MediaKind.IMAGE, "a.png", "image/png")
    events: list[dict[str, Any]] = [
        {"kind": "queued", "queue_position": 2, "eta_s": 31.4},
        {"kind": "queued", "queue_position": 1},
        {"kind": "step", "steps_done": 2, "steps_total": 4, "eta_s": 8.0},
        {"kind": "preview", "steps_done": 2, "steps_total": 4, "assets": (asset,)},
        {"kind": "resumed", "steps_done": 1, "steps_total": 4},
        {"kind": "step", "steps_done": 2, "steps_total": 4},
        {"kind": "step", "steps_done": 4, "steps_total": 4},
        {"kind": "stage", "stage": "decode", "steps_done": 4, "steps_total": 4},
        {"kind": "completed", "steps_done": 4, "steps_total": 4},
    ]
    for seq, event in enumerate(events, 1):
        await tell(JobEvent(job_id="job_1", seq=seq, time_s=0.0, **event))
    counts = [progress for progress, _, _ in heard]
    assert counts == sorted(set(counts)) and heard[-1][:2] == (5.0, 5.0)
    assert heard[0][2] == "job job_1: queued, number 2 in the queue, about 31 s left"
    assert heard[2][2] == "job job_1: step, 2 of 4 steps, about 8 s left"
    assert heard[3][2] == f"job job_1: preview, 2 of 4 steps, to be seen at vogue://assets/{asset.id}"
