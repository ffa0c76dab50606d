"""Pixels in memory as files: a picture becomes a png, a clip an animated one, which every VOGUE server reads without loss.

Written with the standard library, so that uploading an array needs no imaging package.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from struct import pack
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.errors import MediaUnreadable

__all__ = ["Clip", "Picture", "encode_pixels"]

_LEVEL = 6


@runtime_checkable
class Picture(Protocol):
    """A PIL image, as far as it is needed."""

    mode: str

    def save(self, fp: Any, format: str | None = None) -> None:
        """Write it."""
        ...


@dataclass(frozen=True)
class Clip:
    """Frames, uint8 [T, H, W, 3] in RGB, and how many of them make a second."""

    frames: NDArray[np.uint8]
    fps: float = 24.0


def encode_pixels(media: NDArray[Any] | Clip | Picture) -> tuple[str, bytes]:
    """A name and a file's bytes for an array, a clip or a PIL image.

    An array is uint8 RGB: [H, W, 3] is a picture, [T, H, W, 3] a clip at 24 frames per second; `Clip` says another rate.

    Raises:
        MediaUnreadable: another type or shape, no pixels, or a rate that no file can say.
    """
    if isinstance(media, Clip):
        return _encode(media.frames, media.fps)
    if isinstance(media, np.ndarray):
        return _encode(media, 24.0)
    file = BytesIO()
    try:
        media.save(file, format="PNG")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise MediaUnreadable(f"the picture cannot be written as png: {error}") from error
    return "picture.png", file.getvalue()


def _encode(frames: NDArray[Any], fps: float) -> tuple[str, bytes]:
    shape = tuple(frames.shape)
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or shape[-1] != 3 or 0 in shape:
        raise MediaUnreadable(
            f"an array of {frames.dtype}{list(shape)} is no picture or clip: give uint8 RGB, [height, width, 3] or"
            " [frames, height, width, 3]"
        )
    clip = frames[None] if frames.ndim == 3 else frames
    if not 0.1 <= fps <= 240:
        raise MediaUnreadable(f"a clip of {fps:g} frames per second cannot be sent; 0.1 to 240 can")
    name = "picture.png" if len(clip) == 1 else "clip.png"
    return name, b"\x89PNG\r\n\x1a\n" + b"".join(_chunks(clip, Fraction(1 / fps).limit_denominator(10_000)))


def _chunks(clip: NDArray[np.uint8], delay: Fraction) -> Iterator[bytes]:
    """The chunks of a png, or of an animated one where there are several frames."""
    count, height, width, _ = clip.shape
    yield _chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    if count > 1:
        yield _chunk(b"acTL", pack(">II", count, 0))
    sequence = 0
    for index, frame in enumerate(clip):
        if count > 1:
            # Whole frames: each is drawn over all of the one before.
            control = (sequence, width, height, 0, 0, delay.numerator, delay.denominator, 0, 0)
            yield _chunk(b"fcTL", pack(">IIIIIHHBB", *control))
            sequence += 1
        rows = np.zeros((height, 1 + width * 3), np.uint8)  # each row begins with its filter: none
        rows[:, 1:] = frame.reshape(height, width * 3)
        packed = zlib.compress(rows.tobytes(), _LEVEL)
        if index == 0:
            yield _chunk(b"IDAT", packed)
        else:
            yield _chunk(b"fdAT", pack(">I", sequence) + packed)
            sequence += 1
    yield _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))
