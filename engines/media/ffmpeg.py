"""The one place that knows ffmpeg: finds the binary, composes argument lists, runs it, and names what went wrong.

Every input gets a forced demuxer (chosen by content, never by name) and a protocol whitelist, so that no file can make
ffmpeg open another file or the network. No command ever passes through a shell.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

from vogue.schemas.errors import EngineError, JobCancelled, LimitExceeded, MediaUnreadable, VogueError

from .limits import MediaLimits
from .orientation import Orientation
from .process import Outcome, run_limited
from .sniff import Container

__all__ = ["Binary", "decode_arguments", "encode_arguments", "failure", "find_binary", "last_line", "run"]

_GLOBALS = ("-hide_banner", "-nostdin", "-loglevel", "error", "-filter_threads", "1", "-filter_complex_threads", "1")
_BITEXACT = {"fflags": "+bitexact", "flags:v": "+bitexact", "flags:a": "+bitexact", "map_metadata": -1}
_BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}

_MP4 = {
    **_BT709,
    "format": "mp4",
    "c:v": "libx264",
    "pix_fmt": "yuv420p",
    "profile:v": "high",
    "preset": "fast",
    "crf": 17,
    "movflags": "+faststart",
    "c:a": "aac",
    "b:a": "192k",
}
_WEBM = {
    **_BT709,
    "format": "webm",
    "c:v": "libvpx-vp9",
    "pix_fmt": "yuv420p",
    "crf": 20,
    "b:v": 0,
    "deadline": "good",
    "cpu-used": 4,
    "c:a": "libopus",
    "b:a": "128k",
}
_GIF = {"format": "gif", "loop": 0}


@dataclass(frozen=True, slots=True)
class Binary:
    """An ffmpeg that can do what we need."""

    path: str
    version: str
    passthrough: tuple[str, str]
    """The output option that writes each decoded frame exactly once, whatever its time."""


@functools.cache
def find_binary() -> Binary:
    """Find ffmpeg: `VOGUE_FFMPEG`, then PATH, then imageio-ffmpeg's wheel; the first that encodes H.264.

    Raises:
        EngineError: none works; the message lists what was tried.
    """
    tried = []
    for candidate in (os.environ.get("VOGUE_FFMPEG"), shutil.which("ffmpeg"), _wheel_binary()):
        if not candidate:
            continue
        version, encoders = _ask(candidate, "-version"), _ask(candidate, "-encoders")
        if " libx264 " in encoders:
            return Binary(candidate, version.split("\n")[0], _passthrough(version))
        tried.append(f"{candidate} ({'without libx264' if version else 'does not run'})")
    raise EngineError(
        f"no usable ffmpeg; tried: {', '.join(tried) or 'nothing'}. Install the package imageio-ffmpeg, or an ffmpeg "
        "with libx264 on PATH"
    )


def _wheel_binary() -> str | None:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


def _ask(binary: str, question: str) -> str:
    try:
        answer = subprocess.run(
            [binary, "-hide_banner", question], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def _passthrough(version: str) -> tuple[str, str]:
    # `-fps_mode` came with ffmpeg 5.1 (libavcodec 59.37); `-vsync`, its older name, is gone from 9.
    found = re.search(r"libavcodec\s+(\d+)\.\s*(\d+)", version)
    modern = found is None or (int(found[1]), int(found[2])) >= (59, 37)
    return ("fps_mode" if modern else "vsync", "passthrough")


def open_input(path: Path, container: Container, **options: Any) -> Any:
    """A node for a stranger's file: forced demuxer, local files only, bounded picture size."""
    return ffmpeg.input(f"file:{path.absolute()}", format=container.demuxer, protocol_whitelist="file", **options)


