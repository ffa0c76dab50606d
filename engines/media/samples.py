"""Small media files for tests and self-checks: what phones and the web send, and what attackers and accidents send.

    write_sample("rotated.mp4", folder)

Made on the spot with the same ffmpeg that reads them; each takes some milliseconds.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vogue.schemas.errors import EngineError, LimitExceeded, MediaUnreadable, VogueError

from .encode import write_video
from .ffmpeg import find_binary, last_line, run
from .limits import MediaLimits

__all__ = ["GOOD", "HOSTILE", "card", "write_sample"]

_CARD = "testsrc=size={size}:rate={rate}:duration={duration}"


def card(num_frames: int = 8, height_px: int = 48, width_px: int = 80) -> npt.NDArray[np.uint8]:
    """Frames [T, H, W, 3] in which up, left and time can be told: red top left, blue bottom left, brightening."""
    frames = np.full((num_frames, height_px, width_px, 3), 60, np.uint8)
    frames[:, : height_px // 2, : width_px // 2] = (200, 30, 30)
    frames[:, height_px // 2 :, : width_px // 2] = (30, 30, 200)
    frames[:, :, width_px // 2 :] = np.linspace(60, 220, num_frames).astype(np.uint8)[:, None, None, None]
    return frames


def write_sample(name: str, folder: Path) -> Path:
    """Write the sample called `name` (a key of `GOOD` or `HOSTILE`) into `folder` and return its path."""
    path = folder / name
    if name in GOOD:
        GOOD[name](path)
    else:
        HOSTILE[name][0](path)
    return path


def _ffmpeg(path: Path, *arguments: str) -> None:
    outcome = run(["-hide_banner", "-nostdin", "-loglevel", "error", *arguments, "-y", f"file:{path}"], MediaLimits())
    if outcome.returncode != 0:
        raise EngineError(f"sample {path.name} could not be made: {last_line(outcome.stderr)}")


def _source(size: str = "80x48", rate: str = "24", duration: str = "0.5") -> tuple[str, ...]:
    return "-f", "lavfi", "-i", _CARD.format(size=size, rate=rate, duration=duration)


def _clip(path: Path) -> None:
    write_video(card(), 24, path)


def _with_matrix(*matrix: int) -> Callable[[Path], None]:
    """A phone's way to say which way up: a display matrix in the track header, pixels as the sensor saw them."""

    def write(path: Path) -> None:
        _clip(path)
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 4 + 40
        one, unit = 1 << 16, 1 << 30
        a, b, c, d = (value * one for value in matrix)
        data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, unit)
        path.write_bytes(data)

    return write


def _variable_rate(path: Path) -> None:
    # Ten frames at 30 per second, a gap of half a second, five more.
    pause = "setpts='(N+gte(N,10)*15)/30/TB'"
    option, value = find_binary().passthrough
    _ffmpeg(path, *_source(rate="30"), "-vf", pause, f"-{option}", value, "-c:v", "libx264", "-pix_fmt", "yuv420p")


def _from_card(*arguments: str, **source: str) -> Callable[[Path], None]:
    return lambda path: _ffmpeg(path, *_source(**source), *arguments)


