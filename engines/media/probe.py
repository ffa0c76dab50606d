"""What a media file holds, found out before anything is done with it.

Pictures are measured from their headers; videos by a child process with limits, never in the caller's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vogue.schemas.errors import LimitExceeded, MediaUnreadable

from .boxes import check_whole
from .ffmpeg import failure
from .headers import check_area, read_header
from .limits import MediaLimits
from .orientation import UPRIGHT, Orientation
from .process import run_limited
from .sniff import Container, sniff_file
from .stills import read_facts

__all__ = ["DEFAULT_FPS", "MediaInfo", "probe"]

DEFAULT_FPS = Fraction(24)
"""For clips of one frame that name no rate (NUMERICS.md, Guidance and schedule: 24 fps)."""

_CHILD = Path(__file__).with_name("probe_child.py")
_ANSWER_BYTES = 65_536
_GIF_TICK_S = 0.0101
"""Delays that differ by one hundredth of a second are a constant rate, rounded."""
_MIN_FPS, _MAX_FPS = Fraction(1, 10), Fraction(240)
_VIDEO_CODECS = {
    *("h264", "hevc", "vp8", "libvpx", "vp9", "libvpx-vp9", "av1", "libdav1d", "libaom-av1"),
    *("mpeg4", "msmpeg4v3", "mpeg2video", "mpeg1video", "h263", "mjpeg", "prores", "dvvideo"),
    *("gif", "png", "apng", "rawvideo", "ffv1"),
}


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file holds. Sizes are as shown: upright and with square pixels."""

    kind: Literal["image", "video", "audio"]
    container: Container
    width_px: int = 0
    height_px: int = 0
    num_frames: int | None = None
    """Frames as stored; a few may turn out to be undecodable. None for audio."""
    duration_s: float = 0.0
    fps: Fraction | None = None
    """Frames per second: the average when frame times vary. None for images and audio."""
    orientation: Orientation = UPRIGHT
    """How stored pixels are turned to be shown; readers do it."""
    has_audio: bool = False
    has_alpha: bool = False
    """The file has transparency; readers drop it (NUMERICS.md, Latents)."""
    codec: str = ""
    pixel_format: str = ""
    bit_depth: int = 8
    variable_frame_rate: bool = False

    @property
    def rotation_deg(self) -> int:
        """Clockwise turn that readers apply: 0, 90, 180 or 270."""
        return self.orientation.rotation_deg


def probe(path: Path, limits: MediaLimits | None = None, *, param: str | None = None) -> MediaInfo:
    """Measure a media file of any accepted kind.

    `param` is the request field that errors name.

    Raises:
        MediaUnreadable: empty, text, corrupt, truncated, or in a format that is not accepted.
        LimitExceeded: too many bytes, pixels, frames or seconds.
    """
    limits = limits or MediaLimits()
    path = Path(path)
    container = sniff_file(path, limits, param=param)
    if container.is_picture:
        return _probe_picture(path, container, limits, param)
    check_whole(path, container, param=param)
    return _probe_video(path, container, limits, param)


def _probe_picture(path: Path, container: Container, limits: MediaLimits, param: str | None) -> MediaInfo:
    header = read_header(path, container, limits, param=param)
    facts = read_facts(path, container, param=param)
    if facts.size != (header.width_px, header.height_px):
        raise MediaUnreadable(f"the {container} file contradicts itself about its size", param=param)
    moving = header.num_frames > 1
    # Animations are shown as stored: no viewer turns them.
    orientation = UPRIGHT if moving else facts.orientation
    width, height = facts.size
    if orientation.swaps_sides:
        width, height = height, width
    if moving:
        _check_length(header.duration_s, limits, param)
    return MediaInfo(
        kind="video" if moving else "image",
        container=container,
        width_px=width,
        height_px=height,
        num_frames=header.num_frames,
        duration_s=header.duration_s if moving else 0.0,
        fps=_clamp(Fraction(header.num_frames / header.duration_s)) if moving else None,
        orientation=orientation,
        has_alpha=header.has_alpha,
        codec=str(container),
        pixel_format=facts.mode,
        bit_depth=header.bit_depth,
        variable_frame_rate=header.longest_s - header.shortest_s > _GIF_TICK_S,
    )


