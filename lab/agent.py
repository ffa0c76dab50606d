"""A LangGraph agent that edits a clip in three turns through VOGUE's tools, and the transcript of it.

    python -m vogue.lab.agent clip.mp4 --server http://127.0.0.1:8000

The model is a script, so that the transcript shows the tools and not some model's mood: what it knows of ids and errors it reads,
as any model would, from the tools' messages.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr

from vogue import Vogue
from vogue.tools import vogue_tools

__all__ = ["TURNS", "ScriptedModel", "converse", "transcript"]

Move = Callable[[Sequence[BaseMessage]], AIMessage]
"""What the model says next, given all that was said."""


class ScriptedModel(BaseChatModel):
    """A chat model that makes its moves one after the other."""

    moves: list[Move]
    _made: int = PrivateAttr(0)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Runnable[Any, AIMessage]:
        """It knows the tools by heart."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> ChatResult:
        message = self.moves[self._made](messages)
        self._made += 1
        return ChatResult(generations=[ChatGeneration(message=message)])


def _call(tool: str, **given: Any) -> Move:
    """Call a tool; an argument that is a function is asked for its value."""

    def move(messages: Sequence[BaseMessage]) -> AIMessage:
        values = {name: value(messages) if callable(value) else value for name, value in given.items()}
        call = {"name": tool, "args": values, "id": f"call_{len(messages)}"}
        return AIMessage("", tool_calls=[call])

    return move


def _say(text: str) -> Move:
    """Answer the user; `{asset}` is the newest result."""
    return lambda messages: AIMessage(text.format(asset=_newest_result(messages)))


def _told(messages: Sequence[BaseMessage]) -> Iterator[dict[str, Any]]:
    """What the tools told, newest first, as the model reads it."""
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and message.status == "success":
            yield json.loads(message.text)


def _newest_result(messages: Sequence[BaseMessage]) -> str:
    found: str = next(told["results"][0]["asset_id"] for told in _told(messages) if told.get("results"))
    return found


def _newest_job(messages: Sequence[BaseMessage]) -> str:
    found: str = next(told["job_id"] for told in _told(messages) if "job_id" in told)
    return found


TURNS: tuple[tuple[str, tuple[Move, ...]], ...] = (
    (
        "Make the star in my clip blue.",
        (
            _call("list_assets", limit=1),
            _call(
                "edit",
                instruction="make the star blue",
                source=lambda messages: next(_told(messages))["assets"][0]["asset_id"],
                seed=7,
            ),
            _say("The star is blue now: {asset}"),
        ),
    ),
    (
        "Now put it into the night. Don't wait for it.",
        (
            _call("submit_edit", instruction="put it into the night", source=_newest_result, seed=7),
            _call("get_job", job_id=_newest_job, wait_s=60),
            _say("It is night: {asset}"),
        ),
    ),
    (
        "And as a pencil drawing, six frames.",
        (
            _call("edit", instruction="as a pencil drawing", source=_newest_result, num_frames=6, seed=7),
            _call("edit", instruction="as a pencil drawing", source=_newest_result, num_frames=5, seed=7),
            _say("Six frames cannot be made, so I took five: {asset}"),
        ),
    ),
)
"""Three turns: a blocking call, a submitted job that is asked for, and a mistake that the tool's error mends."""


def converse(server: str) -> list[AnyMessage]:
    """Hold the conversation about the newest upload of a server. Returns all messages."""
    tools: list[BaseTool] = vogue_tools(server)
    model = ScriptedModel(moves=[move for _, moves in TURNS for move in moves])
    agent = create_agent(model, tools)
    messages: list[AnyMessage] = []
    for said, _ in TURNS:
        messages = agent.invoke({"messages": [*messages, HumanMessage(said)]})["messages"]
    return messages


def transcript(messages: Sequence[BaseMessage]) -> str:
    """The conversation as text: `>` what the model calls, `<` what the tool tells it."""
    return "\n".join(line for message in messages for line in _lines(message)) + "\n"


def _lines(message: BaseMessage) -> Iterator[str]:
    if isinstance(message, HumanMessage):
        yield f"user: {message.text}"
    elif isinstance(message, ToolMessage):
        yield f"  < {message.text if message.status == 'error' else _short(json.loads(message.text))}"
    elif isinstance(message, AIMessage) and message.tool_calls:
        for call in message.tool_calls:
            given = ", ".join(f"{name}={value!r}" for name, value in call["args"].items())
            yield f"  > {call['name']}({given})"
    else:
        yield f"agent: {message.text}"


def _short(told: dict[str, Any]) -> str:
    if "assets" in told:
        return ", ".join(_shape(asset) for asset in told["assets"])
    made = f": {_shape(told['results'][0])}" if told["results"] else ""
    return f"{told['job_id']} {told['status']}, {told['steps_done']} of {told['steps_total']} steps{made}"


def _shape(asset: dict[str, Any]) -> str:
    return f"{asset['asset_id']} ({asset['width_px']}×{asset['height_px']}, {asset['num_frames']} frames)"


def main() -> None:
    """Upload a clip, hold the conversation, print the transcript."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    given = parser.parse_args()
    with Vogue(given.server) as vogue:
        vogue.upload(given.clip)
    sys.stdout.write(transcript(converse(given.server)))


if __name__ == "__main__":
    main()
