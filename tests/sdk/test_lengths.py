"""Longer than one pass makes: refused at every door in the same words, with the limit and the nearest length, and no job is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from mcp import Client
from typer.testing import CliRunner

from vogue import ShapeUnsupported, Vogue
from vogue.cli import build_app
from vogue.cli.exits import ExitCode
from vogue.services.fakes import netpbm
from vogue.tools import vogue_tools

TOO_MANY = 997
MOST = 9
"""What the preset of these tests makes in one pass, at 8 frames per second: a second."""

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def jobs(live: Any) -> Callable[[], int]:
    def count() -> int:
        return len(httpx.get(f"{live.url}/v1/jobs", params={"limit": 200}, timeout=60).json()["data"])

    return count


def check(message: str) -> None:
    assert f"num_frames is {TOO_MANY}" in message
    assert f"at most {MOST}" in message and f"the nearest is {MOST}" in message


def test_over_http_and_in_a_conversation(live: Any, jobs: Callable[[], int]) -> None:
    before = jobs()
    session = httpx.post(f"{live.url}/v1/sessions", json={}, timeout=60).json()["id"]
    for path in ("jobs", f"sessions/{session}/turns"):
        body = {"instruction": "a star", "num_frames": TOO_MANY}
        answer = httpx.post(f"{live.url}/v1/{path}", json=body, timeout=60)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "shape_unsupported", "num_frames")
        check(error["message"])
    assert jobs() == before


def test_with_openais_client(live: Any, jobs: Callable[[], int]) -> None:
    before = jobs()
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as client:
        for seconds, said in (("97", "97"), ("1.01", "1.01"), ("1e99", "1e99")):
            with pytest.raises(openai.BadRequestError) as caught:
                client.videos.create(prompt="a star", seconds=seconds)  # type: ignore[arg-type]
            assert (caught.value.code, caught.value.param) == ("shape_unsupported", "seconds")
            assert f"seconds is {said}" in caught.value.message
            assert f"at most 1 s ({MOST} frames at 8 per second), which is the nearest" in caught.value.message
        with pytest.raises(openai.BadRequestError) as caught:
            client.videos.create(prompt="a star", extra_body={"num_frames": TOO_MANY})
        check(caught.value.message)
        with pytest.raises(openai.BadRequestError, match=r"at most 1 s .* which is the nearest"):
            client.chat.completions.create(
                model="vogue",
                messages=[{"role": "user", "content": "animate a star"}],
                extra_body={"seconds": "97", "modalities": ["video"]},
            )
    assert jobs() == before


def test_from_python_and_the_command_line(live: Any, clip: bytes, tmp_path: Any, jobs: Callable[[], int]) -> None:
    (tmp_path / "clip.pam").write_bytes(clip)
    before = jobs()
    with Vogue(live.url) as vogue:
        for source in (None, clip):
            with pytest.raises(ShapeUnsupported) as caught:
                vogue.generate("a star", source=source, num_frames=TOO_MANY)
            assert caught.value.param == "num_frames"
            check(caught.value.message)
        with pytest.raises(ShapeUnsupported):
            vogue.sessions.create().say("a star", num_frames=TOO_MANY)
    command = ["run", "a star", "--frames", str(TOO_MANY), "--server", live.url]
    for more in ([], ["--source", str(tmp_path / "clip.pam")]):
        result = CliRunner().invoke(build_app(), [*command, *more])
        assert result.exit_code == ExitCode.REQUEST_INVALID
        check(result.stderr)
        spoken = CliRunner().invoke(build_app(), [*command, *more, "--json"])
        assert json.loads(spoken.stdout)["error"]["code"] == "shape_unsupported"
    assert jobs() == before


async def test_by_agents_tools(live: Any, jobs: Callable[[], int]) -> None:
    before = jobs()
    async with Client(f"{live.url}/mcp", read_timeout_seconds=120) as client:
        session = (await client.call_tool("start_session", {})).structured_content
        assert session is not None
        for name in ("generate", "submit_generate", "take_turn", "submit_turn"):
            given: dict[str, Any] = {"instruction": "a star", "num_frames": TOO_MANY}
            if "turn" in name:
                given["session_id"] = session["session_id"]
            result: Any = await client.call_tool(name, given)
            assert result.is_error and result.content[0].text.startswith("shape_unsupported (num_frames): ")
            check(result.content[0].text)
    tool = next(one for one in vogue_tools(live.url) if one.name == "generate")
    call = {
        "name": "generate",
        "args": {"instruction": "a star", "num_frames": TOO_MANY},
        "id": "1",
        "type": "tool_call",
    }
    check((await tool.ainvoke(call)).text)
    assert jobs() == before


def test_a_source_that_is_longer_is_cut_and_says_so(live: Any) -> None:
    long = netpbm(np.zeros((40, 32, 32, 3), np.uint8))
    with Vogue(live.url) as vogue:
        job = vogue.edit("make it blue", long, steps=1).wait()
    assert job.results[0].asset.num_frames == MOST
    assert any(str(MOST) in notice and "40" in notice for notice in job.job.notices), job.job.notices
