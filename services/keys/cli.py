"""`vogue keys`: made, listed and revoked by whoever runs the server, on the machine where its state directory lies.

It writes to the database beside the running server, which sees a new or a revoked key with the next request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from vogue.schemas.access import KeyInfo, Scope

from ..database import Database
from ..local import read_config
from ..speaking import JsonFlag, speaker_of
from .store import KeyStore

__all__ = ["register"]

_DAY_S = 86_400.0

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of a server.")

StateDir = Annotated[Path | None, typer.Option("--state-dir", metavar="DIR", help="The server's state directory.")]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The server's configuration, which names it.")
]


def register(app: typer.Typer) -> None:
    """Add the command group `keys`."""
    app.add_typer(keys, name="keys")


@contextmanager
def _store(state_dir: Path | None, config: Path | None) -> Iterator[KeyStore]:
    place = read_config(config, state_dir=state_dir).state_dir.expanduser()
    # As the server itself makes it: nothing in it is for other users of the machine.
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(place / "jobs.sqlite")
    try:
        yield KeyStore(database)
    finally:
        database.close()


@keys.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose it is, or what for; for you to tell keys apart.")],
    scope: Annotated[Scope, typer.Option(help="write includes read, admin includes both.")] = Scope.WRITE,
    days: Annotated[
        float | None, typer.Option(min=0.001, help="For how long it is good; by default until revoked.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="KEY_ID", help="Let it see what that key sees, as when you replace one.")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Give it what was made before the server asked for keys.")
    ] = False,
    state_dir: StateDir = None,
    config: Config = None,
    json: JsonFlag = False,
) -> None:
    """Make a key and show it, this once: the server keeps a digest only."""
    expires_at_s = time.time() + days * _DAY_S if days is not None else None
    with _store(state_dir, config) as store:
        info, key = store.create(name, scope, expires_at_s, like, adopt)
    speaker = speaker_of(ctx)
    speaker.answer({**info.model_dump(mode="json"), "key": key}, lines=[key])
    speaker.note(
        f"{info.id}, scope {info.scope}: keep it, for it cannot be shown again; clients read it from VOGUE_API_KEY"
    )


@keys.command(name="list")
def list_(ctx: typer.Context, state_dir: StateDir = None, config: Config = None, json: JsonFlag = False) -> None:
    """List all keys, without their text, which nobody has."""
    with _store(state_dir, config) as store:
        found = store.list()
    lines = [f"{one.id}  {one.scope:5}  {_state(one):22}  {one.name}" for one in found] or ["no keys yet"]
    speaker_of(ctx).answer({"keys": [one.model_dump(mode="json") for one in found]}, lines=lines)


@keys.command()
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Its id, as `vogue keys list` shows it.")],
    state_dir: StateDir = None,
    config: Config = None,
    json: JsonFlag = False,
) -> None:
    """Make a key useless from now on. What was made with it stays; requests that are being answered are answered."""
    with _store(state_dir, config) as store:
        info = store.revoke(key_id)
    speaker_of(ctx).answer(info.model_dump(mode="json"), lines=[f"{info.id} ({info.name}) is revoked"])


def _state(one: KeyInfo) -> str:
    if one.revoked_at_s is not None:
        return f"revoked {_day(one.revoked_at_s)}"
    if one.expires_at_s is None:
        return f"since {_day(one.created_at_s)}"
    return f"{'expired' if one.expires_at_s <= time.time() else 'until'} {_day(one.expires_at_s)}"


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s).astimezone().strftime("%d %b %Y")