def decode_arguments(
    path: Path,
    container: Container,
    *,
    orientation: Orientation,
    height_px: int,
    width_px: int,
    num_frames: int,
    start: int,
    stride: int,
    limits: MediaLimits,
) -> list[str]:
    """Arguments that write `num_frames` upright frames [H, W, 3] as raw RGB to stdout.

    Resizing is swscale's bilinear, from YUV to RGB in the same step, as decord does it (NUMERICS.md, Latents).
    """
    source = open_input(path, container, noautorotate=None, threads=limits.threads, max_pixels=limits.max_pixels)
    frames = source["v:0"]
    if start:
        frames = frames.filter("trim", start_frame=start)
    if stride > 1:
        frames = frames.filter("framestep", step=stride)
    for turn in orientation.filters:
        name, _, value = turn.partition("=")
        frames = frames.filter(name, value) if value else frames.filter(name)
    frames = frames.filter("scale", width_px, height_px, flags="bilinear").filter("format", "rgb24")
    name, value = find_binary().passthrough
    output = frames.output("pipe:1", format="rawvideo", **{"frames:v": num_frames, name: value})
    return [*_GLOBALS, "-xerror", *ffmpeg.get_args(output)]


def encode_arguments(
    target: Path,
    suffix: str,
    *,
    height_px: int,
    width_px: int,
    fps: Fraction,
    audio: tuple[Path, Container, float, float] | None = None,
    comment: str | None = None,
) -> list[str]:
    """Arguments that read raw RGB frames [H, W, 3] from stdin and write a video file.

    `suffix` is `.mp4`, `.webm` or `.gif`; `audio` is (file, container, start in s, length in s). Same frames, same
    binary, same bytes: no dates, no random ids, a fixed number of threads.
    """
    rate = f"{fps.numerator}/{fps.denominator}"
    frames = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt="rgb24",
        s=f"{width_px}x{height_px}",
        framerate=rate,
        protocol_whitelist="pipe",
    ).video
    if suffix == ".gif":
        split = frames.filter_multi_output("split")
        palette = split[1].filter("palettegen", stats_mode="diff")
        streams, settings = [ffmpeg.filter([split[0], palette], "paletteuse")], _GIF
    else:
        streams = [frames.filter("scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd")]
        settings = _MP4 if suffix == ".mp4" else _WEBM
        if audio is not None:
            path, container, start_s, length_s = audio
            streams.append(open_input(path, container, ss=f"{start_s:.6f}", t=f"{length_s:.6f}")["a:0?"])
    extra: dict[str, Any] = {"threads": 2, **_BITEXACT}
    if comment is not None:
        extra["metadata"] = f"comment={comment}"
    output = ffmpeg.output(*streams, f"file:{target.absolute()}", **settings, **extra)
    return [*_GLOBALS, *ffmpeg.get_args(output), "-y"]


def run(
    arguments: list[str],
    limits: MediaLimits,
    *,
    feed: Iterable[memoryview] | None = None,
    into: memoryview | None = None,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Run ffmpeg in its own limited process (see `run_limited`)."""
    return run_limited([find_binary().path, *arguments], limits, feed=feed, into=into, cancel=cancel)


def failure(outcome: Outcome, limits: MediaLimits, doing: str, *, param: str | None = None) -> VogueError:
    """The typed error for a child that did not succeed; `doing` is like "decoding the video"."""
    if outcome.stopped == "cancel":
        return JobCancelled(f"cancelled while {doing}")
    if outcome.stopped == "deadline" or outcome.returncode == -signal.SIGXCPU:
        return LimitExceeded(f"{doing} took longer than {limits.wall_time_s:g} s", param=param)
    if outcome.stopped == "output" or outcome.returncode == -signal.SIGXFSZ or "File too large" in outcome.stderr:
        return LimitExceeded(f"{doing} produced more than {limits.max_output_bytes:,} bytes", param=param)
    if "Cannot allocate memory" in outcome.stderr or "MemoryError" in outcome.stderr:
        return LimitExceeded(f"{doing} needs more than {limits.memory_bytes:,} bytes of memory", param=param)
    if outcome.returncode < 0:
        return MediaUnreadable(f"{doing} crashed the decoder (signal {-outcome.returncode})", param=param)
    return MediaUnreadable(f"{doing} failed: {last_line(outcome.stderr)}", param=param)


def last_line(stderr: str) -> str:
    """The last thing a child said, without addresses and paths of this machine."""
    lines = [line for line in stderr.strip().splitlines() if "Conversion failed" not in line and line.strip()]
    line = re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", lines[-1] if lines else "no message")
    line = re.sub(r"(?:file:)?(?<![\w/])/[^\s:'\"]+", "the file", line)
    return line.strip()[:200]
