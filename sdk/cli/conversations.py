"""`vogue session …`: a conversation from the command line; `it`, `turn 1` and `image1` mean what they mean to people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vogue.blocking_sessions import SessionHandle
from vogue.schemas.config import Task
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.requests import Thinking
from vogue.schemas.sessions import Turn

from .options import (
    DeadlineOption,
    PreviewEveryOption,
    PreviewOption,
    TierOption,
    WebhookOption,
    kept_previews,
)
from .run import follow
from .session import JsonFlag, ServerOption, session_of

__all__ = ["conversations"]

SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="A session's id, as `vogue session list` shows it.")]
Number = Annotated[int, typer.Argument(metavar="TURN", min=1, help="The number of a turn.")]
Media = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="FILE|TAG", help="A file to bring in, or a tag as turn1; may be repeated."),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write the result.")]
Detach = Annotated[bool, typer.Option("--detach", help="Submit only, and say the job's id.")]

conversations = typer.Typer(
    name="session", no_args_is_help=True, help="Hold a conversation: edit what was made before."
)


@conversations.command()
def new(
    ctx: typer.Context,
    title: Annotated[str, typer.Option(help="What to call it.")] = "",
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Begin a conversation, and say its id."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.create(title)
    session.answer(handle.session.model_dump(mode="json"), lines=[handle.id])


@conversations.command(name="list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many to list.")] = 20,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """List the newest conversations."""
    session = session_of(ctx)
    with session.connect(server) as client:
        found = client.sessions.list(limit)
    lines = [f"{one.id}  {one.num_turns} turns  {one.title}".rstrip() for one in found] or ["no sessions yet"]
    session.answer({"sessions": [one.model_dump(mode="json") for one in found]}, lines=lines)


@conversations.command()
def show(ctx: typer.Context, session_id: SessionId, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Show the tree of turns; the head is marked."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.get(session_id)
    session.answer(handle.session.model_dump(mode="json"), lines=_tree(handle))


@conversations.command()
def say(
    ctx: typer.Context,
    session_id: SessionId,
    instruction: Annotated[
        str, typer.Argument(help='What to do, as "now make it blue" or "put the fox from turn 1 on it".')
    ],
    inputs: Media = None,
    source: Annotated[
        str | None, typer.Option(metavar="FILE|TAG", help="What to edit, if not what the words say.")
    ] = None,
    parent: Annotated[
        int | None, typer.Option(min=0, help="Follow this turn instead of the head; 0 begins anew.")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="By default inferred.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same result.")] = None,
    tier: TierOption = None,
    thinking: Annotated[
        Thinking | None, typer.Option(help="Plan first: review waits until `vogue approve`. By default only if needed.")
    ] = None,
    preview: PreviewOption = None,
    preview_every: PreviewEveryOption = 4,
    deadline_s: DeadlineOption = None,
    webhook_url: WebhookOption = None,
    output: Output = None,
    detach: Detach = False,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Take the next turn, follow it, save its file."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.get(session_id)
        turn = handle.say(
            instruction,
            inputs=inputs or [],
            source=source,
            parent=parent,
            task=task,
            steps=steps,
            seed=seed,
            tier=tier,
            thinking=thinking,
            preview_every_steps=preview_every if preview is not None else 0,
            deadline_s=deadline_s,
            webhook_url=webhook_url,
        )
        session.note(f"turn {turn.number}{_reads(turn.turn)}")
        if detach:
            session.answer({"turn": turn.turn.model_dump(mode="json")}, lines=[turn.id])
        else:
            follow(session, turn, output, also=kept_previews(session, client, preview))


@conversations.command()
def replay(
    ctx: typer.Context,
    session_id: SessionId,
    number: Number,
    seed: Annotated[int | None, typer.Option(help="By default a new one.")] = None,
    output: Output = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Do a turn again with another seed."""
    session = session_of(ctx)
    with session.connect(server) as client:
        turn = client.sessions.get(session_id).replay(number, seed)
        session.note(f"turn {turn.number}: turn {number} with seed {turn.job.spec.seed}")
        follow(session, turn, output)


