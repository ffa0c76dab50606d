"""From uint8 RGB frames to files that browsers play. A file appears whole or not at all."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vogue.schemas.errors import EngineError, JobCancelled, LimitExceeded, MediaUnreadable, RequestInvalid

from .ffmpeg import encode_arguments, failure, last_line, run
from .frames import check_frames
from .limits import MediaLimits
from .sniff import Container, sniff_file

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "write_image", "write_video"]

VIDEO_SUFFIXES = (".mp4", ".webm", ".gif")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

_IMAGE_OPTIONS: dict[str, dict[str, object]] = {
    ".png": {"format": "PNG", "compress_level": 6},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True},
}


def write_image(image: npt.NDArray[np.uint8], path: Path, *, texts: Mapping[str, str] | None = None) -> None:
    """Write one picture, uint8 [H, W, 3] or [1, H, W, 3]; the suffix of `path` names the format.

    `texts` by keyword go into a png's text chunks.

    Raises:
        RequestInvalid: another suffix.
        MediaUnreadable: another dtype or shape.
    """
    path = Path(path)
    options = _IMAGE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise RequestInvalid(f"pictures are written as {', '.join(IMAGE_SUFFIXES)}, not {path.suffix!r}")
    frames = check_frames(image if image.ndim == 4 else image[None])
    if len(frames) != 1:
        raise MediaUnreadable(f"a picture has one frame; got {len(frames)}")
    if texts and options["format"] == "PNG":
        chunks = PngInfo()
        for keyword, text in texts.items():
            chunks.add_itxt(keyword, text)
        options = options | {"pnginfo": chunks}
    with _in_one_step(path) as partial:
        Image.fromarray(frames[0]).save(partial, **options)  # type: ignore[arg-type]


def write_video(
    frames: npt.NDArray[np.uint8],
    fps: Fraction | float,
    path: Path,
    *,
    audio_from: Path | None = None,
    audio_start_s: float = 0.0,
    comment: str | None = None,
    limits: MediaLimits | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Write frames [T, H, W, 3] at `fps` frames per second; the suffix of `path` names the format.

    `.mp4` is H.264 4:2:0 with the index first, `.webm` VP9, `.gif` one optimised palette. Video needs even sides: an odd
    one gains a repeated row or column. `audio_from` lends its first sound track, if it has one, from `audio_start_s` and
    cut to the length of the clip (not for gif). Equal calls with the same ffmpeg give equal bytes.

    Raises:
        RequestInvalid: another suffix, or a rate that is not positive.
        MediaUnreadable: frames of another dtype or shape, or a sound track that cannot be decoded.
        LimitExceeded: the encoder needs too much time, memory or space.
        JobCancelled: `cancel` was set; nothing is left behind.
    """
    limits = limits or MediaLimits()
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        raise RequestInvalid(f"videos are written as {', '.join(VIDEO_SUFFIXES)}, not {path.suffix!r}")
    if not 0 < fps <= 1000:
        raise RequestInvalid(f"a video cannot have {fps} frames per second")
    rate = Fraction(fps).limit_denominator(1001)
    frames = check_frames(frames)
    odd = (0, 0) if suffix == ".gif" else (frames.shape[1] % 2, frames.shape[2] % 2)
    audio = None
    if audio_from is not None and suffix != ".gif":
        audio = _audio_track(Path(audio_from), limits, audio_start_s, float(len(frames) / rate))
    with _in_one_step(path) as partial:
        arguments = encode_arguments(
            partial,
            suffix,
            height_px=frames.shape[1] + odd[0],
            width_px=frames.shape[2] + odd[1],
            fps=rate,
            audio=audio,
            comment=comment,
        )
        outcome = run(arguments, limits, feed=_even(frames, odd), cancel=cancel)
        if outcome.returncode != 0 or outcome.stopped:
            error = failure(outcome, limits, "encoding the video")
            if audio is None and not isinstance(error, LimitExceeded | JobCancelled):
                # Our own frames cannot be at fault.
                raise EngineError(f"encoding the video failed: {last_line(outcome.stderr)}")
            raise error


def _audio_track(
    source: Path, limits: MediaLimits, start_s: float, length_s: float
) -> tuple[Path, Container, float, float] | None:
    container = sniff_file(source, limits)
    return None if container.is_picture else (source, container, start_s, length_s)


def _even(frames: npt.NDArray[np.uint8], odd: tuple[int, int]) -> Iterator[memoryview]:
    for frame in frames:
        padded = np.pad(frame, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge") if any(odd) else frame
        yield padded.data.cast("B")


@contextlib.contextmanager
def _in_one_step(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        partial = Path(folder) / f"out{path.suffix.lower()}"
        yield partial
        partial.replace(path)
