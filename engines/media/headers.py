"""Measure a picture file from its structure alone, before any decoder allocates a pixel.

Knows the chunk layout of PNG/APNG, GIF, WebP and JPEG: size, frames, timing, alpha, and whether the file is whole. Knows
nothing about compressed data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vogue.schemas.errors import LimitExceeded, MediaUnreadable

from .limits import MediaLimits
from .sniff import Container

__all__ = ["PictureHeader", "read_header"]


@dataclass(slots=True)
class PictureHeader:
    """What the structure of a picture file promises."""

    width_px: int = 0
    height_px: int = 0
    num_frames: int = 1
    duration_s: float = 0.0
    """Sum of the frame delays; 0 for a still."""
    shortest_s: float = 0.0
    longest_s: float = 0.0
    """The frame delays lie between these two."""
    has_alpha: bool = False
    bit_depth: int = 8

    def add_delay(self, delay_s: float) -> None:
        """Account for one more frame, shown for `delay_s`."""
        self.shortest_s = min(self.shortest_s, delay_s) if self.duration_s else delay_s
        self.longest_s = max(self.longest_s, delay_s)
        self.duration_s += delay_s


class _Cut(Exception):
    """The file ends inside a structure."""


class _Walk:
    """Reads a file forward in bounded steps."""

    def __init__(self, file: BinaryIO, size: int, max_steps: int) -> None:
        self._file = file
        self._size = size
        self._steps_left = max_steps

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise _Cut
        self._steps_left -= 1
        if self._steps_left < 0:
            raise LimitExceeded("the picture file has too many chunks")
        return data

    def skip(self, count: int) -> None:
        if self._file.tell() + count > self._size:
            raise _Cut
        self._file.seek(count, 1)

    @property
    def at_end(self) -> bool:
        return self._file.tell() >= self._size


def read_header(path: Path, container: Container, limits: MediaLimits, *, param: str | None = None) -> PictureHeader:
    """Measure a picture file and check its size against the limits.

    Raises:
        MediaUnreadable: truncated, or not laid out as its format demands.
        LimitExceeded: more pixels, a longer side or more chunks than allowed.
    """
    try:
        with path.open("rb") as file:
            walk = _Walk(file, path.stat().st_size, limits.max_packets * 8)
            header = _READERS[container](walk)
    except _Cut:
        raise MediaUnreadable(f"the {container} file is truncated; send the whole file", param=param) from None
    except OSError as error:
        raise MediaUnreadable(f"the file cannot be read: {error.strerror}", param=param) from error
    except (MediaUnreadable, LimitExceeded) as error:
        error.param = param
        raise
    check_area(header.width_px, header.height_px, limits, param=param)
    return header


def check_area(width_px: int, height_px: int, limits: MediaLimits, *, param: str | None = None) -> None:
    """Refuse a frame without pixels, or with more than the limits allow."""
    if width_px < 1 or height_px < 1:
        raise MediaUnreadable(f"the picture is {width_px}x{height_px} pixels; it holds nothing", param=param)
    if max(width_px, height_px) > limits.max_side_px or width_px * height_px > limits.max_pixels:
        raise LimitExceeded(
            f"the picture is {width_px}x{height_px} pixels; at most {limits.max_pixels:,} pixels and "
            f"{limits.max_side_px} per side are read. Scale it down first",
            param=param,
        )


def _png(walk: _Walk) -> PictureHeader:
    header = PictureHeader()
    walk.take(8)
    frames = 0
    while True:
        size, kind = int.from_bytes(walk.take(4)), walk.take(4)
        body = walk.take(min(size, 26)) if kind in (b"IHDR", b"acTL", b"fcTL") else b""
        if kind == b"IHDR" and len(body) >= 10:
            header.width_px, header.height_px = int.from_bytes(body[:4]), int.from_bytes(body[4:8])
            header.bit_depth, header.has_alpha = body[8], body[9] in (4, 6)
        elif not header.width_px:
            raise MediaUnreadable("the png file does not start with its header")
        elif kind == b"acTL":
            header.num_frames = max(1, int.from_bytes(body[:4]))
        elif kind == b"fcTL":
            frames += 1
            ticks, per_second = int.from_bytes(body[20:22]), int.from_bytes(body[22:24])
            header.add_delay(ticks / (per_second or 100) or 0.1)
        header.has_alpha |= kind == b"tRNS"
        walk.skip(size - len(body) + 4)
        if kind == b"IEND":
            break
    if header.num_frames > 1 and frames != header.num_frames:
        raise MediaUnreadable(f"the animated png promises {header.num_frames} frames and holds {frames}")
    return header


def _gif(walk: _Walk) -> PictureHeader:
    walk.take(6)
    screen = walk.take(7)
    header = PictureHeader(int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:4], "little"), 0)
    _skip_palette(walk, screen[4])
    delay = 0
    # Some writers forget the trailer byte; a file that ends between blocks is whole.
    while not walk.at_end and (block := walk.take(1)) != b"\x3b":
        if block == b"\x21":
            if walk.take(1) == b"\xf9":
                control = walk.take(5)
                delay = int.from_bytes(control[2:4], "little")
                header.has_alpha |= bool(control[1] & 1)
        elif block == b"\x2c":
            _skip_palette(walk, walk.take(9)[8])
            walk.take(1)
            header.num_frames += 1
            # Browsers and ffmpeg show frames with an impossible delay for a tenth of a second.
            header.add_delay((delay if delay > 1 else 10) / 100)
        else:
            raise MediaUnreadable(f"the gif file holds an unknown block 0x{block.hex()}")
        while count := walk.take(1)[0]:
            walk.skip(count)
    if not header.num_frames:
        raise _Cut
    return header


def _skip_palette(walk: _Walk, flags: int) -> None:
    if flags & 0x80:
        walk.skip(3 << ((flags & 7) + 1))


def _webp(walk: _Walk) -> PictureHeader:
    header = PictureHeader(num_frames=0)
    end = int.from_bytes(walk.take(12)[4:8], "little") + 8
    position = 12
    while position + 8 <= end:
        kind, size = walk.take(4), int.from_bytes(walk.take(4), "little")
        body = walk.take(min(size, 16)) if kind in (b"VP8X", b"VP8 ", b"VP8L", b"ANMF") else b""
        if kind == b"VP8X" and len(body) >= 10:
            header.width_px, header.height_px = _uint24(body, 4) + 1, _uint24(body, 7) + 1
            header.has_alpha = bool(body[0] & 0x10)
        elif kind == b"VP8 " and not header.width_px:
            header.width_px = int.from_bytes(body[6:8], "little") & 0x3FFF
            header.height_px = int.from_bytes(body[8:10], "little") & 0x3FFF
        elif kind == b"VP8L" and not header.width_px:
            bits = int.from_bytes(body[1:5], "little")
            header.width_px, header.height_px = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            header.has_alpha = bool(bits >> 28 & 1)
        elif kind == b"ANMF" and len(body) >= 15:
            header.num_frames += 1
            header.add_delay(_uint24(body, 12) / 1000 or 0.1)
        padded = size + size % 2
        walk.skip(padded - len(body))
        position += 8 + padded
    if not header.width_px:
        raise MediaUnreadable("the webp file holds no picture")
    header.num_frames = max(1, header.num_frames)
    return header


def _uint24(body: bytes, offset: int) -> int:
    return int.from_bytes(body[offset : offset + 3], "little")


def _jpeg(walk: _Walk) -> PictureHeader:
    walk.take(2)
    while True:
        while walk.take(1) != b"\xff":
            pass
        while (marker := walk.take(1)[0]) == 0xFF:
            pass
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue
        if marker in (0xD9, 0xDA):
            raise MediaUnreadable("the jpeg file has no frame header before its data")
        size = int.from_bytes(walk.take(2))
        if size < 2:
            raise MediaUnreadable("the jpeg file holds a broken segment")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = walk.take(6)
            return PictureHeader(int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3]), bit_depth=frame[0])
        walk.skip(size - 2)


_READERS: dict[Container, Callable[[_Walk], PictureHeader]] = {
    Container.PNG: _png,
    Container.GIF: _gif,
    Container.WEBP: _webp,
    Container.JPEG: _jpeg,
}
