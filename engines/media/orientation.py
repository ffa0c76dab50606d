"""Which way up stored pixels are shown: EXIF orientations and video display matrices in one form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["UPRIGHT", "Orientation"]

# EXIF tag 0x0112: (clockwise degrees, mirrored first).
_EXIF = {
    1: (0, False),
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (270, True),
    6: (90, False),
    7: (90, True),
    8: (270, False),
}

_FILTERS = {0: (), 90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}


@dataclass(frozen=True, slots=True)
class Orientation:
    """How to turn stored pixels upright: first mirror left to right if `mirrored`, then rotate clockwise."""

    rotation_deg: int = 0
    """Clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False

    @classmethod
    def from_exif(cls, tag: object) -> Orientation:
        """The orientation of an EXIF tag; anything but 1–8 means upright, as viewers take it."""
        return cls(*_EXIF[tag]) if isinstance(tag, int) and tag in _EXIF else cls()

    @classmethod
    def from_display_matrix(cls, matrix: tuple[int, ...]) -> Orientation:
        """The orientation of a 3x3 display matrix in row order (ISO 14496-12: p' = p · M, y down).

        Only right angles exist in practice; others go to the nearest one. A degenerate matrix means upright.
        """
        a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
        determinant = a * d - b * c
        if determinant == 0:
            return cls()
        mirrored = determinant < 0
        # Undo the mirror (x → -x, done first), so that what is left is a pure rotation.
        angle = math.degrees(math.atan2(-b, -a) if mirrored else math.atan2(b, a))
        return cls(round(angle / 90) * 90 % 360, mirrored)

    @property
    def swaps_sides(self) -> bool:
        """True when height and width change places."""
        return self.rotation_deg in (90, 270)

    @property
    def filters(self) -> tuple[str, ...]:
        """ffmpeg filters that turn stored frames upright."""
        return (("hflip",) if self.mirrored else ()) + _FILTERS[self.rotation_deg]

    def apply(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn one picture [H, W, C] upright; contiguous."""
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels, k=-self.rotation_deg // 90))


UPRIGHT = Orientation()
