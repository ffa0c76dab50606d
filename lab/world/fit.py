"""Analysis by synthesis: which named shape, material or creature, drawn in this place, looks most like a blob."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .creature import paint_creature
from .render import INK_SHADE, ink
from .scene import COLORS, MATERIALS, SHAPES
from .segment import Blob, close
from .shape import distance
from .style import TILE_PX, apply_style

Field = NDArray[np.floating[Any]]
Clip = NDArray[np.uint8]

# A search in two rounds, coarse then fine, over radius and centre.
_FINENESS: Final = (1.0, 0.4)
_SHIFT_PX: Final = 0.8
_STRETCH: Final = 0.08
_REFINED: Final = 8
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
    best = Placement(blob.x - off_x * radius, blob.y - off_y * radius, radius, -1.0)
    for fineness in _FINENESS:
        best = _nearby(shape, blob, best, fineness)
    return best


def _nearby(shape: str, blob: Blob, start: Placement, fineness: float) -> Placement:
    rows, columns = _frame(blob)
    radii, x, y = (axis[:, None, None] for axis in _trials(start, fineness))  # [S, 1, 1]
    drawn = distance(shape, (columns - x) / radii, (rows - y) / radii) <= 0  # [S, n, n]
    seen = blob.mask[_box(rows, columns)]
    both = (drawn & seen).sum(axis=(1, 2))
    overlap = both / np.maximum(drawn.sum(axis=(1, 2)) + seen.sum() - both, 1)
    best = int(overlap.argmax())
    return Placement(float(x[best, 0, 0]), float(y[best, 0, 0]), float(radii[best, 0, 0]), float(overlap[best]))


def _trials(start: Placement, fineness: float) -> tuple[Field, Field, Field]:
    """Radii and centres around a placement, the placement itself first so that it wins ties."""
    grid = sorted(itertools.product((0.0, -1.0, 1.0), repeat=3), key=lambda step: sum(map(abs, step)))
    steps = np.array(grid, np.float32) * np.float32(fineness)  # [27, 3]
    return (
        np.float32(start.radius) * (1 + np.float32(_STRETCH) * steps[:, 0]),
        np.float32(start.x) + np.float32(_SHIFT_PX) * steps[:, 1],
        np.float32(start.y) + np.float32(_SHIFT_PX) * steps[:, 2],
    )


def looks(blob: Blob, color: str, frame: Clip, empty: Clip, style: str) -> list[Look]:
    """Every named shape in every material of a colour, drawn where it fits the blob best, with its misfit.

    `empty` is the background alone, without style [H, W, 3]; candidates are drawn on it and then styled.
    """
    scenery = _Scenery.cut(blob, frame, empty, style)
    found = [_draw_all(scenery, shape, color, _only(place_shape(shape, blob))) for shape in SHAPES]
    # Ink of the background's colour bites into masks; what looks best so far is placed again by its pixels.
    for fineness in _FINENESS:
        ranked = sorted(range(len(SHAPES)), key=lambda index: min(look.misfit for look in found[index]))
        for index in ranked[:_REFINED]:
            start = min(found[index], key=lambda look: look.misfit).placement
            found[index] = _draw_all(scenery, SHAPES[index], color, _trials(start, fineness))
    return [look for row in found for look in row]


@dataclass(frozen=True, slots=True)
class _Scenery:
    """The part of a picture around a blob: as seen, as it would be without the blob, and its pixels' centres."""

    seen: Field  # [n, m, 3]
    under: Field  # [n, m, 3]
    rows: Field  # [1, n, 1]
    columns: Field  # [1, 1, m]
    style: str

    @classmethod
    def cut(cls, blob: Blob, frame: Clip, empty: Clip, style: str) -> _Scenery:
        rows, columns = _frame(blob)
        box = _box(rows, columns)
        return cls(frame[box].astype(np.float32), empty[box].astype(np.float32), rows, columns, style)

    def misfit(self, colour: Field, alpha: Field) -> Field:
        """Mean truncated difference of drawn candidates [S, n, m, 3], [S, n, m] from what is seen: [S]."""
        drawn = self.under + alpha[..., None] * (colour - self.under)
        if self.style != "none":
            drawn = apply_style((drawn + np.float32(0.5)).astype(np.uint8), self.style).astype(np.float32)
        # Truncated: a ragged patch of wrong colour should not outweigh the outline.
        gap = drawn - self.seen
        # Softened: what a codec moved by a pixel is not missing.
        gap = gap[:, 1:-1] * 0.5 + (gap[:, 2:] + gap[:, :-2]) * 0.25
        gap = gap[:, :, 1:-1] * 0.5 + (gap[:, :, 2:] + gap[:, :, :-2]) * 0.25
        misfit: Field = np.minimum(np.abs(gap), np.float32(_STOOD_OFF)).mean(axis=(1, 2, 3))
        return misfit


