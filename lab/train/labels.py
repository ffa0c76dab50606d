"""What a patch of latents shows, for every patch of a clip: facts of the subject in it, read off the scene."""

from __future__ import annotations

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


def label(scene: Scene, num_frames: int) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Facts and places of the subject that covers most of each patch.

    Returns:
        labels int8 [T, 4, 4, attributes], 0 for none and else 1 + the value's index (0 too for what a creature has no name
        for); places float16 [T, 4, 4, 3]: the subject's centre from the patch's, in patches, and its radius in patches.
    """
    groups = 1 + (num_frames - 1) // GROUP
    side = CANVAS_PX // PATCH_PX
    labels = np.zeros((groups, side, side, len(ATTRIBUTES)), np.int8)
    places = np.zeros((groups, side, side, NUM_PLACES), np.float16)
    best = np.full((groups, side, side), LEAST_SHARE)
    centres = (np.arange(side) + 0.5) * PATCH_PX
    for actor in scene.subjects:
        share = _grouped(coverage(actor, num_frames).reshape(num_frames, side, PATCH_PX, side, PATCH_PX).mean((2, 4)))
        path = _grouped(trajectory(actor, num_frames))  # [T, 3]
        wins = share > best
        best[wins] = share[wins]
        labels[wins] = [
            1 + values.index(value) if (value := getattr(actor, name, None)) in values else 0
            for name, values in ATTRIBUTES.items()
        ]
        where = np.empty((groups, side, side, NUM_PLACES))
        where[..., 0] = (path[:, 0, None, None] - centres[None, None, :]) / PATCH_PX
        where[..., 1] = (path[:, 1, None, None] - centres[None, :, None]) / PATCH_PX
        where[..., 2] = path[:, 2, None, None] / PATCH_PX
        places[wins] = where[wins]
    return labels, places


def _grouped(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Means over the first frame alone, then over groups of four."""
    rest = values[1:].reshape(-1, GROUP, *values.shape[1:]).mean(1)
    return np.concatenate([values[:1], rest])
