"""Analysis by synthesis: which named shape, material or creature, drawn in this place, looks most like a blob."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .creature import paint_creature
from .render import ink
from .scene import MATERIALS, SHAPES
from .segment import Blob, close, palette
from .shape import distance

Field = NDArray[np.float32]

_SHIFTS_PX: Final = (-0.8, 0.0, 0.8)
_STRETCHES: Final = (0.92, 1.0, 1.08)
_MARGIN_PX: Final = 3
_UNIT_PX: Final = 24.0
_STOOD_OFF: Final = 90.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a hypothesis fits a blob best; centre and radius in pixels of the picture, overlap 0–1."""

    x: float
    y: float
    radius: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a blob looks like: a shape and a material, or a creature out of the line-up; misfit in grey levels."""

    shape: str
    material: str
    creature: int | None
    misfit: float
    placement: Placement


def place_shape(shape: str, blob: Blob) -> Placement:
    """Align a shape with a blob by area and centre of mass, then by overlap over small shifts and stretches."""
    area, off_x, off_y = _unit(shape)
    radius = float(np.sqrt(blob.area / area))
    rows, columns = _frame(blob)
    stretch, down, right = np.meshgrid(_STRETCHES, _SHIFTS_PX, _SHIFTS_PX, indexing="ij")
    radii = (radius * stretch.ravel()).astype(np.float32)[:, None, None]  # [S, 1, 1]
    x = (blob.x - off_x * radius + right.ravel()).astype(np.float32)[:, None, None]
    y = (blob.y - off_y * radius + down.ravel()).astype(np.float32)[:, None, None]
    drawn = distance(shape, (columns - x) / radii, (rows - y) / radii) <= 0  # [S, n, n]
    seen = blob.mask[int(rows[0, 0, 0]) :, int(columns[0, 0, 0]) :][: rows.shape[1], : columns.shape[2]]
    both = (drawn & seen).sum(axis=(1, 2))
    overlap = both / np.maximum(drawn.sum(axis=(1, 2)) + seen.sum() - both, 1)
    best = int(overlap.argmax())
    return Placement(float(x[best, 0, 0]), float(y[best, 0, 0]), float(radii[best, 0, 0]), float(overlap[best]))


def looks(blob: Blob, frame: NDArray[np.uint8], backdrop: NDArray[np.uint8], style: str) -> list[Look]:
    """Every named shape in every material, drawn where it overlaps the blob best, with its misfit."""
    names, dark, full = palette(style)
    index = names.index(blob.color)
    rows, columns = _frame(blob)
    box = (slice(int(rows[0, 0, 0]), int(rows[0, -1, 0]) + 1), slice(int(columns[0, 0, 0]), int(columns[0, 0, -1]) + 1))
    seen, under = frame[box].astype(np.float32), backdrop[box].astype(np.float32)  # [n, m, 3]
    found = []
    for shape in SHAPES:
        at = place_shape(shape, blob)
        u, v = columns[0] - np.float32(at.x), rows[0] - np.float32(at.y)
        radius = np.float32(at.radius)
        alpha = np.clip(np.float32(0.5) - distance(shape, u / radius, v / radius) * radius, 0, 1)[..., None]
        for material in MATERIALS:
            surface = full[index] + ink(material, u, v, 1.0)[..., None] * (dark[index] - full[index])
            drawn = under + alpha * (surface - under)
            found.append(Look(shape, material, None, _misfit(drawn, seen), at))
    return found


def creature_looks(
    blob: Blob, frame: NDArray[np.uint8], backdrop: NDArray[np.uint8], line_up: Sequence[int]
) -> list[Look]:
    """Every creature of a line-up, drawn where it fits best, with its misfit."""
    rows, columns = (axis[0] for axis in _frame(blob))
    box = (slice(int(rows[0, 0]), int(rows[-1, 0]) + 1), slice(int(columns[0, 0]), int(columns[0, -1]) + 1))
    seen, under = frame[box].astype(np.float32), backdrop[box].astype(np.float32)
    found = []
    for identity in line_up:
        area, off_x, off_y = _unit_creature(identity)
        estimate = float(np.sqrt(blob.area / area))
        best = Look("creature", "plain", identity, float("inf"), Placement(blob.x, blob.y, estimate, 0.0))
        for stretch in _STRETCHES:
            for down in _SHIFTS_PX:
                for right in _SHIFTS_PX:
                    radius = np.float32(estimate * stretch)
                    x, y = blob.x - off_x * estimate + right, blob.y - off_y * estimate + down
                    u, v = (columns - np.float32(x)) / radius, (rows - np.float32(y)) / radius
                    colour, alpha = paint_creature(identity, u, v, radius)
                    misfit = _misfit(under + alpha[..., None] * (colour - under), seen)
                    if misfit < best.misfit:
                        best = Look("creature", "plain", identity, misfit, Placement(x, y, float(radius), 0.0))
        found.append(best)
    return found


def _misfit(drawn: Field, seen: Field) -> float:
    # Truncated: a ragged patch of wrong colour should not outweigh the outline.
    return float(np.minimum(np.abs(drawn - seen), _STOOD_OFF).mean())


def _frame(blob: Blob) -> tuple[Field, Field]:
    """Pixel centres of a box around the blob: rows [1, n, 1] and columns [1, 1, m]."""
    height, width = blob.mask.shape
    rows, columns = np.nonzero(blob.mask)
    top, left = max(0, rows.min() - _MARGIN_PX), max(0, columns.min() - _MARGIN_PX)
    bottom, right = min(height, rows.max() + _MARGIN_PX + 1), min(width, columns.max() + _MARGIN_PX + 1)
    down, across = np.arange(top, bottom, dtype=np.float32) + 0.5, np.arange(left, right, dtype=np.float32) + 0.5
    return down.astype(np.float32)[None, :, None], across.astype(np.float32)[None, None, :]


def _grid() -> tuple[Field, Field]:
    axis = (np.arange(-36, 36, dtype=np.float32) + np.float32(0.5)) / np.float32(_UNIT_PX)
    return axis[None, :], axis[:, None]


def _moments(inside: NDArray[np.bool_]) -> tuple[float, float, float]:
    rows, columns = np.nonzero(close(inside[None])[0])
    middle = inside.shape[0] / 2 - 0.5
    return len(rows) / _UNIT_PX**2, (columns.mean() - middle) / _UNIT_PX, (rows.mean() - middle) / _UNIT_PX


@cache
def _unit(shape: str) -> tuple[float, float, float]:
    """Area and centre of mass of a shape of radius 1."""
    u, v = _grid()
    return _moments(distance(shape, u, v) <= 0)


@lru_cache(maxsize=4096)
def _unit_creature(identity: int) -> tuple[float, float, float]:
    u, v = _grid()
    return _moments(paint_creature(identity, u, v, np.float32(_UNIT_PX))[1] > 0.5)
