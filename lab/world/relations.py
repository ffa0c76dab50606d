"""Which side of another subject a subject is on, and places beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from .scene import CANVAS_PX, Actor, apart

RELATIONS: Final[dict[str, str]] = {
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
}
_NEAREST_PX: Final = 20.0
_FARTHEST_PX: Final = 36.0
_ASIDE_PX: Final = 6.0
_EDGE_PX: Final = 11.0


def side(x: float, y: float, other_x: float, other_y: float) -> str:
    """The relation of one place to another, by the larger of the two distances."""
    across, down = x - other_x, y - other_y
    if abs(across) >= abs(down):
        return "left" if across < 0 else "right"
    return "above" if down < 0 else "below"


def place_beside(
    rng: np.random.Generator, relation: str, anchor: Actor, others: tuple[Actor, ...], like: Actor
) -> tuple[float, float] | None:
    """A place on that side of `anchor` for a subject `like` the given one, clear of all `others`; None if none is found.

    Raises KeyError for an unknown relation.
    """
    across, down = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}[relation]
    for _ in range(12):
        far = _NEAREST_PX + (_FARTHEST_PX - _NEAREST_PX) * rng.random()
        aside = _ASIDE_PX * (2 * rng.random() - 1)
        x = round(2 * (anchor.x + across * far + down * aside)) / 2
        y = round(2 * (anchor.y + down * far + across * aside)) / 2
        if min(x, y) < _EDGE_PX or max(x, y) > CANVAS_PX - _EDGE_PX:
            continue
        if apart(replace(like, x=x, y=y), others):
            return x, y
    return None
