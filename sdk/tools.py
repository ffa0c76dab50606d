"""VOGUE's tools for LangChain and LangGraph agents.

    from langchain.agents import create_agent
    from vogue.tools import vogue_tools

    agent = create_agent(model, vogue_tools("http://127.0.0.1:8000"))

Needs langchain-core (the extra `agents`). A tool's message to the model is its report as JSON; the report itself, typed, is the
message's artifact. What goes wrong is told to the model, so that it can mend its call.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, ValidationError

from vogue.schemas.errors import VogueError

from .asynchronous import AsyncVogue
from .blocking import unsuspended
from .toolbox import TOOLS, Bench, Report, Roots, Tool, explain
from .transport import run

__all__ = ["vogue_tools"]

Answer = tuple[str, Report]
"""What the model reads, and what the program gets."""


def vogue_tools(
    server: str | None = None, *, api_key: str | None = None, roots: Sequence[str | os.PathLike[str]] = ()
) -> list[BaseTool]:
    """The tools of a VOGUE server, for agents that run with or without asyncio.

    Args:
        server: its URL; by default `$VOGUE_SERVER`, else this machine's port 8000.
        api_key: for servers that ask for one; by default `$VOGUE_API_KEY`.
        roots: folders whose files the agent may name by path; without any, it names media by id only.

    Raises:
        RequestInvalid: one of the roots is no folder.
    """
    readable = Roots(roots)
    return [_offered(tool, server, api_key, readable) for tool in TOOLS]


def _offered(tool: Tool, server: str | None, api_key: str | None, roots: Roots) -> BaseTool:
    # A client for each call: an agent may come from another thread or event loop the next time.
    def call(**given: Any) -> Answer:
        client = unsuspended(server, api_key=api_key)
        try:
            return run(_answer(tool, Bench(client, roots), given))
        finally:
            run(client.close())

    async def acall(**given: Any) -> Answer:
        async with AsyncVogue(server, api_key=api_key) as client:
            return await _answer(tool, Bench(client, roots), given)

    return StructuredTool.from_function(
        func=call,
        coroutine=acall,
        name=tool.name,
        description=tool.description,
        args_schema=tool.arguments,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=_explain_validation,
        metadata={"read_only": tool.reads_only, "destructive": tool.destroys, "idempotent": tool.repeatable},
    )


async def _answer(tool: Tool, bench: Bench, given: dict[str, Any]) -> Answer:
    values = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in given.items()}
    try:
        report = await tool.call(bench, values)
    except VogueError as error:
        raise ToolException(explain(error)) from error
    return report.model_dump_json(exclude_none=True), report


def _explain_validation(error: Any) -> str:
    if not isinstance(error, ValidationError):
        return f"request_invalid: {error}"
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "request_invalid: " + "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in faults
    )
