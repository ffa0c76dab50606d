"""From a media file to uint8 RGB frames.

Frames are taken as stored, one by one from the first, whatever their times: frame i is the i-th picture shown. A clip with
a variable rate thus keeps every frame, and its average rate keeps its length. 10-bit video becomes 8-bit, alpha is
dropped, rotation is applied (NUMERICS.md, Latents).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vogue.schemas.errors import LimitExceeded, MediaUnreadable, RequestInvalid

from .ffmpeg import decode_arguments, failure, run
from .headers import check_area
from .limits import MediaLimits
from .probe import DEFAULT_FPS, MediaInfo, probe
from .sniff import Container
from .stills import decode_animation, decode_still

__all__ = ["DecodedVideo", "read_image", "read_video"]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedVideo:
    """Frames of a video, upright and in order."""

    frames: npt.NDArray[np.uint8]
    """[T, H, W, 3]."""
    fps: Fraction
    """Frames per second of `frames`: the source's rate divided by the stride."""
    info: MediaInfo
    cut: bool
    """The source goes on after the last frame read."""


def read_image(path: Path, limits: MediaLimits | None = None, *, param: str | None = None) -> npt.NDArray[np.uint8]:
    """Read a picture (the first frame of an animation): uint8 [H, W, 3], upright, at its own size.

    Raises:
        MediaUnreadable: not a picture, corrupt or truncated.
        LimitExceeded: too large.
    """
    limits = limits or MediaLimits()
    info = probe(path, limits, param=param)
    if not info.container.is_picture:
        raise MediaUnreadable(f"the file is {info.kind} ({info.container}), not a picture", param=param)
    return decode_still(Path(path), info.container, param=param)


def read_video(
    path: Path,
    limits: MediaLimits | None = None,
    *,
    max_frames: int,
    start: int = 0,
    stride: int = 1,
    size: tuple[int, int] | None = None,
    param: str | None = None,
    cancel: threading.Event | None = None,
) -> DecodedVideo:
    """Decode at most `max_frames` frames: `start`, `start + stride`, … Nothing after the last one is decoded.

    `size` is (height, width) in pixels as shown; the decoder resizes bilinearly. Default: the source's own size.

    Raises:
        MediaUnreadable: a still picture, audio alone, corrupt, truncated, or shorter than `start`.
        LimitExceeded: too many bytes, pixels, seconds or frames, or the decoder needs too much time or memory.
        JobCancelled: `cancel` was set; the decoder is dead when this is raised.
    """
    limits = limits or MediaLimits()
    if max_frames < 1 or start < 0 or stride < 1:
        raise RequestInvalid(f"cannot read {max_frames} frames from {start} by {stride}", param=param)
    path = Path(path)
    info = probe(path, limits, param=param)
    if info.kind != "video" or info.num_frames is None:
        raise MediaUnreadable(f"the file is {_ARTICLE[info.kind]}, not a video", param=param)
    height, width = size or (info.height_px, info.width_px)
    check_area(width, height, limits, param=param)
    indices = range(start, info.num_frames, stride)[:max_frames]
    if not indices:
        raise MediaUnreadable(f"the video has {info.num_frames} frames; none at {start}", param=param)
    size_bytes = len(indices) * height * width * 3
    if len(indices) > limits.max_frames or size_bytes > limits.max_output_bytes:
        raise LimitExceeded(
            f"{len(indices)} frames of {width}x{height} are {size_bytes:,} bytes; at most {limits.max_frames} frames and "
            f"{limits.max_output_bytes:,} bytes are decoded at once",
            param=param,
        )
    if info.container is Container.WEBP:
        frames = decode_animation(
            path, info.container, indices=indices, size=(height, width), limits=limits, param=param
        )
    else:
        frames = _decode(path, info, indices, (height, width), limits, param, cancel)
    cut = indices[-1] + 1 < info.num_frames
    return DecodedVideo(frames, (info.fps or DEFAULT_FPS) / stride, info, cut)


_ARTICLE = {"image": "a still picture", "audio": "audio alone"}


def _decode(
    path: Path,
    info: MediaInfo,
    indices: range,
    size: tuple[int, int],
    limits: MediaLimits,
    param: str | None,
    cancel: threading.Event | None,
) -> npt.NDArray[np.uint8]:
    height, width = size
    arguments = decode_arguments(
        path,
        info.container,
        orientation=info.orientation,
        height_px=height,
        width_px=width,
        num_frames=len(indices),
        start=indices.start,
        stride=indices.step,
        limits=limits,
    )
    frames = np.empty((len(indices), height, width, 3), np.uint8)
    outcome = run(arguments, limits, into=frames.data.cast("B"), cancel=cancel)
    if outcome.returncode != 0 or outcome.stopped:
        raise failure(outcome, limits, "decoding the video", param=param)
    count = outcome.bytes_read // (height * width * 3)
    if count == 0:
        raise MediaUnreadable("no frame of the video could be decoded", param=param)
    # Some packets carry no picture of their own, so a few frames less than counted are no damage.
    return frames[:count]
