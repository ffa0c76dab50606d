"""What every 16 px patch of a clip shows: facts of the subject in it, read off the scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vogue.lab.world.render import coverage
from vogue.lab.world.scene import CANVAS_PX, COLORS, MATERIALS, MOTIONS, SHAPES, Scene, trajectory

__all__ = ["ATTRIBUTES", "NUM_PLACES", "label"]

ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "shape": SHAPES,
    "color": tuple(COLORS),
    "material": MATERIALS,
    "motion": MOTIONS,
}
NUM_PLACES: Final = 3
PATCH_PX: Final = 16
GROUP: Final = 4
LEAST_SHARE: Final = 0.03


def label(
    scene: Scene, num_frames: int, groups: Sequence[Sequence[int]] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Facts and places of the subject that covers most of each patch, over groups of frames.

    Args:
        scene: what is shown.
        num_frames: length of the whole clip; 1 for a picture.
        groups: the frames [T] that each group averages; those of a latent frame unless told.

    Returns:
        labels int8 [T, 4, 4, attributes], 0 for none and else 1 + the value's index (0 too for what a creature has no name
        for); places float16 [T, 4, 4, 3]: the subject's centre from the patch's, in patches, and its radius in patches.
    """
    if groups is None:
        groups = [[0], *(range(start, start + GROUP) for start in range(1, num_frames, GROUP))]
    count = len(groups)
    side = CANVAS_PX // PATCH_PX
    labels = np.zeros((count, side, side, len(ATTRIBUTES)), np.int8)
    places = np.zeros((count, side, side, NUM_PLACES), np.float16)
    best = np.full((count, side, side), LEAST_SHARE)
    centres = (np.arange(side) + 0.5) * PATCH_PX
    for actor in scene.subjects:
        covered = coverage(actor, num_frames).reshape(num_frames, side, PATCH_PX, side, PATCH_PX).mean((2, 4))
        share = _grouped(covered, groups)
        path = _grouped(trajectory(actor, num_frames), groups)  # [T, 3]
        wins = share > best
        best[wins] = share[wins]
        labels[wins] = [
            1 + values.index(value) if (value := getattr(actor, name, None)) in values else 0
            for name, values in ATTRIBUTES.items()
        ]
        where = np.empty((count, side, side, NUM_PLACES))
        where[..., 0] = (path[:, 0, None, None] - centres[None, None, :]) / PATCH_PX
        where[..., 1] = (path[:, 1, None, None] - centres[None, :, None]) / PATCH_PX
        where[..., 2] = path[:, 2, None, None] / PATCH_PX
        places[wins] = where[wins]
    return labels, places


def _grouped(values: NDArray[np.floating], groups: Sequence[Sequence[int]]) -> NDArray[np.floating]:
    """Means over each group of frames."""
    return np.stack([values[list(group)].mean(0) for group in groups])
