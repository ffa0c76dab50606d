"""Downloads that go on where they broke and appear only when they are whole."""

from __future__ import annotations

import os
from contextlib import aclosing
from pathlib import Path
from secrets import token_hex
from typing import IO

import httpx

from vogue.schemas.errors import VogueError, WireError
from vogue.schemas.jobs import Asset

from .exchange import Exchange

__all__ = ["download"]

_MAX_NAME_BYTES = 200
"""File systems take 255, of which the unfinished file's own name needs some."""


async def download(exchange: Exchange, asset: Asset, target: Path) -> Path:
    """Write an asset to `target`, or into it under the asset's own name if it is a folder.

    Raises:
        OSError: the file cannot be written.
        VogueError: the server refuses, or stayed away through every try.
    """
    path = target / _name_in_folder(asset) if target.is_dir() else target
    path.parent.mkdir(parents=True, exist_ok=True)
    part_path = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with part_path.open("xb") as part:
            await _fill(exchange, asset, part)
        part_path.replace(path)
    finally:
        part_path.unlink(missing_ok=True)
    return path


def _name_in_folder(asset: Asset) -> str:
    """What a file is called in a folder of the user's: its own name, or its id where that is no name for a file."""
    # It came from elsewhere: only its last part may count.
    name = asset.filename.replace("\\", "/").rpartition("/")[2]
    usable = name.strip(". ") and name.isprintable() and len(os.fsencode(name)) <= _MAX_NAME_BYTES
    return name if usable else asset.id


async def _fill(exchange: Exchange, asset: Asset, part: IO[bytes]) -> None:
    """Read the asset into a file, with another try from where a connection broke."""
    tries = 0
    while True:
        before = part.tell()
        headers = {"range": f"bytes={before}-"} if before else {}
        try:
            async with exchange.stream(f"/v1/assets/{asset.id}/content", headers, 60.0) as answer:
                if before and answer.head.status_code != 206:
                    part.seek(0)
                    part.truncate()
                async with aclosing(answer.chunks()) as chunks:
                    async for chunk in chunks:
                        part.write(chunk)
            break
        except httpx.TransportError as fault:
            error = exchange.connection_error(fault)
        except VogueError as refusal:
            if not refusal.retryable:
                raise
            error = refusal
        tries = 1 if part.tell() > before else tries + 1
        delay_s = exchange.retry.delay_s(tries, error)
        if delay_s is None:
            raise error
        await exchange.transport.sleep(delay_s)
    if part.tell() != asset.num_bytes:
        raise WireError(f"{asset.id} has {asset.num_bytes} bytes, but {part.tell()} came: try again")
