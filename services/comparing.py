"""Two results held against each other: how far apart their pixels are, and one picture of both."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["psnr_db", "side_by_side"]

_GAP_PX = 4
Frames = NDArray[np.uint8]


def psnr_db(a: Frames, b: Frames) -> float | None:
    """Peak signal-to-noise ratio over all frames [T, H, W, 3]; None where they are equal, or of another shape."""
    if a.shape != b.shape:
        return None
    # Frame by frame, so that long clips do not need eight times their size.
    total = sum(
        float(((one.astype(np.float32) - other) ** 2).sum(dtype=np.float64)) for one, other in zip(a, b, strict=True)
    )
    return None if total == 0 else 10.0 * math.log10(255.0**2 * a.size / total)


def side_by_side(a: Frames, b: Frames) -> Frames:
    """The middle frame of each, a on the left, on white: [H, W, 3]."""
    left, right = a[len(a) // 2], b[len(b) // 2]
    height = max(left.shape[0], right.shape[0])
    picture = np.full((height, left.shape[1] + _GAP_PX + right.shape[1], 3), 255, np.uint8)
    picture[: left.shape[0], : left.shape[1]] = left
    picture[: right.shape[0], left.shape[1] + _GAP_PX :] = right
    return picture
