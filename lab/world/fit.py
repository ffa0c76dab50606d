"""Analysis by synthesis: which named shape, material or creature, drawn along a track, looks most like what is seen.

A candidate is drawn in several frames at once. Its path is the track's own, so that only three numbers are free for the
whole clip, a shift in x and y and a scale, and no frame can choose its own excuse. Candidates are compared sharp and
blurred, since what is seen may have gone through a codec.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .paint import Paint, Unit, creature_paint, creature_unit, shape_paint, shape_unit
from .path import Path
from .scene import MATERIALS, SHAPES
from .shape import distance
from .style import TILE_PX, apply_style

Field = NDArray[np.floating[Any]]
Clip = NDArray[np.uint8]

# Searches go from coarse to fine, over shift and scale; the first by outline alone, the last by pixels.
_OUTLINE_STEPS: Final = (1.0, 0.5)
_PIXEL_STEPS: Final = (0.75, 0.35)
_SHIFT_PX: Final = 1.0
_STRETCH: Final = 0.10
_SEARCH_FRAMES: Final = 4
# How often a candidate is smoothed with weights 1-2-1: sharp, and as a codec leaves small things (σ up to 2 px).
_BLURS: Final = (0, 1, 2, 4, 8)
_SEARCH_BLUR: Final = 2
_MARGIN_PX: Final = 4
_STOOD_OFF: Final = 90.0
_FLOOR: Final = 0.5


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a candidate fits a track best: shift of its centre in pixels, and scale, from what area and middle suggest."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a track looks like: a shape and a material, or a creature out of the line-up.

    `misfits` [B, F] are mean differences in grey levels for each blur and frame; centre and radius are those in the track's
    first frame, in pixels.
    """

    shape: str
    material: str
    creature: int | None
    misfits: Field
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Window:
    """The surroundings of a track in some of its frames: as seen, as they would be without it, and pixel centres."""

    seen: Field  # [F, n, m, 3]
    under: Field  # [F, n, m, 3]
    mask: NDArray[np.bool_]  # [F, n, m]
    rows: Field  # [F, n, 1]
    columns: Field  # [F, 1, m]
    path: Path
    style: str

    @classmethod
    def cut(cls, path: Path, masks: NDArray[np.bool_], clip: Clip, empty: Clip, style: str) -> Window:
        """Cut boxes of one size around `masks` [F, H, W] out of `clip` [F, H, W, 3], along the tiles of a mosaic."""
        spans = []
        for axis, end in ((2, masks.shape[1]), (1, masks.shape[2])):
            flat = np.any(masks, axis=axis).reshape(len(masks), -1)  # [F, side]
            low = np.maximum(flat.argmax(axis=1) - _MARGIN_PX, 0) // TILE_PX * TILE_PX
            high = end - flat[:, ::-1].argmax(axis=1) + _MARGIN_PX
            side = min(int((high - low).max()) + TILE_PX - 1, end) // TILE_PX * TILE_PX
            corner = np.minimum(low, (end - side) // TILE_PX * TILE_PX)
            spans.append(corner[:, None] + np.arange(side))
        down, across = spans[0][:, :, None], spans[1][:, None, :]
        at = np.arange(len(clip))[:, None, None]
        return cls(
            clip[at, down, across].astype(np.float32),
            empty[down, across].astype(np.float32),
            masks[at, down, across],
            down.astype(np.float32) + np.float32(0.5),
            across.astype(np.float32) + np.float32(0.5),
            path,
            style,
        )

    def thinned(self, count: int) -> Window:
        """The same with at most `count` frames, spread evenly."""
        kept = np.unique(np.linspace(0, len(self.seen) - 1, count).round().astype(int))
        return Window(
            self.seen[kept], self.under[kept], self.mask[kept], self.rows[kept], self.columns[kept],
            self.path.thinned(kept), self.style,
        )  # fmt: skip

    def misfit(self, colour: Field, alpha: Field, blurs: Sequence[int]) -> Field:
        """Mean differences in grey levels between candidates [S, F, n, m(, 3)] and what is seen: [len(blurs), S, F]."""
        drawn: Field = self.under + alpha[..., None] * (colour - self.under)
        if self.style != "none":
            shown = apply_style((drawn + np.float32(0.5)).astype(np.uint8).reshape(-1, *drawn.shape[2:]), self.style)
            drawn = shown.astype(np.float32).reshape(drawn.shape)
        found, smoothed = [], 0
        for blur in blurs:
            for _ in range(blur - smoothed):
                drawn = _soften(drawn)
            smoothed = blur
            gap = _soften(drawn - self.seen)
            # Truncated: a ragged patch of wrong colour should not outweigh the outline.
            found.append(np.minimum(np.abs(gap), np.float32(_STOOD_OFF)).mean(axis=(2, 3, 4)))
        return np.stack(found)


def shape_looks(window: Window, color: str) -> list[Look]:
    """Every named shape in every material of a colour, drawn where it fits best, with its misfit."""
    found = []
    few = window.thinned(_SEARCH_FRAMES)
    for shape in SHAPES:
        at = _by_outline(few, shape)
        paints = {material: shape_paint(shape, color, material) for material in MATERIALS}
        best = min(
            paints, key=lambda material: _misfits(few, paints[material], shape_unit(shape), [at], [_SEARCH_BLUR]).sum()
        )
        at = _by_pixels(few, paints[best], shape_unit(shape), at, _PIXEL_STEPS)
        for material, paint in paints.items():
            misfits = _misfits(window, paint, shape_unit(shape), [at], _BLURS)[:, 0]
            found.append(_look(window, shape, material, None, misfits, at, shape_unit(shape)))
    return found


def creature_looks(window: Window, line_up: Sequence[int]) -> list[Look]:
    """Every creature of a line-up, drawn where it fits best, with its misfit.

    They look much alike, so the search for a place is made once, and from there each finds its own.
    """
    few = window.thinned(_SEARCH_FRAMES)
    first = creature_unit(line_up[0])
    start = _by_pixels(few, creature_paint(line_up[0]), first, Placement(), _PIXEL_STEPS)
    found = []
    for identity in line_up:
        unit, paint = creature_unit(identity), creature_paint(identity)
        at = _by_pixels(few, paint, unit, _carried(window.path, start, first, unit), _PIXEL_STEPS[1:])
        misfits = _misfits(window, paint, unit, [at], _BLURS)[:, 0]
        found.append(_look(window, "creature", "plain", identity, misfits, at, unit))
    return found


def _carried(path: Path, at: Placement, here: Unit, there: Unit) -> Placement:
    """The placement of another shape that puts its centre and radius where those of the first are."""
    extent = float(path.extent.mean())
    off_x, off_y = (there[axis] * there[0] ** -0.5 - here[axis] * here[0] ** -0.5 for axis in (1, 2))
    scale = at.scale * float(np.sqrt(there[0] / here[0]))
    return Placement(at.shift_x + off_x * extent, at.shift_y + off_y * extent, scale)


def _by_outline(window: Window, shape: str) -> Placement:
    """The placement at which a shape's outline overlaps the masks best."""
    best = Placement()
    for step in _OUTLINE_STEPS:
        trials = _trials(best, step)
        u, v, radius = _offsets(window, shape_unit(shape), trials)
        drawn = distance(shape, u / radius, v / radius) <= 0  # [S, F, n, m]
        both = (drawn & window.mask).sum(axis=(1, 2, 3))
        either = (drawn | window.mask).sum(axis=(1, 2, 3))
        best = trials[int((both / np.maximum(either, 1)).argmax())]
    return best


def _by_pixels(window: Window, paint: Paint, unit: Unit, start: Placement, steps: Sequence[float]) -> Placement:
    best = start
    for step in steps:
        trials = _trials(best, step)
        misfits = _misfits(window, paint, unit, trials, [_SEARCH_BLUR])[0]  # [S, F]
        best = trials[int(np.log(misfits + _FLOOR).sum(axis=1).argmin())]
    return best


def _misfits(window: Window, paint: Paint, unit: Unit, trials: Sequence[Placement], blurs: Sequence[int]) -> Field:
    return window.misfit(*paint(*_offsets(window, unit, trials)), blurs)


def _offsets(window: Window, unit: Unit, trials: Sequence[Placement]) -> tuple[Field, Field, Field]:
    """Offsets of all pixels from the centre, [S, F, 1, m] and [S, F, n, 1], and radii [S, F, 1, 1]."""
    moved = np.array([(at.shift_x, at.shift_y, at.scale) for at in trials], np.float32)  # [S, 3]
    x, y, radius = (axis[..., None, None] for axis in _centres(window.path, unit, moved))
    return window.columns - x, window.rows - y, radius


def _centres(path: Path, unit: Unit, moved: Field) -> tuple[Field, Field, Field]:
    """Centres and radii [S, F] of a shape of given area and middle, under some shifts and scales [S, 3]."""
    area, off_x, off_y = unit
    radius = np.float32(area**-0.5) * path.extent  # [F]
    off = radius.mean() if path.ideal else radius
    x = path.x - np.float32(off_x) * off + moved[:, :1]
    y = path.y - np.float32(off_y) * off + moved[:, 1:2]
    return x, y, radius * moved[:, 2:]


def _look(
    window: Window, shape: str, material: str, creature: int | None, misfits: Field, at: Placement,
    unit: Unit,
) -> Look:  # fmt: skip
    moved = np.array([(at.shift_x, at.shift_y, at.scale)], np.float32)
    x, y, radius = (float(axis[0, 0]) for axis in _centres(window.path, unit, moved))
    return Look(shape, material, creature, misfits, x, y, radius)


def _trials(start: Placement, step: float) -> list[Placement]:
    """Placements around one, that itself first so that it wins ties."""
    grid = sorted(itertools.product((0.0, -step, step), repeat=3), key=lambda by: sum(map(abs, by)))
    return [
        Placement(start.shift_x + _SHIFT_PX * x, start.shift_y + _SHIFT_PX * y, start.scale * (1 + _STRETCH * stretch))
        for x, y, stretch in grid
    ]


def _soften(field: Field) -> Field:
    """Smooth rows and columns of […, n, m, 3] with weights 1-2-1, edges repeated."""
    wide = np.concatenate([field[..., :1, :, :], field, field[..., -1:, :, :]], axis=-3)
    field = wide[..., 1:-1, :, :] * np.float32(0.5) + (wide[..., 2:, :, :] + wide[..., :-2, :, :]) * np.float32(0.25)
    wide = np.concatenate([field[..., :1, :], field, field[..., -1:, :]], axis=-2)
    return wide[..., 1:-1, :] * np.float32(0.5) + (wide[..., 2:, :] + wide[..., :-2, :]) * np.float32(0.25)
