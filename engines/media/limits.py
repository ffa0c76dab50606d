"""How much of a stranger's file we are willing to read."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["MediaLimits"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """Bounds on one media file and on the process that decodes or encodes it.

    The defaults admit what phones and cameras make (50-megapixel stills, 8K video, half an hour) and refuse what only
    an attacker or a mistake sends.

    Raises:
        ValueError: a bound is not positive.
    """

    max_bytes: int = 512 * _MIB
    """Size of an input file."""
    max_pixels: int = 64_000_000
    """Area of one frame, before any resize."""
    max_side_px: int = 16_384
    max_duration_s: float = 1800.0
    max_frames: int = 1024
    """Frames decoded by one call."""
    max_packets: int = 500_000
    """Packets, chunks or blocks walked while a file is measured."""
    wall_time_s: float = 120.0
    memory_bytes: int = 3072 * _MIB
    """Address space of a child process."""
    max_output_bytes: int = 2048 * _MIB
    """Decoded pixels of one call, or the size of one encoded file."""
    threads: int = 2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"media limit {field.name} is {value}; it must be positive")
