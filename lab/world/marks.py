"""Marks that a user draws on a picture: arrows, crosses, rings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .scene import CANVAS_PX

Field = NDArray[np.floating[Any]]

# A colour that nothing in the world has.
INK: Final = (255, 0, 220)
_RIM: Final = (20, 18, 26)
_LINE_PX: Final = 1.3
_RIM_PX: Final = 1.0
_HEAD_PX: Final = 6.0
_HEAD_ANGLE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a place to another: what is at its tail moves to its tip."""

    x: float
    y: float
    to_x: float
    to_y: float


@dataclass(frozen=True, slots=True)
class Cross:
    """Over something to delete."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Ring:
    """Around something to recolour; it is drawn in the new colour."""

    x: float
    y: float
    radius: float
    color: tuple[int, int, int]


Mark: TypeAlias = Arrow | Cross | Ring


def draw_marks(picture: NDArray[np.uint8], marks: tuple[Mark, ...]) -> NDArray[np.uint8]:
    """A copy of a picture [1, H, W, 3] with marks drawn on it; places are in pixels of the 64×64 picture."""
    drawn = picture.astype(np.float32)
    scale = picture.shape[1] / CANVAS_PX
    rows, columns = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / scale for side in picture.shape[1:3])
    x, y = columns[None, :], rows[:, None]
    for mark in marks:
        distance = _distance(mark, x, y)
        color = mark.color if isinstance(mark, Ring) else INK
        for reach, paint in ((_LINE_PX + _RIM_PX, _RIM), (_LINE_PX, color)):
            cover = np.clip((reach - distance) * scale + 0.5, 0, 1)[..., None]
            drawn += cover * (np.array(paint, np.float32) - drawn)
    return (drawn + np.float32(0.5)).astype(np.uint8)


def _distance(mark: Mark, x: Field, y: Field) -> Field:
    """Distance of points to the lines of a mark, in pixels."""
    if isinstance(mark, Ring):
        ring: Field = np.abs(np.hypot(x - mark.x, y - mark.y) - mark.radius)
        return ring
    if isinstance(mark, Cross):
        ends = [
            (mark.x - s * mark.radius, mark.y - mark.radius, mark.x + s * mark.radius, mark.y + mark.radius)
            for s in (-1, 1)
        ]
    else:
        heading = math.atan2(mark.to_y - mark.y, mark.to_x - mark.x)
        ends = [(mark.x, mark.y, mark.to_x, mark.to_y)]
        for turn in (-_HEAD_ANGLE, _HEAD_ANGLE):
            back = heading + math.pi + turn
            ends.append(
                (mark.to_x, mark.to_y, mark.to_x + _HEAD_PX * math.cos(back), mark.to_y + _HEAD_PX * math.sin(back))
            )
    nearest: Field = np.minimum.reduce([_from_segment(x, y, *one) for one in ends])
    return nearest


def _from_segment(x: Field, y: Field, x0: float, y0: float, x1: float, y1: float) -> Field:
    run, rise = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * run + (y - y0) * rise) / (run * run + rise * rise), 0, 1)
    distance: Field = np.hypot(x - x0 - along * run, y - y0 - along * rise)
    return distance
