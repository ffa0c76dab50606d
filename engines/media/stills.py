"""Decode still pictures, and WebP animations, with Pillow: exact pixels, upright, without alpha.

Colour profiles are ignored, as the release ignores them (it reads pictures with OpenCV). Callers must have checked the
header against the limits: from here on memory is allocated.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vogue.schemas.errors import LimitExceeded, MediaUnreadable, VogueError

from .limits import MediaLimits
from .orientation import Orientation
from .sniff import Container

__all__ = ["StillFacts", "decode_animation", "decode_still", "read_facts"]

_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class StillFacts:
    """What Pillow says about a picture before decoding it."""

    size: tuple[int, int]
    """Width and height as stored."""
    mode: str
    orientation: Orientation


def read_facts(path: Path, container: Container, *, param: str | None = None) -> StillFacts:
    """Open a picture without decoding it.

    Raises:
        MediaUnreadable: Pillow cannot make sense of it.
    """
    with _opened(path, container, param) as picture:
        return StillFacts(picture.size, picture.mode, _orientation(picture))


def decode_still(path: Path, container: Container, *, param: str | None = None) -> npt.NDArray[np.uint8]:
    """Decode the first frame, upright: uint8 [H, W, 3].

    Raises:
        MediaUnreadable: corrupt or truncated.
    """
    with _opened(path, container, param) as picture:
        orientation = _orientation(picture)
        return orientation.apply(_to_rgb(picture))


def decode_animation(
    path: Path,
    container: Container,
    *,
    indices: range,
    size: tuple[int, int],
    limits: MediaLimits,
    param: str | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode the frames `indices` of an animation, resized to `size` (height, width): uint8 [T, H, W, 3].

    Raises:
        MediaUnreadable: corrupt or truncated.
        LimitExceeded: takes longer than `limits.wall_time_s`.
    """
    height, width = size
    frames = np.empty((len(indices), height, width, 3), np.uint8)
    deadline = time.monotonic() + limits.wall_time_s
    with _opened(path, container, param) as picture:
        for slot, index in enumerate(indices):
            if time.monotonic() > deadline:
                raise LimitExceeded(f"decoding the animation took longer than {limits.wall_time_s:g} s", param=param)
            picture.seek(index)
            frame = picture.convert("RGB")
            if frame.size != (width, height):
                frame = frame.resize((width, height), Image.Resampling.BILINEAR)
            frames[slot] = np.asarray(frame)
    return frames


@contextmanager
def _opened(path: Path, container: Container, param: str | None) -> Iterator[Image.Image]:
    try:
        # Only the decoder of the sniffed format may run.
        with Image.open(path, formats=[container.name]) as picture:
            yield picture
    except VogueError:
        raise
    except Exception as error:
        # Decoders fed with hostile bytes raise anything from struct.error to ZeroDivisionError.
        reason = str(error).replace(str(path), "the file")[:200] or type(error).__name__
        raise MediaUnreadable(f"the {container} picture cannot be decoded: {reason}", param=param) from error


def _orientation(picture: Image.Image) -> Orientation:
    try:
        return Orientation.from_exif(picture.getexif().get(_ORIENTATION_TAG))
    except Exception:
        # A damaged EXIF block says nothing about which way is up; every viewer shows such pictures as stored.
        return Orientation()


def _to_rgb(picture: Image.Image) -> npt.NDArray[np.uint8]:
    picture.load()
    if picture.mode.startswith("I"):
        # 16-bit grey: keep the high byte, as 16-bit colour does; Pillow's own conversion would clip to white.
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(picture.convert("RGB"))
