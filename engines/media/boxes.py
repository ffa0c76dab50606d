"""Is a video file whole? Answered from the sizes its outer structure declares, without a demuxer.

A file cut off during upload often still opens and shows its first seconds; using it silently would be wrong.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from vogue.schemas.errors import MediaUnreadable

from .sniff import Container

__all__ = ["check_whole"]

_MAX_BOXES = 100_000
_SEGMENT = 0x18538067
_UNKNOWN_SIZE = (1 << 56) - 1


def check_whole(path: Path, container: Container, *, param: str | None = None) -> None:
    """Refuse a video whose outermost boxes reach past the end of the file.

    Raises:
        MediaUnreadable: truncated, or without the boxes its format demands.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if container is Container.MP4:
                missing = _mp4(file, size)
            elif container is Container.WEBM:
                missing = _webm(file, size)
            elif container is Container.AVI:
                file.seek(4)
                missing = int.from_bytes(file.read(4), "little") + 8 - size
            else:
                missing = 0
    except OSError as error:
        raise MediaUnreadable(f"the file cannot be read: {error.strerror}", param=param) from error
    except MediaUnreadable as error:
        error.param = param
        raise
    if missing > 0:
        raise MediaUnreadable(
            f"the {container} file is truncated: {missing:,} of its bytes are missing; send the whole file", param=param
        )


def _mp4(file: BinaryIO, size: int) -> int:
    position, has_index = 0, False
    for _ in range(_MAX_BOXES):
        if position + 8 > size:
            break
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4]), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16])
        elif length == 0:
            length = size - position
        if kind in (b"mdat", b"moov", b"moof") and position + length > size:
            return position + length - size
        has_index |= kind == b"moov"
        if length < 8:
            break
        position += length
    if not has_index:
        raise MediaUnreadable("the mp4 file has no index (moov box): it is truncated or was never finished")
    return 0


def _webm(file: BinaryIO, size: int) -> int:
    _element_id(file)
    file.seek(_element_size(file), 1)
    position = file.tell()
    if _element_id(file) != _SEGMENT:
        if position >= size:
            raise MediaUnreadable("the webm file is truncated after its header")
        return 0
    length = _element_size(file)
    # Live recordings do not know their length; nothing can be said about those.
    return 0 if length >= _UNKNOWN_SIZE else file.tell() + length - size


def _element_id(file: BinaryIO) -> int:
    first = file.read(1)
    extra = 8 - first[0].bit_length() if first and first[0] else 0
    return int.from_bytes(first + file.read(min(extra, 3)))


def _element_size(file: BinaryIO) -> int:
    first = file.read(1)
    if not first or not first[0]:
        raise MediaUnreadable("the webm file holds a broken element size")
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> extra + 1)]) + file.read(extra))
    return _UNKNOWN_SIZE if value == (1 << 7 * (extra + 1)) - 1 else value
