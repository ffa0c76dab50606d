"""What an agent can do with VOGUE, written once: `vogue.mcp` and `vogue.tools` offer the same list to their own world.

A tool is a name, a description for the model, typed arguments, a typed result, and a coroutine over `AsyncVogue`. The coroutines
never suspend for anything but the client, so that `vogue.transport.run` can carry them without an event loop.
"""

from .arguments import (
    AssetPage,
    Decision,
    Edit,
    Generation,
    JobQuery,
    JobTarget,
    Planning,
    Question,
    SessionPage,
    SessionStart,
    SessionTarget,
    TurnAsk,
    TurnTarget,
    WaitedEdit,
    WaitedGeneration,
    WaitedTurn,
)
from .catalogue import TOOLS, Tool, tool_named
from .media import Roots
from .reports import AssetList, AssetReport, JobReport, Report, SessionList, SessionReport, TurnReport, explain
from .work import Bench, Tell

__all__ = [
    "TOOLS",
    "AssetList",
    "AssetPage",
    "AssetReport",
    "Bench",
    "Decision",
    "Edit",
    "Generation",
    "JobQuery",
    "JobReport",
    "JobTarget",
    "Planning",
    "Question",
    "Report",
    "Roots",
    "SessionList",
    "SessionPage",
    "SessionReport",
    "SessionStart",
    "SessionTarget",
    "Tell",
    "Tool",
    "TurnAsk",
    "TurnReport",
    "TurnTarget",
    "WaitedEdit",
    "WaitedGeneration",
    "WaitedTurn",
    "explain",
    "tool_named",
]
