"""The named shapes as signed distance functions: negative inside, in units of the subject's radius.

`u` grows to the right and `v` downwards. Distances are exact near the boundary, which is all that anti-aliasing needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]


def distance(shape: str, u: Field, v: Field) -> Field:
    """Signed distance of points (u, v) to a named shape of radius 1. Raises KeyError for an unknown shape."""
    return _SHAPES[shape](u, v)


def _circle(u: Field, v: Field) -> Field:
    return np.sqrt(u * u + v * v) - np.float32(0.96)


def _ring(u: Field, v: Field) -> Field:
    return np.abs(np.sqrt(u * u + v * v) - np.float32(0.72)) - np.float32(0.28)


def _square(u: Field, v: Field) -> Field:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.84)


def _diamond(u: Field, v: Field) -> Field:
    # Taller than wide, as on playing cards, so that blur does not make a square or a circle of it.
    run, rise = 0.80, 1.12
    slant = 1.0 / math.hypot(1 / run, 1 / rise)
    return (np.abs(u) * np.float32(1 / run) + np.abs(v) * np.float32(1 / rise) - np.float32(1)) * np.float32(slant)


def _triangle(u: Field, v: Field) -> Field:
    top, base, half = -1.0, 0.78, 1.04
    slope = (base - top) / half
    side = (np.abs(u) * np.float32(slope) - (v - np.float32(top))) * np.float32(1 / math.hypot(slope, 1.0))
    result: Field = np.maximum(side, v - np.float32(base))
    return result


def _cross(u: Field, v: Field) -> Field:
    a, b = np.abs(u), np.abs(v)
    long, short = np.float32(0.98), np.float32(0.34)
    return np.minimum(np.maximum(a - long, b - short), np.maximum(a - short, b - long))


def _star(u: Field, v: Field) -> Field:
    tip, waist, fifth = 1.10, 0.46, math.pi / 5
    # Fold the plane onto one half of one arm; the boundary is then the single line from the tip to the waist.
    angle = np.arctan2(u, -v - np.float32(-0.06))
    angle = np.abs(np.mod(angle + np.float32(fifth), np.float32(2 * fifth)) - np.float32(fifth))
    length = np.hypot(u, v + np.float32(-0.06))
    along, off = length * np.cos(angle), length * np.sin(angle)
    edge_x, edge_y = waist * math.cos(fifth) - tip, waist * math.sin(fifth)
    norm = math.hypot(edge_x, edge_y)
    result: Field = ((along - np.float32(tip)) * np.float32(edge_y / norm)) - off * np.float32(edge_x / norm)
    return result


def _heart(u: Field, v: Field) -> Field:
    # A square on its corner, with a half disc on each of its two upper sides.
    half = np.float32(0.90)
    a, rise = np.abs(u), np.float32(0.08) - v
    body = (a + np.abs(rise) - half) * np.float32(math.sqrt(0.5))
    lobe = np.sqrt((a - half / 2) ** 2 + (rise - half / 2) ** 2) - half * np.float32(math.sqrt(0.5))
    result: Field = np.minimum(body, lobe)
    return result


_SHAPES: Final[dict[str, Callable[[Field, Field], Field]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    "ring": _ring,
    "diamond": _diamond,
}
