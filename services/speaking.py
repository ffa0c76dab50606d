"""How a command of this room speaks through the command line that called it, without knowing its code.

The command line leaves one object at the root of an invocation; `Speaker` is what is used of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Protocol, cast

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["JsonFlag", "Speaker", "at_work", "bytes_done", "gib", "speaker_of"]


class Speaker(Protocol):
    """One invocation of the command line."""

    as_json: bool
    log: Console

    def answer(self, document: Any, *, lines: list[str]) -> None:
        """Give the answer: the document as JSON, or the lines to people."""
        ...

    def note(self, text: str) -> None:
        """Say something beside the answer."""
        ...


def speaker_of(ctx: typer.Context) -> Speaker:
    """The invocation that this command runs in."""
    return cast(Speaker, ctx.find_root().obj)


def _speak_json(ctx: typer.Context, value: bool) -> bool:
    if value:
        speaker_of(ctx).as_json = True
    return value


JsonFlag = Annotated[
    bool, typer.Option("--json", help="Answer with one JSON document.", callback=_speak_json, is_eager=True)
]


def gib(num_bytes: float) -> str:
    """Bytes for people; small amounts in MiB."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**29 else f"{num_bytes / 2**20:.1f} MiB"


@contextmanager
def bytes_done(speaker: Speaker, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar fed with numbers of bytes; shown on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with _bar(speaker, *columns) as bar:
        task = bar.add_task(what, total=total)
        yield lambda num_bytes: bar.advance(task, num_bytes)


@contextmanager
def at_work(speaker: Speaker) -> Iterator[Callable[[str], None]]:
    """Says what is being done, as it is told, and for how long; on a terminal only."""
    with _bar(speaker, SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=None)
        yield lambda text: bar.update(task, description=text)


def _bar(speaker: Speaker, *columns: ProgressColumn) -> Progress:
    hidden = speaker.as_json or not speaker.log.is_terminal
    return Progress(*columns, console=speaker.log, transient=True, disable=hidden)
