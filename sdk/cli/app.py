"""The application: its own commands, those of other rooms found by entry point, and one place where errors become exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from vogue.schemas.errors import VogueError

from .account import forget, me
from .conversations import conversations
from .doctor import doctor
from .exits import ExitCode, exit_code_of
from .jobs import cancel, deliveries, jobs, resume, wait
from .plans import approve, ask, reject
from .replay import replay
from .run import run
from .session import JsonFlag, session_of

__all__ = ["COMMANDS_GROUP", "build_app", "main"]

COMMANDS_GROUP = "vogue.commands"
"""Entry points `name = "module:register"`: `register(app: typer.Typer)` adds the command `name` when it is first needed."""


class _Group(TyperGroup):
    """Commands, some of which are loaded when they are asked for; `VogueError` ends any of them with its exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *sorted({point.name for point in _extensions()} - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None:
            point = next((point for point in _extensions() if point.name == cmd_name), None)
            if point is not None:
                found = self.commands[cmd_name] = _load(point)
        return found

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VogueError as error:
            session_of(ctx).complain(error)
            raise typer.Exit(exit_code_of(error)) from error


def _extensions() -> list[EntryPoint]:
    return list(entry_points(group=COMMANDS_GROUP))


def _load(point: EntryPoint) -> Any:
    """The command behind an entry point, or one that says what to install."""
    extension = typer.Typer()
    try:
        point.load()(extension)
    except ImportError as error:
        missing = error.name or str(error)

        def explain() -> None:
            extras = ",".join(point.extras) or "serve"
            typer.echo(f"`vogue {point.name}` needs {missing}: pip install 'vogue-video[{extras}]'", err=True)
            raise typer.Exit(ExitCode.UNFORESEEN)

        return TyperCommand(point.name, callback=explain, help=f"Needs {missing}, which is not installed.")
    return get_group(extension).commands[point.name]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"vogue {version('vogue-video')}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    json: JsonFlag = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Generate and edit images and videos from one instruction."""
    session_of(ctx)


def build_app() -> typer.Typer:
    """The command line as a Typer application."""
    app = typer.Typer(
        name="vogue",
        cls=_Group,
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        rich_markup_mode="rich",
        epilog="Exit codes: 0 done, 2 usage, 3 invalid request, 4 not found, 5 server away or full, 6 job failed, 130 cancelled.",
    )
    app.callback()(_root)
    for command in (run, jobs, wait, cancel, resume, deliveries, ask, approve, reject, doctor, replay, me, forget):
        app.command()(command)
    app.add_typer(conversations, name="session")
    return app


def main() -> None:
    """The script `vogue`."""
    try:
        build_app()()
    except BrokenPipeError:
        # The reader of a pipe went away, as `head` does; there is nobody left to tell.
        sys.stderr.close()
        sys.exit(ExitCode.UNFORESEEN)