def _with_sound(path: Path) -> None:
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=2")
    _ffmpeg(path, *_source(duration="1"), *tone, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac")


def _sound_alone(path: Path) -> None:
    _ffmpeg(path, "-f", "lavfi", "-i", "sine=frequency=440:duration=1", "-c:a", "aac", "-f", "mp4")


def _song_with_cover(path: Path) -> None:
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1")
    _ffmpeg(path, *tone, *_source(duration="0.01"), "-c:v", "png", "-disposition:v", "attached_pic", "-f", "ipod")


def _animated_webp(path: Path) -> None:
    first, *rest = [Image.fromarray(frame) for frame in card(5)]
    first.save(path, "WEBP", save_all=True, append_images=rest, duration=50, lossless=True)


def _picture(mode: str, **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        Image.fromarray(card(1)[0]).convert(mode).save(path, **options)  # type: ignore[arg-type]

    return write


def _deep_png(path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 48 * 80).astype(np.uint16).reshape(48, 80)).save(path)


def _exif_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(card(1)[0]).save(path, quality=95, exif=exif)


def _misnamed_png(path: Path) -> None:
    Image.fromarray(card(1)[0]).save(path, "PNG")


GOOD: dict[str, Callable[[Path], None]] = {
    "clip.mp4": _clip,
    "rotated.mp4": _with_matrix(0, 1, -1, 0),
    "upside-down.mp4": _with_matrix(-1, 0, 0, -1),
    "mirrored.mp4": _with_matrix(-1, 0, 0, 1),
    "variable-rate.mp4": _variable_rate,
    "one-frame.mp4": _from_card("-frames:v", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "ten-bit.mp4": _from_card("-c:v", "libx264", "-pix_fmt", "yuv420p10le"),
    "phone-hdr.mp4": _from_card("-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-pix_fmt", "yuv420p10le"),
    "odd-size.webm": _from_card("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", size="81x47"),
    "alpha.webm": _from_card("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"),
    "live.webm": _from_card("-c:v", "libvpx", "-pix_fmt", "yuv420p", "-live", "1", "-f", "webm"),
    "anamorphic.mov": _from_card("-vf", "setsar=3/2", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "camera.avi": _from_card("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-strict", "unofficial"),
    "sound.mp4": _with_sound,
    "animation.gif": _clip,
    "animation.png": _from_card("-f", "apng", "-plays", "0", duration="0.25"),
    "animation.webp": _animated_webp,
    "still.gif": _picture("P"),
    "still.png": _picture("RGB"),
    "still.webp": _picture("RGB"),
    "grey.png": _picture("L"),
    "alpha.png": _picture("RGBA"),
    "palette.png": _picture("P"),
    "deep.png": _deep_png,
    "cmyk.jpg": _picture("CMYK", quality=95),
    "turned.jpg": _exif_turned,
    "png-named.jpg": _misnamed_png,
}
"""Files that must be read, by name."""


def _text(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _cut(source: str, keep: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        whole = path.with_name("whole" + Path(source).suffix)
        GOOD[source](whole)
        data = whole.read_bytes()
        whole.unlink()
        path.write_bytes(data[: int(len(data) * keep)])

    return write


def _scrambled(path: Path) -> None:
    _clip(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 4
    data[at + 200 :] = np.random.default_rng(0).bytes(len(data) - at - 200)
    path.write_bytes(data)


def _png_bomb(path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(20_000 * 3 + 1))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _long_clip(path: Path) -> None:
    write_video(card(12, 32, 32), Fraction(1, 900), path)


HOSTILE: dict[str, tuple[Callable[[Path], None], type[VogueError]]] = {
    "empty.mp4": (_text(b""), MediaUnreadable),
    "text.mp4": (_text(b"this is not a video, it only says so\n" * 20), MediaUnreadable),
    "page.png": (_text(b"<!DOCTYPE html><html><body>404</body></html>"), MediaUnreadable),
    "drawing.png": (_text(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'), MediaUnreadable),
    "playlist.mp4": (_text(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), MediaUnreadable),
    "concat.mp4": (_text(b"ffconcat version 1.0\nfile /etc/passwd\n"), MediaUnreadable),
    "noise.mp4": (_text(np.random.default_rng(1).bytes(5000)), MediaUnreadable),
    "audio-only.mp4": (_sound_alone, MediaUnreadable),
    "song-with-cover.m4a": (_song_with_cover, MediaUnreadable),
    "truncated.mp4": (_cut("clip.mp4", 0.7), MediaUnreadable),
    "truncated-index.mp4": (_cut("ten-bit.mp4", 0.7), MediaUnreadable),
    "truncated.webm": (_cut("odd-size.webm", 0.6), MediaUnreadable),
    "truncated.avi": (_cut("camera.avi", 0.6), MediaUnreadable),
    "truncated.gif": (_cut("animation.gif", 0.6), MediaUnreadable),
    "truncated.png": (_cut("still.png", 0.6), MediaUnreadable),
    "truncated.webp": (_cut("still.webp", 0.6), MediaUnreadable),
    "truncated.jpg": (_cut("turned.jpg", 0.6), MediaUnreadable),
    "scrambled.mp4": (_scrambled, MediaUnreadable),
    "bomb.png": (_png_bomb, LimitExceeded),
    "three-hours.mp4": (_long_clip, LimitExceeded),
}
"""Files that must be refused, by name, with the error they get."""
