"""Measure one video file and print what it holds as JSON. Executed as a script in a limited process.

    python -I probe_child.py FILE DEMUXER MAX_PACKETS MAX_DURATION_S MAX_PIXELS

Walks the packets without decoding them, then decodes one frame: enough to count, to time and to know the pixel format.
Uses PyAV, whose answers do not depend on which ffmpeg binary is installed. Imports nothing of ours.
"""

import itertools
import json
import sys
from typing import Any

import av
import av.logging
from av.sidedata.sidedata import Type

_MAX_TRIES = 512


def measure(path: str, demuxer: str, max_packets: int, max_duration_s: float, max_pixels: int) -> dict[str, Any]:
    """Everything the parent wants to know; keys are read in probe.py."""
    with _open(path, demuxer) as container:
        video = _video_stream(container)
        facts: dict[str, Any] = {"has_audio": any(True for _ in container.streams.audio), "video": None}
        facts["duration_s"] = container.duration / av.time_base if container.duration else 0.0
        if video is None:
            return facts
        facts["video"] = {
            "codec": video.codec_context.name,
            "width_px": video.codec_context.width,
            "height_px": video.codec_context.height,
            "pixel_aspect": _ratio(video.sample_aspect_ratio),
            "rates": [_ratio(video.average_rate), _ratio(video.guessed_rate)],
            "num_declared": video.frames,
            "alpha_mode": video.metadata.get("alpha_mode") == "1",
        }
        if video.codec_context.width * video.codec_context.height > max_pixels:
            return facts
        facts["packets"] = _walk(container, video, max_packets, max_duration_s)
    with _open(path, demuxer) as container:
        facts["frame"] = _first_frame(container)
    return facts


def _open(path: str, demuxer: str) -> Any:
    return av.open(
        f"file:{path}",
        format=demuxer,
        options={"protocol_whitelist": "file"},
        metadata_encoding="utf-8",
        metadata_errors="replace",
    )


def _video_stream(container: Any) -> Any:
    # Cover art of a song is stored as a video stream with one picture.
    attached = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & attached), None)


def _ratio(value: Any) -> list[int] | None:
    return [value.numerator, value.denominator] if value else None


def _walk(container: Any, video: Any, max_packets: int, max_duration_s: float) -> dict[str, Any]:
    times: list[int] = []
    untimed = corrupt = last = 0
    tick_s = float(video.time_base or 0)
    for packet in container.demux(video):
        if packet.size == 0 or packet.is_discard:
            continue
        corrupt += packet.is_corrupt
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None:
            untimed += 1
        else:
            times.append(time)
            last = max(last, time - times[0])
        if len(times) + untimed > max_packets or last * tick_s > max_duration_s:
            break
    times.sort()
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    return {
        "count": len(times) + untimed,
        "corrupt": corrupt,
        "span_s": (times[-1] - times[0]) * tick_s if times else 0.0,
        "min_step_s": steps[0] * tick_s if steps else 0.0,
        "median_step_s": steps[len(steps) // 2] * tick_s if steps else 0.0,
        "max_step_s": steps[-1] * tick_s if steps else 0.0,
        "tick_s": tick_s,
    }


def _first_frame(container: Any) -> dict[str, Any] | None:
    video = _video_stream(container)
    video.codec_context.thread_count = 1
    for tries, packet in enumerate(container.demux(video)):
        for frame in packet.decode():
            return _describe(frame)
        if tries > _MAX_TRIES:
            break
    return None


def _describe(frame: Any) -> dict[str, Any]:
    matrix = next((bytes(data) for data in frame.side_data if data.type == Type.DISPLAYMATRIX), b"")
    numbers = [int.from_bytes(matrix[at : at + 4], sys.byteorder, signed=True) for at in range(0, len(matrix), 4)]
    components = frame.format.components
    return {
        "width_px": frame.width,
        "height_px": frame.height,
        "pixel_format": frame.format.name,
        "bit_depth": max((component.bits for component in components), default=8),
        "has_alpha": any(component.is_alpha for component in components),
        "display_matrix": numbers if len(numbers) == 9 else None,
    }


def main() -> None:
    """Measure the file named in argv; a refusal of the library is an answer, not a crash."""
    path, demuxer, max_packets, max_duration_s, max_pixels = sys.argv[1:]
    av.logging.set_level(av.logging.PANIC)
    try:
        facts = measure(path, demuxer, int(max_packets), float(max_duration_s), int(max_pixels))
    except av.FFmpegError as error:
        facts = {"error": f"{error.strerror or type(error).__name__}"}
    sys.stdout.write(json.dumps(facts))


if __name__ == "__main__":
    main()