def _draw_all(scenery: _Scenery, shape: str, color: str, trials: tuple[Field, Field, Field]) -> list[Look]:
    """A shape's best look in each material over some placements."""
    radii, x, y = (axis[:, None, None] for axis in trials)
    u, v = scenery.columns - x, scenery.rows - y
    alpha = np.clip(np.float32(0.5) - distance(shape, u / radii, v / radii) * radii, 0, 1)
    full = np.array(COLORS[color], np.float32)
    found = []
    for material in MATERIALS:
        surface = full * (1 - np.float32(1 - INK_SHADE) * ink(material, u, v, 1.0)[..., None])
        misfit = scenery.misfit(surface, alpha)
        best = int(misfit.argmin())
        at = Placement(float(trials[1][best]), float(trials[2][best]), float(trials[0][best]), 0.0)
        found.append(Look(shape, material, None, float(misfit[best]), at))
    return found


def _only(at: Placement) -> tuple[Field, Field, Field]:
    radius, x, y = (np.array([value], np.float32) for value in (at.radius, at.x, at.y))
    return radius, x, y


def creature_looks(blob: Blob, frame: Clip, empty: Clip, style: str, line_up: Sequence[int]) -> list[Look]:
    """Every creature of a line-up, drawn where it fits best, with its misfit."""
    scenery = _Scenery.cut(blob, frame, empty, style)
    found = []
    for identity in line_up:
        area, off_x, off_y = _unit_creature(identity)
        radius = float(np.sqrt(blob.area / area))
        at = Placement(blob.x - off_x * radius, blob.y - off_y * radius, radius, 0.0)
        best = float("inf")
        for fineness in _FINENESS:
            trials = _trials(at, fineness)
            radii, x, y = (axis[:, None, None] for axis in trials)
            u, v = (scenery.columns - x) / radii, (scenery.rows - y) / radii
            misfit = scenery.misfit(*paint_creature(identity, u, v, radii))
            pick = int(misfit.argmin())
            best = float(misfit[pick])
            at = Placement(float(trials[1][pick]), float(trials[2][pick]), float(trials[0][pick]), 0.0)
        found.append(Look("creature", "plain", identity, best, at))
    return found


def _box(rows: Field, columns: Field) -> tuple[slice, slice]:
    return slice(int(rows[0, 0, 0]), int(rows[0, -1, 0]) + 1), slice(int(columns[0, 0, 0]), int(columns[0, 0, -1]) + 1)


def _frame(blob: Blob) -> tuple[Field, Field]:
    """Pixel centres of a box around the blob, cut along mosaic tiles: rows [1, n, 1] and columns [1, 1, m]."""
    rows, columns = np.nonzero(blob.mask)
    down, across = (
        np.arange(
            max(0, int(axis.min()) - _MARGIN_PX) // TILE_PX * TILE_PX,
            min(end, -(-(int(axis.max()) + 1 + _MARGIN_PX) // TILE_PX) * TILE_PX),
            dtype=np.float32,
        )
        + np.float32(0.5)
        for axis, end in zip((rows, columns), blob.mask.shape, strict=True)
    )
    return down[None, :, None], across[None, None, :]


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
