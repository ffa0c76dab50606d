"""VOGUE in LangChain: agents with and without asyncio, against a server on a real port."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from vogue import Vogue
from vogue.lab.agent import ScriptedModel, converse, transcript
from vogue.toolbox import TOOLS, AssetList, JobReport
from vogue.tools import vogue_tools


def test_an_agent_edits_a_clip_in_three_turns(live_tiny: Any, star: Path, tmp_path: Path) -> None:
    with Vogue(live_tiny.url) as vogue:
        upload = vogue.upload(star)
        messages = converse(live_tiny.url)
        jobs = {job.id: job for job in vogue.jobs.list(limit=3)}
        clips = [job.save(tmp_path / f"{job.id}.mp4") for job in jobs.values()]
    assert len({path.read_bytes() for path in clips}) == 3 and all(b"ftyp" in path.read_bytes()[:16] for path in clips)
    reports = [message.artifact for message in messages if isinstance(message, ToolMessage)]
    made = [report for report in reports if isinstance(report, JobReport) and report.results]
    assert [report.status for report in made] == ["completed"] * 3
    sources = [jobs[report.job_id].job.request.visuals[0].upload_id for report in made]
    assert sources == [upload.id, made[0].results[0].asset_id, made[1].results[0].asset_id]
    errors = [message.text for message in messages if isinstance(message, ToolMessage) and message.status == "error"]
    assert len(errors) == 1 and "num_frames is 6" in errors[0]
    told = transcript(messages).splitlines()
    assert [line.partition(":")[0] for line in told if not line.startswith(" ")] == ["user", "agent"] * 3
    assert told[-1] == f"agent: Six frames cannot be made, so I took five: {made[2].results[0].asset_id}"


async def test_an_agent_with_asyncio(live: Any) -> None:
    call = {"name": "generate", "args": {"instruction": "a star", "output": "image"}, "id": "1"}
    model = ScriptedModel(moves=[lambda _: AIMessage("", tool_calls=[call]), lambda _: AIMessage("done")])
    agent = create_agent(model, vogue_tools(live.url))
    messages = (await agent.ainvoke({"messages": [HumanMessage("a star")]}))["messages"]
    (report,) = [message for message in messages if isinstance(message, ToolMessage)]
    assert json.loads(report.text)["status"] == "completed" == report.artifact.status


def _call(tools: list[Any], name: str, **given: Any) -> ToolMessage:
    tool = next(tool for tool in tools if tool.name == name)
    answer = tool.invoke({"type": "tool_call", "id": "1", "name": name, "args": given})
    assert isinstance(answer, ToolMessage)
    return answer


def test_each_tool_answers_text_and_a_typed_artifact(live: Any, clip: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.pam").write_bytes(clip)
    tools = vogue_tools(live.url, roots=[tmp_path])
    assert [tool.name for tool in tools] == [tool.name for tool in TOOLS]
    assert all(tool.args_schema is own.arguments for tool, own in zip(tools, TOOLS, strict=True))
    edited = _call(tools, "edit", instruction="make it blue", source="clip.pam")
    assert isinstance(edited.artifact, JobReport) and edited.artifact.status == "completed"
    assert JobReport.model_validate_json(edited.text).job_id == edited.artifact.job_id
    thought = _call(tools, "plan", instruction="make it red", source="clip.pam").artifact
    changed = thought.plan.model_copy(update={"dense_prompt": "red"}).model_dump(mode="json")
    _call(tools, "decide_plan", job_id=thought.job_id, plan=changed)
    assert _call(tools, "get_job", job_id=thought.job_id, wait_s=60).artifact.plan.dense_prompt == "red"
    assert _call(tools, "understand", question="what?", media=["clip.pam"]).artifact.answer == "1 visuals"
    assert _call(tools, "cancel_job", job_id=thought.job_id).artifact.status == "completed"
    assert isinstance(_call(tools, "list_assets").artifact, AssetList)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("edit", {"instruction": "x", "source": "upload_0123456789abcdef"}, "asset_not_found (source)"),
        ("edit", {"instruction": "x", "source": "/etc/passwd"}, "reads no files"),
        ("edit", {"instruction": "x", "source": "data:image/png;base64,AA"}, "never given inline"),
        ("edit", {"instruction": "x"}, "source: Field required"),
        ("generate", {"instruction": "x", "sede": 1}, "sede: Extra inputs are not permitted"),
        ("generate", {"instruction": "x", "num_frames": 6}, "num_frames is 6"),
        ("get_job", {"job_id": "job_none"}, "job_not_found"),
    ],
)
def test_refusals_are_told_to_the_model(live: Any, name: str, given: dict[str, Any], told: str) -> None:
    answer = _call(vogue_tools(live.url), name, **given)
    assert answer.status == "error" and told in answer.text


def test_no_server_is_told_too() -> None:
    answer = _call(vogue_tools("http://127.0.0.1:9"), "list_assets")
    assert answer.status == "error" and "vogue serve" in answer.text


def test_the_tools_need_neither_mcp_nor_server_code() -> None:
    heavy = ("mcp", "torch", "ray", "langgraph", "langchain", "PIL", "starlette", "vogue.services", "vogue.engines")
    script = f"import sys, vogue.tools; sys.exit(' '.join(set({heavy!r}) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
