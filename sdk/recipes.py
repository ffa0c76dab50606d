"""Recipes out of files: mp4 and png metadata, read with the standard library alone.

Files come from strangers. Every size is checked against what holds it, nothing is read that is not needed, and the text is only
believed as far as `vogue.schemas.recipes` checks it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from vogue.schemas.errors import MediaUnreadable
from vogue.schemas.recipes import MAX_RECIPE_BYTES, RECIPE_KEYWORD, Recipe, load_recipe

__all__ = ["read_recipe"]

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PARTS = 10_000
"""Boxes or chunks looked at, at most."""
_COMMENT = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")
_DATA_HEAD = 8
"""A data box begins with the type and the locale of its text."""


def read_recipe(media: str | os.PathLike[str] | bytes) -> Recipe:
    """The recipe that a delivered mp4 or png carries.

    Raises:
        MediaUnreadable: no such file, no recipe in it, or none that this version reads.
    """
    if isinstance(media, bytes):
        return _read(BytesIO(media), len(media), "the file")
    path = Path(media)
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size, str(path))
    except OSError as error:
        raise MediaUnreadable(f"cannot read {path}: {error.strerror}") from error


def _read(file: IO[bytes], size: int, name: str) -> Recipe:
    head = file.read(12)
    if head.startswith(_PNG):
        text = _png_text(file, size)
    elif head[4:8] == b"ftyp":
        text = _mp4_comment(file, size)
    else:
        raise MediaUnreadable(f"{name} is neither an mp4 nor a png, so it carries no recipe")
    if text is None:
        raise MediaUnreadable(f"{name} carries no recipe: VOGUE did not make it, or something rewrote it since")
    try:
        return load_recipe(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MediaUnreadable(f"the recipe in {name} is not text") from error


def _mp4_comment(file: IO[bytes], size: int) -> bytes | None:
    """The text of the comment: one box inside the other, each of the first kind met."""
    start, end = 0, size
    for wanted in _COMMENT:
        # `meta` begins with a version and flags before its boxes.
        found = next(((at, to) for kind, at, to in _boxes(file, start, end) if kind == wanted), None)
        if found is None:
            return None
        start, end = found[0] + (4 if wanted == b"meta" else 0), found[1]
    return _take(file, start + _DATA_HEAD, end)


def _boxes(file: IO[bytes], start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the content of each box."""
    for _ in range(_MOST_PARTS):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        size, kind, begin = int.from_bytes(head[:4]), head[4:8], start + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16]), start + 16
        elif size == 0:
            size = end - start
        if start + size > end or start + size < begin:
            return
        yield kind, begin, start + size
        start += size


def _png_text(file: IO[bytes], size: int) -> bytes | None:
    """The uncompressed text of the chunk with our keyword."""
    start = len(_PNG)
    head = RECIPE_KEYWORD.encode() + b"\0\0\0"
    for _ in range(_MOST_PARTS):
        file.seek(start)
        length, kind = int.from_bytes(file.read(4)), file.read(4)
        if len(kind) < 4 or start + 12 + length > size:
            return None
        if kind == b"iTXt":
            content = _take(file, start + 8, start + 8 + length)
            if content is not None and content.startswith(head):
                # Language and translated keyword, both ended by a zero, and then the text.
                return content[len(head) :].split(b"\0", 2)[-1]
        start += 12 + length
    return None


def _take(file: IO[bytes], start: int, end: int) -> bytes | None:
    """A stretch of the file, if it is no larger than a recipe can be."""
    if not 0 <= end - start <= MAX_RECIPE_BYTES + 256:
        return None
    file.seek(start)
    return file.read(end - start)
