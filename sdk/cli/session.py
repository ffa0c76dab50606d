"""What the commands of one invocation share: how to reach a server, and how to speak, to people or as JSON.

Answers go to standard output, everything else to standard error, so that output can be piped. With `--json` standard output
holds exactly one JSON document, be it the answer or the error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vogue.blocking import Vogue
from vogue.retry import Retry
from vogue.schemas.errors import VogueError
from vogue.schemas.jobs import EventKind, JobEvent

__all__ = ["JsonFlag", "ServerOption", "Session", "session_of"]

# A person at the terminal prefers to wait through a server's restart.
_PATIENT = Retry(attempts=12, first_delay_s=0.5, max_delay_s=15.0)


def _connect(server: str | None) -> Vogue:
    # The key comes from VOGUE_API_KEY alone: every user of a machine sees the options of its processes.
    return Vogue(server, retry=_PATIENT)


@dataclass
class Session:
    """One invocation."""

    connect: Callable[[str | None], Vogue] = _connect
    as_json: bool = False
    out: Console = field(default_factory=lambda: Console(soft_wrap=True, highlight=False, emoji=False))
    log: Console = field(default_factory=lambda: Console(stderr=True, soft_wrap=True, highlight=False, emoji=False))

    def answer(self, document: Any, *, lines: list[str]) -> None:
        """Give the answer: the document as JSON, or the lines to people."""
        if self.as_json:
            self.out.print_json(json.dumps(document))
        else:
            for line in lines:
                self.out.print(line, markup=False)

    def tell(self, piece: str) -> None:
        """Write a piece of text as it comes; with `--json` it is part of the answer."""
        if not self.as_json:
            self.out.print(piece, end="", markup=False)

    def note(self, text: str) -> None:
        """Say something beside the answer."""
        if not self.as_json:
            self.log.print(text, markup=False)

    def complain(self, error: VogueError) -> None:
        """Tell of an error in one line."""
        if self.as_json:
            self.out.print_json(json.dumps(error.body()))
        else:
            where = f" ({error.param})" if error.param else ""
            self.log.print(f"error{where}: {error.message}", markup=False, style="red")

    @contextmanager
    def progress(self) -> Iterator[Callable[[JobEvent], None]]:
        """A progress bar, fed with a job's events; shown on a terminal only."""
        bar = Progress(
            TextColumn("{task.description:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.log,
            transient=True,
            disable=self.as_json or not self.log.is_terminal,
        )
        with bar:
            task, doing = bar.add_task("queued", total=None), "queued"

            def show(event: JobEvent) -> None:
                nonlocal doing
                if event.kind is EventKind.NOTICE:
                    self.note(f"note: {event.message}")
                if event.kind not in (EventKind.STEP, EventKind.PREVIEW):
                    doing = event.stage or event.kind
                if event.queue_position is not None:
                    doing = f"number {event.queue_position} in the queue"
                left = f", about {event.eta_s:.0f} s left" if event.eta_s is not None else ""
                bar.update(task, description=doing + left, completed=event.steps_done, total=event.steps_total or None)

            yield show


def session_of(ctx: typer.Context) -> Session:
    """The invocation's session, made on first use."""
    root = ctx.find_root()
    if not isinstance(root.obj, Session):
        root.obj = Session()
    return root.obj


def _speak_json(ctx: typer.Context, value: bool) -> bool:
    if value:
        session_of(ctx).as_json = True
    return value


JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json", help="Answer with one JSON document.", callback=_speak_json, is_eager=True, expose_value=True
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="URL", envvar="VOGUE_SERVER", help="The server; by default this machine's port 8000."
    ),
]
