"""Pictures and clips with what each visual token of the MLLM shows of them, to teach its eyes.

Answers of a few words say little about a picture: from them alone the vision tower learns colours and counts, but neither
shapes nor places in a reasonable time. So while it is trained, its tokens are asked directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vogue.lab.world.cases import Case
from vogue.lab.world.drawn import DIRECTIONS
from vogue.lab.world.exercises import sample_exercise
from vogue.lab.world.render import render
from vogue.lab.world.scene import (
    BACKGROUNDS,
    CANVAS_PX,
    CLIP_FRAMES,
    COLORS,
    MOTIONS,
    STYLES,
    Scene,
    pick,
    reserved_for_evaluation,
    sample_scene,
)

from .dialogue import SEEN_FRAMES
from .labels import ATTRIBUTES, NUM_PLACES, PATCH_PX, label

__all__ = ["NUM_SEEN_PLACES", "SEEN", "Sight", "SightKind", "draw_sight"]

SightKind = Literal["picture", "clip", "drawing"]
SEEN: Final[Mapping[str, tuple[str, ...]]] = {
    **ATTRIBUTES,
    "asked": ("delete", *DIRECTIONS, *COLORS),
    "background": tuple(BACKGROUNDS),
    "style": tuple(STYLES),
}
"""What tokens are asked for: facts of the subject, what a drawing on it asks for, and what holds for all tokens."""
NUM_SEEN_PLACES: Final = NUM_PLACES + 2
PAIRS: Final = tuple(zip(SEEN_FRAMES[::2], SEEN_FRAMES[1::2], strict=True))
"""The tower joins two frames to one token."""
STYLED_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """Frames as the MLLM is shown them, uint8 [F, 64, 64, 3]; for each token labels int8 [T, 4, 4, attributes of `SEEN`], 0 for none, and
    places float16 [T, 4, 4, 5]: the subject's centre from the token's and its radius, in tokens, and its centre in the picture, 0 to 1.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int8]
    places: NDArray[np.float16]


def draw_sight(kind: SightKind, index: int, seed: int) -> Sight:
    """The sight of a kind and number, always the same; never of a scene that is kept for evaluation."""
    rng = np.random.default_rng((seed, 557, ("picture", "clip", "drawing").index(kind), index))
    if kind == "drawing":
        return _drawn(sample_exercise(pick(rng, ("drawn_edit", "drawn_motion")), index))
    moving = kind == "clip"
    style = pick(rng, STYLES) if rng.random() < STYLED_SHARE else "none"
    while True:
        scene = sample_scene(rng, motions=MOTIONS if moving else ("still",), style=style)
        if not reserved_for_evaluation(scene):
            break
    if not moving:
        return _seen(scene, render(scene, 1))
    return _seen(scene, render(scene, CLIP_FRAMES)[list(SEEN_FRAMES)])


def _seen(scene: Scene, frames: NDArray[np.uint8]) -> Sight:
    if len(frames) == 1:
        facts, near = label(scene, 1)
    else:
        facts, near = label(scene, CLIP_FRAMES, PAIRS)
    labels = np.zeros((*facts.shape[:3], len(SEEN)), np.int8)
    labels[..., : len(ATTRIBUTES)] = facts
    labels[..., -2] = 1 + list(BACKGROUNDS).index(scene.background)
    labels[..., -1] = 1 + list(STYLES).index(scene.style)
    side = CANVAS_PX // PATCH_PX
    centres = (np.arange(side, dtype=np.float16) + 0.5) / side
    places = np.zeros((*near.shape[:3], NUM_SEEN_PLACES), np.float16)
    places[..., :NUM_PLACES] = near
    places[..., NUM_PLACES] = near[..., 0] / side + centres[None, None, :]
    places[..., NUM_PLACES + 1] = near[..., 1] / side + centres[None, :, None]
    return Sight(frames, labels, places)


def _drawn(case: Case) -> Sight:
    """A picture that is drawn on; the tokens of the subject under the mark say what it asks for."""
    if case.source_scene is None or case.visual_prompt is None or case.edit is None or case.edit.before is None:
        raise ValueError(f"{case.name} {case.seed} has no drawing on a subject")
    sight = _seen(case.source_scene, case.visual_prompt)
    order = "delete" if case.edit.kind == "delete" else case.edit.value
    alone, _ = label(replace(case.source_scene, subjects=(replace(case.edit.before, motion="left"),)), 1)
    under = alone[..., list(ATTRIBUTES).index("motion")] > 0
    sight.labels[..., list(SEEN).index("asked")] = under * (1 + SEEN["asked"].index(order))
    return sight
