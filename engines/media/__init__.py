"""Media files in and out: `probe`, `read_image`, `read_video`, `write_image`, `write_video`, and the frame file.

Files come from strangers. Their content, not their name, says what they are; ffmpeg and the video probe run as limited
processes; every failure is a typed error of `vogue.schemas.errors`.
"""

from .decode import DecodedVideo, read_image, read_video
from .encode import IMAGE_SUFFIXES, VIDEO_SUFFIXES, write_image, write_video
from .frames import frames_from_bytes, frames_to_bytes, load_frames, save_frames
from .limits import MediaLimits
from .probe import DEFAULT_FPS, MediaInfo, probe
from .sniff import Container, sniff_bytes, sniff_file

__all__ = [
    "DEFAULT_FPS",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Container",
    "DecodedVideo",
    "MediaInfo",
    "MediaLimits",
    "frames_from_bytes",
    "frames_to_bytes",
    "load_frames",
    "probe",
    "read_image",
    "read_video",
    "save_frames",
    "sniff_bytes",
    "sniff_file",
    "write_image",
    "write_video",
]
