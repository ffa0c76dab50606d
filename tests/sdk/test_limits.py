"""What one pass cannot make is refused at every door with the same words: the value, the limit, and the nearest that can be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from mcp import Client
from typer.testing import CliRunner

from vogue import Vogue
from vogue.cli import build_app
from vogue.cli.exits import ExitCode
from vogue.schemas.config import Task
from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.presets import get_preset
from vogue.tools import vogue_tools

TINY = get_preset("tiny")
LENGTH = "at most 9; the nearest is 9"
SIZE = "the nearest size is 64×64"


def _job(url: str) -> str:
    answer = httpx.post(f"{url}/v1/jobs", json={"instruction": "a star", "num_frames": 33})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "num_frames")
    return str(answer.json()["error"]["message"])


def _turn(url: str) -> str:
    session = httpx.post(f"{url}/v1/sessions", json={}).json()["id"]
    answer = httpx.post(f"{url}/v1/sessions/{session}/turns", json={"instruction": "a star", "num_frames": 33})
    assert answer.status_code == 400 and not httpx.get(f"{url}/v1/sessions/{session}").json()["turns"]
    return str(answer.json()["error"]["message"])


def _sdk(url: str) -> str:
    with Vogue(url) as vogue, pytest.raises(ShapeUnsupported) as caught:
        vogue.generate("a star", num_frames=33)
    return caught.value.message


def _command_line(url: str) -> str:
    result = CliRunner().invoke(build_app(), ["run", "a star", "--frames", "33", "--server", url])
    assert result.exit_code == ExitCode.REQUEST_INVALID
    return result.output


def _langchain(url: str) -> str:
    (tool,) = [tool for tool in vogue_tools(url) if tool.name == "generate"]
    call = {"name": "generate", "args": {"instruction": "a star", "num_frames": 33}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert message.status == "error"
    return str(message.content)


def _openai(call: Callable[[openai.OpenAI], Any]) -> Callable[[str], str]:
    def ask(url: str) -> str:
        made = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with made as client, pytest.raises(openai.BadRequestError) as caught:
            call(client)
        assert caught.value.code == "shape_unsupported"
        return str(caught.value.message)

    return ask


_TALK: Any = {"model": "tiny", "messages": [{"role": "user", "content": "make a video of a star"}]}
DOORS: dict[str, tuple[Callable[[str], str], str]] = {
    "http": (_job, LENGTH),
    "session": (_turn, LENGTH),
    "sdk": (_sdk, LENGTH),
    "command line": (_command_line, LENGTH),
    "langchain": (_langchain, LENGTH),
    "videos, frames": (_openai(lambda c: c.videos.create(prompt="x", extra_body={"num_frames": 33})), LENGTH),
    "videos, seconds": (_openai(lambda c: c.videos.create(prompt="x", seconds="8")), "1 s (9 frames at 8 per second), which"),
    "videos, size": (_openai(lambda c: c.videos.create(prompt="x", size="720x1280")), "the nearest is"),
    "images, size": (_openai(lambda c: c.images.generate(prompt="x", size="1024x1024")), "the nearest is 64x64"),
    "chat, seconds": (_openai(lambda c: c.chat.completions.create(**_TALK, extra_body={"seconds": 8})), "1 s (9 frames"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
@pytest.mark.parametrize("door", DOORS)
def test_a_clip_that_is_too_long_is_refused_with_the_nearest(live: Any, door: str) -> None:
    ask, expected = DOORS[door]
    assert expected in " ".join(ask(live.url).split())


async def test_an_agent_is_told_the_nearest_too(live: Any) -> None:
    async with Client(f"{live.url}/mcp", read_timeout_seconds=120) as client:
        for tool, more in (("generate", {}), ("submit_generate", {}), ("plan", {})):
            answer = await client.call_tool(tool, {"instruction": "a star", "num_frames": 33, **more})
            assert answer.is_error and LENGTH in answer.content[0].text
        answer = await client.call_tool("generate", {"instruction": "a star", "height_px": 512, "width_px": 512})
        assert answer.is_error and SIZE in answer.content[0].text


def test_the_limits_of_a_request_can_be_read_before_it_is_made(live: Any) -> None:
    (model,) = httpx.get(f"{live.url}/v1/models").json()["data"]
    assert model["limits"] == TINY.limits.model_dump(mode="json")
    assert {"max_frames", "max_references", "max_visuals", "max_upload_bytes", "max_steps"} <= model["limits"].keys()
    requests = model["requests"]
    assert set(requests) == {*TINY.tasks, Task.UNDERSTAND}
    assert requests["t2v"] == {
        "makes": "video",
        "num_frames": [1, 5, 9],
        "steps": {"min": 1, "max": TINY.limits.max_steps},
        "guidance": {"max": TINY.limits.max_guidance},
        "sides_px": {"min": 16, "max": TINY.limits.max_side_px, "multiple": 16, "max_area": TINY.limits.max_area_px},
        "inputs": [],
    }
    assert requests["t2i"]["num_frames"] == [1] and requests["t2i"]["makes"] == "image"
    assert requests["i+v2v_edit"]["sides_px"] is None
    assert requests["i+v2v_edit"]["inputs"] == [
        {"role": "source", "kind": "video", "min": 1, "max": 1},
        {"role": "reference", "kind": "image", "min": 1, "max": TINY.limits.max_references},
    ]
    assert requests["understand"]["makes"] == "text"


def test_what_the_limits_allow_is_accepted_and_one_more_is_not(live: Any) -> None:
    limits = httpx.get(f"{live.url}/v1/models").json()["data"][0]["requests"]["t2v"]
    most = {"num_frames": limits["num_frames"][-1], "steps": limits["steps"]["max"]}
    side = limits["sides_px"]["multiple"]
    wanted: dict[str, Any] = {"instruction": "a star", "task": "t2v", "height_px": side, "width_px": side, **most}
    made = httpx.post(f"{live.url}/v1/jobs", json=wanted)
    assert made.status_code == 201
    httpx.post(f"{live.url}/v1/jobs/{made.json()['id']}/cancel")
    for name, value in most.items():
        assert httpx.post(f"{live.url}/v1/jobs", json=wanted | {name: value + 1}).status_code in (400, 413)
