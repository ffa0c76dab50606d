"""Styles: pixel functions of a rendered clip, so that the exact target of every style edit is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Clip = NDArray[np.uint8]
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
_SEPIA: Final = np.array([[0.393, 0.349, 0.272], [0.769, 0.686, 0.534], [0.189, 0.168, 0.131]], np.float32) * 0.92
_NIGHT: Final = np.array([0.26, 0.34, 0.62], np.float32)
_MOON: Final = np.array([4.0, 8.0, 26.0], np.float32)
_PAPER: Final = np.array([250.0, 248.0, 240.0], np.float32)
_INK: Final = np.array([30.0, 30.0, 44.0], np.float32)
_BLUE: Final = np.array([22.0, 62.0, 142.0], np.float32)
_CHALK: Final = np.array([236.0, 244.0, 252.0], np.float32)
TILE_PX: Final = 4


def apply_style(clip: Clip, style: str) -> Clip:
    """Redraw `clip` [T, H, W, 3] in a named style; "none" leaves it. Raises KeyError for an unknown style."""
    return _STYLES[style](clip)


def edges(clip: Clip) -> NDArray[np.float32]:
    """How strongly a pixel differs from its neighbours, [T, H, W] in 0–1: the largest step over the three channels."""
    wide = np.pad(clip, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge").astype(np.int16)
    across = np.abs(wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2])
    down = np.abs(wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1])
    step = np.maximum(across, down).max(axis=-1).astype(np.float32)  # [T, H, W]
    result: NDArray[np.float32] = np.clip((step - 24.0) / 60.0, 0.0, 1.0)
    return result


def _none(clip: Clip) -> Clip:
    return clip


def _outline(clip: Clip) -> Clip:
    washed = clip * np.float32(0.36) + _PAPER * np.float32(0.64)
    line = edges(clip)[..., None]
    return _bytes(washed + line * (_INK - washed))


def _mosaic(clip: Clip) -> Clip:
    frames, height, width, _ = clip.shape
    rows, columns = -(-height // TILE_PX), -(-width // TILE_PX)
    fill = ((0, 0), (0, rows * TILE_PX - height), (0, columns * TILE_PX - width), (0, 0))
    tiles = np.pad(clip, fill, mode="edge").reshape(frames, rows, TILE_PX, columns, TILE_PX, 3)
    mean = tiles.mean(axis=(2, 4), dtype=np.float32)
    return _bytes(mean.repeat(TILE_PX, axis=1).repeat(TILE_PX, axis=2))[:, :height, :width]


def _sepia(clip: Clip) -> Clip:
    return _bytes(clip.astype(np.float32) @ _SEPIA)


def _night(clip: Clip) -> Clip:
    return _bytes(clip * _NIGHT + _MOON)


def _blueprint(clip: Clip) -> Clip:
    shade = (clip @ _LUMA)[..., None] / np.float32(255.0)
    paper = _BLUE + shade * np.float32(40.0)
    line = edges(clip)[..., None]
    return _bytes(paper + line * (_CHALK - paper))


def _bytes(pixels: NDArray[np.float32]) -> Clip:
    result: NDArray[np.uint8] = np.clip(pixels + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
    return result


_STYLES: Final[dict[str, Callable[[Clip], Clip]]] = {
    "none": _none,
    "outline": _outline,
    "mosaic": _mosaic,
    "sepia": _sepia,
    "night": _night,
    "blueprint": _blueprint,
}
