"""The MCP server through the SDK's own client: each test over stdio (a real process) and over HTTP (a real port)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import MCPError
from mcp_types import CallToolResult

from vogue import AsyncVogue
from vogue.schemas.config import Role

from .mcp_worlds import World, refusal, uploaded

TOOLS = ["generate", "edit", "understand", "plan", "decide_plan", "submit_generate", "submit_edit"]
TOOLS += ["get_job", "cancel_job", "start_session", "take_turn", "submit_turn", "list_turns", "undo_turn", "go_to_turn"]
TOOLS += ["list_sessions", "list_assets"]
READS_ONLY = {"get_job", "list_turns", "list_sessions", "list_assets"}
DESTROYS = {"cancel_job", "undo_turn"}
REPEATABLE = {*READS_ONLY, "cancel_job", "go_to_turn"}


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
