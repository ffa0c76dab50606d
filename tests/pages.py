"""How tests read the pages: their examples by language, and command lines as the script would parse them."""

from __future__ import annotations

import re
from typing import Any

from typer.main import get_command

from vogue.cli import build_app

__all__ = ["blocks", "parse"]


def blocks(text: str, language: str) -> list[str]:
    """The examples of a page in one language."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


def parse(arguments: list[str]) -> None:
    """Parse a command line as the script would, without running it."""
    group: Any = get_command(build_app())
    with group.make_context("vogue", list(arguments)) as ctx:
        name, command, rest = group.resolve_command(ctx, list(arguments))
        with command.make_context(name, rest, parent=ctx):
            pass
