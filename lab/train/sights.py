"""Pictures and clips with what each visual token of the MLLM shows of them, to teach its eyes.

Answers of a few words say little about a picture: from them alone the vision tower learns colours and counts, but neither
shapes nor places in a reasonable time. So while it is trained, its tokens are asked directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vogue.lab.world.cases import Case
from vogue.lab.world.drawn import DIRECTIONS
from vogue.lab.world.exercises import sample_exercise
from vogue.lab.world.render import coverage, render
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

__all__ = ["CELLS", "NUM_SEEN_PLACES", "REPORTED", "SEEN", "Sight", "SightKind", "draw_sight", "facts_of"]

SightKind = Literal["picture", "clip", "drawing"]
SEEN: Final[Mapping[str, tuple[str, ...]]] = {
    **ATTRIBUTES,
    "asked": ("delete", *DIRECTIONS, *COLORS),
    "background": tuple(BACKGROUNDS),
    "style": tuple(STYLES),
}
"""What tokens are asked for: facts of the subject, what a drawing on it asks for, and what holds for all tokens."""
REPORTED: Final[Mapping[SightKind, tuple[str, ...]]] = {
    "picture": ("shape", "color", "material"),
    "drawing": ("asked",),
    "clip": ("motion",),
}
"""What a run's log tells of each kind."""
NUM_SEEN_PLACES: Final = NUM_PLACES + 2
PAIRS: Final = tuple(zip(SEEN_FRAMES[::2], SEEN_FRAMES[1::2], strict=True))
"""The tower joins two frames to one token."""
STYLED_SHARE: Final = 0.15
CELL_PX: Final = 2
CELLS: Final = PATCH_PX // CELL_PX


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What the MLLM is shown, and what is known of each of its visual tokens.

    frames: uint8 [F, 64, 64, 3]. labels: int8 [T, 4, 4, attributes of `SEEN`], 0 for none. places: float16 [T, 4, 4, 5], the subject's
    centre from the token's and its radius, in tokens, and its centre in the picture, 0 to 1. cover: float16 [T, 4, 4, 64], how much
    of each 2 px cell subjects cover, row by row.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int8]
    places: NDArray[np.float16]
    cover: NDArray[np.float16]


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


def facts_of(sights: Sequence[Sight]) -> tuple[Tensor, Tensor, Tensor]:
    """Labels [B, N, attributes], places [B, N, 5] and cover [B, N, 64] of sights of one length, token by token."""
    labels = torch.from_numpy(np.stack([sight.labels for sight in sights])).flatten(1, 3).long()
    places = torch.from_numpy(np.stack([sight.places for sight in sights])).flatten(1, 3).float()
    cover = torch.from_numpy(np.stack([sight.cover for sight in sights])).flatten(1, 3).float()
    return labels, places, cover


def _seen(scene: Scene, frames: NDArray[np.uint8]) -> Sight:
    length, groups = (1, ((0,),)) if len(frames) == 1 else (CLIP_FRAMES, PAIRS)
    facts, near = label(scene, length, groups)
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
    covered = np.logical_or.reduce([coverage(actor, length) for actor in scene.subjects])
    cells = covered.reshape(length, CANVAS_PX // CELL_PX, CELL_PX, CANVAS_PX // CELL_PX, CELL_PX).mean((2, 4))
    shown = np.stack([cells[list(group)].mean(0) for group in groups])
    tokens = (
        shown.reshape(len(groups), side, CELLS, side, CELLS).swapaxes(2, 3).reshape(len(groups), side, side, CELLS**2)
    )
    return Sight(frames, labels, places, tokens.astype(np.float16))


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
