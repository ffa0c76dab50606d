"""Contact sheets: some frames of a clip in a grid, in reading order, as one picture."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_CELLS", "cell_size", "grid", "stride"]

MAX_CELLS = 25
_MAX_CELL_PX = 256


def stride(num_frames: int) -> int:
    """Every which frame of a clip is shown."""
    return ceil(num_frames / MAX_CELLS)


def cell_size(height_px: int, width_px: int) -> tuple[int, int]:
    """Height and width of a frame on the sheet."""
    scale = min(1.0, _MAX_CELL_PX / max(height_px, width_px))
    return max(1, round(height_px * scale)), max(1, round(width_px * scale))


def grid(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames [T, H, W, 3] side by side [rows · H, columns · W, 3]; what is left over is black."""
    columns = ceil(sqrt(len(frames)))
    rows = ceil(len(frames) / columns)
    padded = np.zeros((rows * columns, *frames.shape[1:]), np.uint8)
    padded[: len(frames)] = frames
    height, width = frames.shape[1:3]
    cells = padded.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(cells.reshape(rows * height, columns * width, 3))
