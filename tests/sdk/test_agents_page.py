"""docs/agents.md tells the truth: its configurations connect, its programs run, its table and its transcript are what there is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from mcp import Client, StdioServerParameters

from vogue import Vogue
from vogue.lab.agent import ScriptedModel, converse, transcript
from vogue.toolbox import TOOLS

from ..pages import blocks


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "agents.md").read_text(encoding="utf-8")


def _servers(page: str) -> list[dict[str, Any]]:
    return [json.loads(block)["mcpServers"]["vogue"] for block in blocks(page, "json")]


async def test_the_stdio_configuration_connects(page: str, live: Any, tmp_path: Path, clip: bytes) -> None:
    stdio, _ = _servers(page)
    assert shutil.which(stdio["command"], path=str(Path(sys.executable).parent))
    (tmp_path / "clip.pam").write_bytes(clip)
    arguments = ["-m", "vogue.cli", *(str(tmp_path) if given.startswith("/") else given for given in stdio["args"])]
    server = StdioServerParameters(command=sys.executable, args=arguments, env={"VOGUE_SERVER": live.url})
    async with Client(server) as client:
        edited = await client.call_tool("edit", {"instruction": "make it blue", "source": "clip.pam"})
        assert edited.structured_content["status"] == "completed"


async def test_the_http_configuration_connects(page: str, live: Any) -> None:
    _, http = _servers(page)
    async with Client(http["url"].replace("http://127.0.0.1:8000", live.url)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [tool.name for tool in TOOLS]


def test_the_mcp_program_runs(page: str, live: Any, capsys: pytest.CaptureFixture[str]) -> None:
    program, _ = blocks(page, "python")
    exec(compile(program.replace("http://127.0.0.1:8000", live.url), "docs/agents.md", "exec"), {"__name__": "docs"})
    told = capsys.readouterr().out
    assert "queued" in told and re.search(rf"{live.url}/v1/assets/asset_[\w-]+/content", told)


def test_the_langchain_program_runs(page: str, live: Any) -> None:
    _, program = blocks(page, "python")
    call = {"name": "list_assets", "args": {}, "id": "1"}
    names = {"model": ScriptedModel(moves=[lambda _: AIMessage("", tool_calls=[call]), lambda _: AIMessage("done")])}
    exec(compile(program.replace("http://127.0.0.1:8000", live.url), "docs/agents.md", "exec"), names)
    said = names["agent"].invoke({"messages": [HumanMessage("what is there?")]})["messages"]  # type: ignore[attr-defined]
    assert said[-1].text == "done" and said[-2].status == "success"


def test_the_table_lists_every_tool_and_its_hints(page: str) -> None:
    rows = dict(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|.*\| ([\w ]+) \|$", page, re.MULTILINE))
    changes = {name: what for names, what in rows.items() for name in re.findall(r"\w+", names)}
    assert set(changes) == {tool.name for tool in TOOLS}
    for tool in TOOLS:
        assert (changes[tool.name] == "nothing") is tool.reads_only
        assert (changes[tool.name] == "ends a job") is tool.destroys


def _without_ids(text: str) -> str:
    return re.sub(r"\b(upload|asset|job)_[\w…-]+", r"\1_…", text)


def test_the_transcript_is_what_the_agent_says(page: str, live_tiny: Any, star: Path) -> None:
    (shown,) = blocks(page, "text")
    with Vogue(live_tiny.url) as vogue:
        vogue.upload(star)
    assert _without_ids(transcript(converse(live_tiny.url))) == _without_ids(shown)


def test_the_error_it_shows_is_in_the_transcript(page: str) -> None:
    shown = re.search(r"`(shape_unsupported \(num_frames\): [^`]+)`", page)
    assert shown is not None
    assert shown[1] in page.partition("```text")[2]
