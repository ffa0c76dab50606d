"""How a track moves: which of the known motions its path is, and that path cleared of jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .scene import CANVAS_PX, MOTIONS, Subject, trajectory
from .segment import UNKNOWN, Track

Field = NDArray[np.floating[Any]]

_GROWTH_WEIGHT_PX: Final = 12.0
_MOTION_TOLERANCE_PX: Final = 7.0
_JITTER_PX: Final = 1.6


@dataclass(frozen=True, slots=True)
class Path:
    """Middle and extent (the root of the area) of a track in some frames, [F] each, in pixels of the picture.

    `ideal`: the path is that of a known motion, its centre's and not its middle's.
    """

    x: Field
    y: Field
    extent: Field
    ideal: bool

    def thinned(self, kept: NDArray[np.intp]) -> Path:
        """The same at some of the frames."""
        return Path(self.x[kept], self.y[kept], self.extent[kept], self.ideal)


def read_motion(track: Track, num_frames: int) -> str:
    """The motion whose path is nearest to a track's, or "unknown" when none is near."""
    if num_frames == 1:
        return "still"
    frames, seen = _seen(track)
    seen = np.column_stack([seen[:, :2], _GROWTH_WEIGHT_PX * seen[:, 2] / np.median(seen[:2, 2])])
    misfit = {}
    for motion in MOTIONS:
        ideal = _ideal(motion, num_frames)[frames]
        ideal[:, 2] *= _GROWTH_WEIGHT_PX / ideal[0, 2]
        gap = seen - ideal
        # Where it starts is not part of a motion; how large it starts is its own measure already.
        gap[:, :2] -= gap[:, :2].mean(axis=0)
        misfit[motion] = float(np.sqrt((gap**2).sum(axis=1).mean()))
    best = min(misfit, key=lambda motion: misfit[motion])
    return best if misfit[best] <= _MOTION_TOLERANCE_PX else UNKNOWN


def clear_path(track: Track, motion: str, num_frames: int, size: int) -> Path:
    """A track's path: that of its motion where the track keeps to it within a pixel or two, else as seen."""
    frames, seen = _seen(track)
    if motion != UNKNOWN and num_frames > 1:
        ideal = _ideal(motion, num_frames)[frames] * np.array([size / CANVAS_PX, size / CANVAS_PX, 1], np.float32)
        gap = seen[:, :2] - ideal[:, :2]
        middle = np.median(gap, axis=0)
        if np.sqrt(((gap - middle) ** 2).sum(axis=1).mean()) <= _JITTER_PX:
            growth = ideal[:, 2] / ideal[0, 2]
            return Path(ideal[:, 0] + middle[0], ideal[:, 1] + middle[1], growth * np.median(seen[:, 2] / growth), True)
    return Path(seen[:, 0], seen[:, 1], seen[:, 2], False)


def _seen(track: Track) -> tuple[list[int], Field]:
    """Frame numbers, and middle and extent in them [F, 3]."""
    path = np.array([(blob.x, blob.y, np.sqrt(blob.area)) for blob in track.blobs], np.float32)
    return [blob.frame for blob in track.blobs], path


def _ideal(motion: str, num_frames: int) -> Field:
    return trajectory(Subject("circle", "red", "plain", "large", 0.0, 0.0, motion), num_frames)
