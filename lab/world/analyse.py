"""A clip back into facts, from its pixels alone: no scene description, nothing learned.

The world is known, so reading is matching: the backdrop among all backgrounds in all styles, blobs that stand out from
it, their colour on the palette, their shape and material by drawing every candidate, their motion by their path.
Tolerant of a codec's blur and of ragged shapes; what fits nothing is "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .background import draw_background
from .fit import Look, Window, creature_looks, shape_looks
from .path import clear_path, read_motion
from .scene import CANVAS_PX, PLAIN_BACKGROUNDS, SCREENS
from .segment import COLORLESS_STYLES, UNKNOWN, Track, find_backdrop, find_tracks, main_color, tiling

_LOOK_FRAMES: Final = 9
_FLOOR: Final = 0.5
_FIRST_WEIGHT: Final = 3.0
# Between these shares (`tiling`) only drawing both tells. Set on training seeds, where 22 mosaics through a codec were better
# explained by 0.09 or more, and 34 others by at most 0.02.
_SURELY_TILED: Final = 0.15
_SURELY_SMOOTH: Final = 0.75
_TILES_BETTER: Final = 0.05
# A codec smears thin arms and tips until they look like a disc or a square: so much better must those fit, and so much worse
# may these. Set on training seeds; on true renders differences are ten times as large.
_SMEARED: Final[dict[str, float]] = {"circle": 0.05, "square": 0.04, "star": -0.08, "cross": -0.04, "diamond": -0.04}
_SIZE_BORDER_PX: Final = 10.0


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """One subject as seen; place and radius in the first frame, in pixels of a 64×64 picture."""

    shape: str
    color: str
    material: str
    size: str
    x: float
    y: float
    radius: float
    motion: str
    creature: int | None


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """All that was read from a clip, subjects from left to right."""

    background: str
    style: str
    subjects: tuple[SubjectFacts, ...]


def analyse(clip: NDArray[np.uint8], line_up: Sequence[int] = ()) -> ClipFacts:
    """Read a clip, uint8 [T, H, W, 3]; `line_up` names the creatures that may appear.

    Raises ValueError when the clip has another layout.
    """
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3:
        raise ValueError(f"a clip is uint8 [T, H, W, 3], got {clip.dtype} {clip.shape}")
    background, style, backdrop = read_backdrop(clip)
    tracks = find_tracks(clip, backdrop, style, by_color=not line_up)
    empty = draw_background(background, clip.shape[1])
    subjects = [_read(track, clip, empty, style, line_up) for track in tracks]
    return ClipFacts(background, style, tuple(sorted(subjects, key=lambda subject: subject.x)))


def _read(
    track: Track, clip: NDArray[np.uint8], empty: NDArray[np.uint8], style: str, line_up: Sequence[int]
) -> SubjectFacts:
    first = track.blobs[0]
    motion = read_motion(track, len(clip))
    scale = CANVAS_PX / clip.shape[1]
    if style in COLORLESS_STYLES:
        radius = float(np.sqrt(first.area / 2.4)) * scale
        return SubjectFacts(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, first.x * scale, first.y * scale, radius, motion, None)
    color = main_color(clip, track, style) if track.color == UNKNOWN else track.color
    best = likeliest(_looks(track, motion, color, clip, empty, style, line_up))
    radius = best.radius * scale
    return SubjectFacts(
        shape=best.shape,
        color=UNKNOWN if best.creature is not None else color,
        material=best.material,
        size="large" if radius >= _SIZE_BORDER_PX else "small",
        x=best.x * scale,
        y=best.y * scale,
        radius=radius,
        motion=motion,
        creature=best.creature,
    )


def read_backdrop(clip: NDArray[np.uint8]) -> tuple[str, str, NDArray[np.uint8]]:
    """Name of the background, name of the style and the empty picture [H, W, 3] that fit a clip best."""
    background, style, backdrop = find_backdrop(clip)
    if style not in ("none", "mosaic") or background not in (*PLAIN_BACKGROUNDS, *SCREENS):
        return background, style, backdrop
    share = tiling(clip, backdrop)
    if share is None or share > _SURELY_SMOOTH:
        return background, "none", backdrop
    return (
        background,
        "mosaic" if share < _SURELY_TILED or _looks_tiled(clip, background, backdrop) else "none",
        backdrop,
    )


def _looks_tiled(clip: NDArray[np.uint8], background: str, backdrop: NDArray[np.uint8]) -> bool:
    """Whether the largest subject is explained better by a shape in mosaic than by one without style."""
    tracks = find_tracks(clip, backdrop, "none")
    if not tracks:
        return False
    track = max(tracks, key=lambda track: track.blobs[0].area)
    motion, empty = read_motion(track, len(clip)), draw_background(background, clip.shape[1])
    color = main_color(clip, track, "none")
    misfit = {
        style: min(map(total_misfit, shape_looks(look_at(track, motion, clip, empty, style), color)))
        for style in ("none", "mosaic")
    }
    return misfit["mosaic"] < misfit["none"] - _TILES_BETTER


def likeliest(found: Sequence[Look]) -> Look:
    """The look that fits best."""
    return min(found, key=total_misfit)


def total_misfit(look: Look) -> float:
    """How badly a look fits over all frames, each at the blur that suits it best.

    A mean of logarithms: a smeared frame, which fits nothing well, has less of a say than a sharp one. The first frame counts
    more, since codecs keep it best.
    """
    frames = np.log(look.misfits.min(axis=0) + _FLOOR)  # [F]
    weights = np.ones(len(frames))
    weights[0] = _FIRST_WEIGHT
    return float(np.average(frames, weights=weights)) + _SMEARED.get(look.shape, 0.0)


def look_at(track: Track, motion: str, clip: NDArray[np.uint8], empty: NDArray[np.uint8], style: str) -> Window:
    """A track's surroundings in frames spread through it."""
    path = clear_path(track, motion, len(clip), clip.shape[1])
    chosen = np.unique(np.linspace(0, len(track.blobs) - 1, _LOOK_FRAMES).round().astype(int))
    blobs = [track.blobs[at] for at in chosen]
    frames = clip[[blob.frame for blob in blobs]]
    return Window.cut(path.thinned(chosen), np.stack([blob.mask for blob in blobs]), frames, empty, style)


def _looks(
    track: Track,
    motion: str,
    color: str,
    clip: NDArray[np.uint8],
    empty: NDArray[np.uint8],
    style: str,
    line_up: Sequence[int],
) -> list[Look]:
    """All that a track could be."""
    window = look_at(track, motion, clip, empty, style)
    return shape_looks(window, color) + (creature_looks(window, line_up) if line_up else [])