@conversations.command()
def undo(ctx: typer.Context, session_id: SessionId, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Go back to the turn before; nothing is lost."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.get(session_id).undo()
    session.answer(handle.session.model_dump(mode="json"), lines=[_at(handle)])


@conversations.command()
def go(
    ctx: typer.Context,
    session_id: SessionId,
    number: Annotated[int, typer.Argument(metavar="TURN", min=0, help="The turn to go on from; 0 is the start.")],
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Go on from any turn: the next one branches there."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.get(session_id).go_to(number)
    session.answer(handle.session.model_dump(mode="json"), lines=[_at(handle)])


@conversations.command()
def delete(
    ctx: typer.Context,
    session_id: SessionId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Forget a conversation: its tree, its tags, what was said. The jobs and files of its turns stay."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.get(session_id)
        if not yes:
            _ask(handle, as_json=session.as_json)
        handle.delete()
    session.answer({"id": session_id, "object": "session", "deleted": True}, lines=[f"{session_id} deleted"])


def _ask(handle: SessionHandle, *, as_json: bool) -> None:
    """See that somebody means it.

    Raises:
        RequestInvalid: nobody can be asked.
    """
    if as_json:
        raise RequestInvalid("the conversation would be deleted: say --yes as well", param="yes")
    title = f" {handle.session.title!r}" if handle.session.title else ""
    lost = f"its {handle.session.num_turns} turns, their tree and tags; the files stay until you delete them"
    typer.confirm(f"Delete the conversation{title}? It loses {lost}.", abort=True, err=True)


@conversations.command()
def compare(
    ctx: typer.Context,
    session_id: SessionId,
    a: Annotated[int, typer.Argument(metavar="A", min=1, help="A turn.")],
    b: Annotated[int, typer.Argument(metavar="B", min=1, help="Another one.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write both side by side, as a png.")
    ] = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what differs between two turns."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.sessions.get(session_id)
        seen = handle.compare(a, b)
        if output is not None:
            _write(output, handle.compare_picture(a, b))
    lines = [f"{one.name}: {one.a or '—'} | {one.b or '—'}" for one in seen.differences]
    if seen.identical:
        lines.append("the pixels are the same")
    elif seen.psnr_db is not None:
        lines.append(f"{seen.psnr_db:.1f} dB apart")
    session.answer(seen.model_dump(mode="json"), lines=lines)


def _write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        RequestInvalid: it cannot be written there.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise RequestInvalid(f"cannot write {path}: {error.strerror}", param="output") from error


def _tree(handle: SessionHandle) -> list[str]:
    """Each turn below the one it follows."""
    session = handle.session
    children: dict[int | None, list[Turn]] = {}
    for turn in session.turns:
        children.setdefault(turn.parent, []).append(turn)
    lines: list[str] = []
    waiting = [(turn, 0) for turn in reversed(children.get(None, []))]
    while waiting:
        turn, depth = waiting.pop()
        mark = "→" if turn.number == session.head else " "
        status = turn.job.status if turn.job is not None else "deleted"
        lines.append(f"{mark} {'  ' * depth}turn{turn.number} {status}{_reads(turn)}: {turn.instruction}")
        waiting += [(child, depth + 1) for child in reversed(children.get(turn.number, []))]
    brought = [f"  {one.tag} {one.asset.filename}" for one in session.assets if one.turn is None]
    return [*brought, *lines] or ["nothing was said yet"]


def _reads(turn: Turn) -> str:
    read = ", ".join(f"{one.tag} as {one.role}" for one in turn.inputs)
    return f" ({read})" if read else ""


def _at(handle: SessionHandle) -> str:
    return f"at turn {handle.head}" if handle.head is not None else "at the start"
