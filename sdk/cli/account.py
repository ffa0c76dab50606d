"""`vogue me` and `vogue forget`: what a key has on the server, and the end of it."""

from __future__ import annotations

from typing import Annotated

import typer

from vogue.schemas.access import Account, MediaDeletion
from vogue.schemas.errors import RequestInvalid

from .session import JsonFlag, ServerOption, session_of

__all__ = ["forget", "me"]


def me(ctx: typer.Context, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Show which key this is, what it may have on the server, and how much of that is used."""
    session = session_of(ctx)
    with session.connect(server) as client:
        account = client.account()
    session.answer(account.model_dump(mode="json"), lines=_described(account))


def forget(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Delete everything of yours on the server: jobs, files and sessions. Jobs at work are stopped."""
    session = session_of(ctx)
    with session.connect(server) as client:
        if not yes:
            _ask(client.account(), client.server, as_json=session.as_json)
        deletion = client.delete_media()
    session.answer(deletion.model_dump(mode="json"), lines=_told(deletion))


def _ask(account: Account, server: str, *, as_json: bool) -> None:
    """See that somebody means it.

    Raises:
        RequestInvalid: nobody can be asked.
    """
    if as_json:
        raise RequestInvalid("everything would be deleted: say --yes as well", param="yes")
    whose = "of this key" if account.key is not None else "of everybody, for the server asks for no keys"
    usage = account.usage
    typer.confirm(f"Delete all {usage.num_files} files, jobs and sessions {whose} on {server}?", abort=True, err=True)


def _described(account: Account) -> list[str]:
    usage, limits, key = account.usage, account.limits, account.key
    lines = ["the server asks for no keys"] if key is None else [f"{key.id}  {key.scope}  {key.name}"]
    most_jobs = f" of {limits.max_open_jobs}" if limits is not None else ""
    most_bytes = f" of {_mib(limits.max_stored_bytes)}" if limits is not None else ""
    lines += [
        f"  open jobs  {usage.open_jobs}{most_jobs}",
        f"  files      {usage.num_files}, {_mib(usage.stored_bytes)}{most_bytes}",
    ]
    if account.media_retention_s is not None:
        lines.append(f"  kept for   {account.media_retention_s / 86_400:.3g} days")
    return lines


def _told(deletion: MediaDeletion) -> list[str]:
    lines = [f"deleted {deletion.num_jobs} jobs, {deletion.num_files} files and {deletion.num_sessions} sessions"]
    return lines + [f"{job_id} was told to stop and has not yet; ask again" for job_id in deletion.unfinished]


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.1f} MiB"
