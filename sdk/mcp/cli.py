"""`vogue mcp`: the tools over standard input and output, for an agent on the same machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from mcp.server.stdio import stdio_server

from vogue.asynchronous import AsyncVogue
from vogue.cli.session import ServerOption
from vogue.toolbox import Roots

from .server import build_server

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command `mcp`."""
    app.command("mcp")(serve_stdio)


def serve_stdio(
    root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="A folder whose files an agent may name by path; may be repeated."),
    ] = None,
    server: ServerOption = None,
) -> None:
    """Offer VOGUE to an agent as an MCP server on standard input and output; a VOGUE server does the work."""
    built = build_server(lambda _: AsyncVogue(server), Roots(root or ()))

    async def speak() -> None:
        async with stdio_server() as (incoming, outgoing):
            await built.run(incoming, outgoing, built.create_initialization_options())

    asyncio.run(speak())
