"""How candidates of the analyser are painted, and their area and middle, from which a search for their place starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .creature import paint_creature
from .render import INK_SHADE, ink
from .scene import COLORS
from .segment import close
from .shape import distance

Field = NDArray[np.floating[Any]]
Paint = Callable[[Field, Field, Field], tuple[Field, Field]]
"""Offsets in pixels from the centre and the radius in pixels, to colour […, 3] and opacity […]."""
Unit = tuple[float, float, float]
"""Area and middle of a shape of radius 1."""

_UNIT_PX: Final = 24.0


def shape_paint(shape: str, color: str, material: str) -> Paint:
    """Paint of a named shape."""
    full = np.array(COLORS[color], np.float32)

    def paint(u: Field, v: Field, radius: Field) -> tuple[Field, Field]:
        alpha = np.clip(np.float32(0.5) - distance(shape, u / radius, v / radius) * radius, 0, 1)
        return full * (1 - np.float32(1 - INK_SHADE) * ink(material, u, v, 1.0)[..., None]), alpha

    return paint


def creature_paint(identity: int) -> Paint:
    """Paint of a creature."""
    return lambda u, v, radius: paint_creature(identity, u / radius, v / radius, radius)


def _grid() -> tuple[Field, Field]:
    axis = (np.arange(-36, 36, dtype=np.float32) + np.float32(0.5)) / np.float32(_UNIT_PX)
    return axis[None, :], axis[:, None]


def _moments(inside: NDArray[np.bool_]) -> Unit:
    rows, columns = np.nonzero(close(inside[None])[0])
    middle = inside.shape[0] / 2 - 0.5
    return len(rows) / _UNIT_PX**2, (columns.mean() - middle) / _UNIT_PX, (rows.mean() - middle) / _UNIT_PX


@cache
def shape_unit(shape: str) -> Unit:
    """Area and middle of a named shape of radius 1."""
    u, v = _grid()
    return _moments(distance(shape, u, v) <= 0)


@lru_cache(maxsize=4096)
def creature_unit(identity: int) -> Unit:
    """Area and middle of a creature of radius 1."""
    u, v = _grid()
    return _moments(paint_creature(identity, u, v, np.float32(_UNIT_PX))[1] > 0.5)
