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
from .fit import Look, creature_looks, looks
from .scene import CANVAS_PX, MOTIONS, Subject, trajectory
from .segment import COLORLESS_STYLES, UNKNOWN, Track, find_backdrop, find_tracks, main_color

_LOOK_FRAMES: Final = 5
_FLOOR: Final = 0.5
_SIZE_BORDER_PX: Final = 10.0
_GROWTH_WEIGHT_PX: Final = 12.0
_MOTION_TOLERANCE_PX: Final = 7.0


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
    background, style, backdrop = find_backdrop(clip)
    tracks = find_tracks(clip, backdrop, style, by_color=not line_up)
    empty = draw_background(background, clip.shape[1])
    subjects = [_read(track, clip, empty, style, line_up) for track in tracks]
    return ClipFacts(background, style, tuple(sorted(subjects, key=lambda subject: subject.x)))


def read_motion(track: Track, num_frames: int) -> str:
    """The motion whose path is nearest to a track's, or "unknown" when none is near."""
    if num_frames == 1:
        return "still"
    frames = [blob.frame for blob in track.blobs]
    path = np.array([(blob.x, blob.y, np.sqrt(blob.area)) for blob in track.blobs])  # [F, 3]
    seen = np.column_stack([path[:, :2], _GROWTH_WEIGHT_PX * path[:, 2] / np.median(path[:2, 2])])
    misfit = {}
    for motion in MOTIONS:
        ideal = trajectory(Subject("circle", "red", "plain", "large", 0.0, 0.0, motion), num_frames)[frames]
        ideal[:, 2] *= _GROWTH_WEIGHT_PX / ideal[0, 2]
        gap = seen - ideal
        # Where it starts is not part of a motion; how large it starts is its own measure already.
        gap[:, :2] -= gap[:, :2].mean(axis=0)
        misfit[motion] = float(np.sqrt((gap**2).sum(axis=1).mean()))
    best = min(misfit, key=lambda motion: misfit[motion])
    return best if misfit[best] <= _MOTION_TOLERANCE_PX else UNKNOWN


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
    best = _best_look(track, color, clip, empty, style, line_up)
    radius = best.placement.radius * scale
    return SubjectFacts(
        shape=best.shape,
        color=UNKNOWN if best.creature is not None else color,
        material=best.material,
        size="large" if radius >= _SIZE_BORDER_PX else "small",
        x=best.placement.x * scale,
        y=best.placement.y * scale,
        radius=radius,
        motion=motion,
        creature=best.creature,
    )


def _best_look(
    track: Track, color: str, clip: NDArray[np.uint8], empty: NDArray[np.uint8], style: str, line_up: Sequence[int]
) -> Look:
    """The look that fits best over frames spread through the track, as it sits in the first of them."""
    count = min(_LOOK_FRAMES, len(track.blobs))
    chosen = [track.blobs[int(at)] for at in np.linspace(0, len(track.blobs) - 1, count)]
    seen = [
        looks(blob, color, clip[blob.frame], empty, style)
        + (creature_looks(blob, clip[blob.frame], empty, style, line_up) if line_up else [])
        for blob in chosen
    ]
    # The sum of logarithms: a smeared frame, which fits nothing well, then has less of a say than a sharp one.
    total = np.log(np.array([[look.misfit for look in row] for row in seen]) + _FLOOR).sum(axis=0)
    best = int(total.argmin())
    return seen[0][best]
