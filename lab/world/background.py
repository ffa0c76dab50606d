"""Backgrounds: flat colours and four quiet sceneries, drawn once per size and kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .scene import CANVAS_PX, PLAIN_BACKGROUNDS, SCREENS

Field = NDArray[np.floating[Any]]


@lru_cache(maxsize=64)
def draw_background(name: str, size: int) -> NDArray[np.uint8]:
    """The background alone, uint8 [H, W, 3], read-only. Raises KeyError for an unknown name."""
    flat = PLAIN_BACKGROUNDS.get(name) or SCREENS.get(name)
    if flat is not None:
        picture = np.broadcast_to(np.array(flat, np.float32), (size, size, 3))
    else:
        step = CANVAS_PX / size
        axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(step)
        x, y = np.meshgrid(axis, axis)
        picture = _SCENERY[name](x, y, 1.0 / step)
    drawn = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    drawn.flags.writeable = False
    result: NDArray[np.uint8] = drawn
    return result


def _blend(top: tuple[int, int, int], bottom: tuple[int, int, int], weight: Field) -> Field:
    low, high = np.array(bottom, np.float32), np.array(top, np.float32)
    return high + weight[..., None] * (low - high)


def _cover(distance: Field, scale: float, softness_px: float = 1.0) -> Field:
    result: Field = np.clip(0.5 - distance * scale / softness_px, 0, 1)
    return result


def _sky(x: Field, y: Field, scale: float) -> Field:
    picture = _blend((84, 148, 212), (158, 198, 226), y / CANVAS_PX)
    for cx, cy, r in ((12, 13, 5), (18, 11, 6), (24, 14, 4.5), (45, 27, 4.5), (51, 25, 5.5), (57, 28, 4)):
        puff = _cover(np.hypot(x - cx, (y - cy) * 1.3) - r, scale, 3.0)[..., None]
        picture = picture + puff * (np.array([186, 212, 232], np.float32) - picture)
    return picture


def _meadow(x: Field, y: Field, scale: float) -> Field:
    picture = _blend((146, 190, 216), (190, 212, 214), np.clip(y / 34, 0, 1))
    far = 34 + 2.5 * np.sin(x * (2 * math.pi / 64) + 1.0)
    near = 44 + 2.0 * np.sin(x * (2 * math.pi / 48) + 3.4)
    for line, colour in ((far, (136, 164, 112)), (near, (118, 148, 90))):
        cover = _cover(line - y, scale)[..., None]
        picture = picture + cover * (np.array(colour, np.float32) - picture)
    return picture


def _night(x: Field, y: Field, scale: float) -> Field:
    picture = _blend((10, 12, 40), (44, 36, 86), y / CANVAS_PX)
    moon = np.maximum(np.hypot(x - 52, y - 11) - 5.5, 4.8 - np.hypot(x - 49.2, y - 9.6))
    picture = picture + _cover(moon, scale)[..., None] * (np.array([150, 148, 132], np.float32) - picture)
    for cx, cy in ((8, 9), (22, 20), (34, 7), (14, 37), (43, 31), (57, 43), (28, 51), (6, 57), (47, 57)):
        star = _cover(np.hypot(x - cx, y - cy) - 0.9, scale)[..., None]
        picture = picture + star * (np.array([136, 134, 160], np.float32) - picture)
    return picture


def _bricks(x: Field, y: Field, scale: float) -> Field:
    course = np.floor(y / 8)
    shifted = x + np.mod(course, 2) * 8
    seam = np.minimum(
        np.minimum(np.mod(y, 8), 8 - np.mod(y, 8)), np.minimum(np.mod(shifted, 16), 16 - np.mod(shifted, 16))
    )
    mortar = _cover(seam - 0.5, scale)[..., None]
    tone = np.mod(course * 5 + np.floor(shifted / 16) * 3, 4)[..., None]
    brick = np.array([126, 84, 72], np.float32) + tone * np.array([4, 3, 3], np.float32)
    result: Field = brick + mortar * (np.array([152, 128, 116], np.float32) - brick)
    return result


_SCENERY: Final[dict[str, Callable[[Field, Field, float], Field]]] = {
    "sky": _sky,
    "meadow": _meadow,
    "night": _night,
    "bricks": _bricks,
}
