"""Options that several commands take in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from vogue.blocking import Vogue
from vogue.schemas.config import Tier
from vogue.schemas.errors import VogueError
from vogue.schemas.jobs import EventKind, JobEvent

from .session import Session

__all__ = ["DeadlineOption", "PreviewEveryOption", "PreviewOption", "TierOption", "WebhookOption", "kept_previews"]

TierOption = Annotated[
    Tier | None, typer.Option(help="fast takes fewer, larger steps and loses little. By default the server's.")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        "--deadline-s",
        metavar="SECONDS",
        help="The job fails if it is not over so long after it was submitted, queueing and plans included.",
    ),
]
WebhookOption = Annotated[
    str | None,
    typer.Option("--webhook-url", metavar="URL", help="Whom the server tells when the job is over, or its plan waits."),
]
PreviewOption = Annotated[
    Path | None,
    typer.Option(
        "--preview",
        metavar="FILE",
        help="Keep the newest small picture of what is on its way here, or all of them in a folder.",
    ),
]
PreviewEveryOption = Annotated[
    int, typer.Option("--preview-every", min=1, metavar="STEPS", help="How many steps lie between two of them.")
]


def kept_previews(session: Session, client: Vogue, path: Path | None) -> Callable[[JobEvent], None]:
    """What writes each preview among a job's events to a file, over the one before; without a path, nothing."""

    def keep(event: JobEvent) -> None:
        if path is None or event.kind is not EventKind.PREVIEW or not event.assets:
            return
        try:
            written = client.assets.get(event.assets[0].id).save(path)
        except (VogueError, OSError) as error:
            # A picture on the way is not worth the job that it is of.
            session.note(f"note: no preview after {event.steps_done} steps: {error}")
        else:
            session.note(f"preview after {event.steps_done} of {event.steps_total} steps: {written}")

    return keep
