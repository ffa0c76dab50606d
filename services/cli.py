"""`vogue serve`: the whole application on this machine, in the foreground, until it is told to stop."""

from __future__ import annotations

import typer

from .local import serve_here

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command `serve`."""
    app.command("serve")(serve_here)
