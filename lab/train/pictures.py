"""Contact sheets: rows of pictures in one PNG, to look at a run while it goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["write_sheet"]


def write_sheet(path: Path, rows: NDArray[np.float32], scale: int = 2) -> None:
    """Write `rows` [R, N, H, W, 3] in [-1, 1] as R rows of N pictures, enlarged `scale` times."""
    r, n, h, w, _ = rows.shape
    sheet = rows.transpose(0, 2, 1, 3, 4).reshape(r * h, n * w, 3)
    grey = np.clip((sheet + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    picture.resize((n * w * scale, r * h * scale), Image.Resampling.NEAREST).save(path)