def _probe_video(path: Path, container: Container, limits: MediaLimits, param: str | None) -> MediaInfo:
    facts = _ask_child(path, container, limits, param)
    video = facts["video"]
    if video is None:
        if not facts["has_audio"]:
            raise MediaUnreadable(f"the {container} file holds neither pictures nor sound", param=param)
        return MediaInfo("audio", container, duration_s=facts["duration_s"], has_audio=True)
    if video["codec"] not in _VIDEO_CODECS:
        raise MediaUnreadable(f"video codec {video['codec']!r} is not read; use h264, hevc, vp9 or av1", param=param)
    _check_length(facts["duration_s"], limits, param)
    check_area(video["width_px"], video["height_px"], limits, param=param)
    packets, frame = facts["packets"], facts["frame"]
    _check_packets(packets, limits, param)
    if frame is None:
        raise MediaUnreadable("no frame of the video can be decoded", param=param)
    check_area(frame["width_px"], frame["height_px"], limits, param=param)

    orientation = UPRIGHT
    if frame["display_matrix"]:
        orientation = Orientation.from_display_matrix(tuple(frame["display_matrix"]))
    width, height = _square_pixels(frame["width_px"], video["pixel_aspect"]), frame["height_px"]
    if orientation.swaps_sides:
        width, height = height, width
    fps = _rate(packets, [Fraction(*rate) for rate in video["rates"] if rate])
    return MediaInfo(
        kind="video",
        container=container,
        width_px=width,
        height_px=height,
        num_frames=packets["count"],
        duration_s=float(packets["count"] / fps),
        fps=fps,
        orientation=orientation,
        has_audio=facts["has_audio"],
        has_alpha=frame["has_alpha"] or video["alpha_mode"],
        codec=video["codec"],
        pixel_format=frame["pixel_format"],
        bit_depth=frame["bit_depth"],
        variable_frame_rate=_varies(packets),
    )


def _ask_child(path: Path, container: Container, limits: MediaLimits, param: str | None) -> dict[str, Any]:
    answer = bytearray(_ANSWER_BYTES)
    numbers = [str(limits.max_packets), str(limits.max_duration_s), str(limits.max_pixels)]
    demuxer = container.demuxer or ""
    command = [sys.executable, "-I", str(_CHILD), str(path.absolute()), demuxer, *numbers]
    outcome = run_limited(command, limits, into=memoryview(answer))
    if outcome.returncode != 0 or outcome.stopped:
        raise failure(outcome, limits, "measuring the video", param=param)
    facts: dict[str, Any] = json.loads(answer[: outcome.bytes_read])
    if "error" in facts:
        raise MediaUnreadable(f"the {container} file is damaged: {facts['error']}", param=param)
    return facts


def _check_length(duration_s: float, limits: MediaLimits, param: str | None) -> None:
    if duration_s > limits.max_duration_s:
        raise LimitExceeded(
            f"the video is {duration_s:,.0f} s long; at most {limits.max_duration_s:,.0f} s are read. Cut it first",
            param=param,
        )


def _check_packets(packets: dict[str, Any], limits: MediaLimits, param: str | None) -> None:
    _check_length(packets["span_s"], limits, param)
    if packets["count"] > limits.max_packets:
        raise LimitExceeded(f"the video has more than {limits.max_packets:,} frames", param=param)
    if not packets["count"]:
        raise MediaUnreadable("the video stream holds no frames", param=param)
    if packets["corrupt"]:
        raise MediaUnreadable(f"{packets['corrupt']} packets of the video are incomplete", param=param)


def _square_pixels(width_px: int, pixel_aspect: list[int] | None) -> int:
    aspect = Fraction(*pixel_aspect) if pixel_aspect else Fraction(1)
    # Beyond 4:1 a pixel aspect is a broken header, not an anamorphic lens.
    return max(1, round(width_px * aspect)) if Fraction(1, 4) <= aspect <= 4 else width_px


def _rate(packets: dict[str, Any], declared: list[Fraction]) -> Fraction:
    """Frames per second: a declared rate when the frame times confirm it, else their average."""
    if packets["count"] < 2 or packets["span_s"] <= 0:
        return next((rate for rate in declared if 1 <= rate <= 120), DEFAULT_FPS)
    measured = (packets["count"] - 1) / packets["span_s"]
    tolerance = max(0.01, 2 * packets["tick_s"] / packets["span_s"])
    for rate in declared:
        if abs(float(rate) / measured - 1) <= tolerance:
            return _clamp(rate)
    return _clamp(Fraction(measured))


def _clamp(rate: Fraction) -> Fraction:
    return min(max(rate, _MIN_FPS), _MAX_FPS).limit_denominator(1001)


def _varies(packets: dict[str, Any]) -> bool:
    # Containers with coarse clocks (webm: 1 ms) round steps; that is not a variable rate.
    slack_s = max(0.1 * packets["median_step_s"], 2 * packets["tick_s"], 0.002)
    return bool(packets["max_step_s"] - packets["min_step_s"] > slack_s)
