"""VOGUE as an MCP server: the tools of `vogue.toolbox`, over stdio (`vogue mcp`) and over HTTP (`/mcp` of the gateway).

Needs the extra `agents`. Nothing here keeps anything between two requests, so that it does not matter which replica answers.
"""

from .door import open_door
from .server import Connect, build_server

__all__ = ["Connect", "build_server", "open_door"]
