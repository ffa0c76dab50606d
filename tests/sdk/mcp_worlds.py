"""Ways to reach the MCP server, and what its answers say."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from vogue import AsyncVogue

__all__ = ["World", "command", "refusal", "text_of", "uploaded", "world_of"]


class World(NamedTuple):
    """A way to connect, what lies behind it, and the folder that only stdio may read."""

    transport: str
    connect: Callable[..., AbstractAsyncContextManager[Client]]
    live: Any
    root: Path


def command(url: str, *options: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "vogue.cli", "mcp", "--server", url, *options],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def world_of(transport: str, live: Any, root: Path) -> World:
    """By one of the transports; over stdio the files below `root` may be read."""
    target: Any = f"{live.url}/mcp" if "http" in transport else command(live.url, "--root", str(root))
    mode = "legacy" if "handshake" in transport else "auto"

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        async with Client(target, mode=mode, read_timeout_seconds=120) as client:
            yield client

    return World(transport, connect, live, root)


def text_of(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def refusal(result: CallToolResult) -> str:
    assert result.is_error and result.structured_content is None
    return text_of(result)


async def uploaded(world: World, clip: bytes) -> str:
    async with AsyncVogue(world.live.url) as vogue:
        return (await vogue.upload(clip, "clip.pam")).id
