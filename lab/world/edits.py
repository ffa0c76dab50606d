"""Edits: a source scene and what is asked, to the target scene and the region that may change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .phrasings import PLACES
from .render import coverage
from .scene import (
    BACKGROUNDS,
    CANVAS_PX,
    COLORS,
    GREEN_SCREEN,
    MATERIALS,
    MOTIONS,
    SHAPES,
    SIZES,
    STYLES,
    Actor,
    Scene,
    Subject,
    apart,
    pick,
    room,
)

CORE_EDITS: Final = ("recolour", "delete", "swap", "style")
EDIT_KINDS: Final = (*CORE_EDITS, "material", "size", "insert", "background", "motion")
ALL_EDITS: Final = (*EDIT_KINDS, "green_screen")
# Of these, clips are never trained on: what a model does to a clip it must have learned from pictures.
PICTURE_ONLY_EDITS: Final = ("material", "size", "background", "green_screen")
REGION_MARGIN_PX: Final = 2
_CELL_CENTRES_PX: Final = (13.0, 32.0, 51.0)


@dataclass(frozen=True, slots=True)
class Edit:
    """What is asked: `subject` indexes the source scene's subjects (None: the whole scene or a new subject)."""

    kind: str
    subject: int | None
    before: Actor | None
    after: Actor | None
    value: str


def sample_edit(rng: np.random.Generator, scene: Scene, kind: str) -> Edit | None:
    """An edit of this kind that really changes the scene; None if this scene has no room for one.

    Raises KeyError for an unknown kind.
    """
    return _SAMPLERS[kind](rng, scene)


def apply_edit(scene: Scene, edit: Edit) -> Scene:
    """The target scene."""
    if edit.kind == "style":
        return replace(scene, style=edit.value)
    if edit.kind in ("background", "green_screen"):
        return replace(scene, background=edit.value)
    if edit.kind == "insert" and edit.after is not None:
        return replace(scene, subjects=(*scene.subjects, edit.after))
    subjects = [edit.after if index == edit.subject else actor for index, actor in enumerate(scene.subjects)]
    return replace(scene, subjects=tuple(actor for actor in subjects if actor is not None))


def edited_region(scene: Scene, edit: Edit, num_frames: int, size: int = CANVAS_PX) -> NDArray[np.bool_]:
    """Where the target may differ from the source, bool [T, H, W], with a margin for soft edges.

    A style changes all; a background all but the inside of the subjects.
    """
    if edit.kind == "style":
        return np.ones((num_frames, size, size), np.bool_)
    if edit.kind in ("background", "green_screen"):
        kept = np.zeros((num_frames, size, size), np.bool_)
        for actor in scene.subjects:
            kept |= coverage(actor, num_frames, size)
        return widen(~kept, REGION_MARGIN_PX)
    region = np.zeros((num_frames, size, size), np.bool_)
    for touched in (edit.before, edit.after):
        if touched is not None:
            region |= coverage(touched, num_frames, size)
    return widen(region, REGION_MARGIN_PX)


def widen(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Grow a mask [T, H, W] by `margin` pixels in each direction."""
    for _ in range(margin):
        grown = mask.copy()
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        grown[:, :, 1:] |= mask[:, :, :-1]
        grown[:, :, :-1] |= mask[:, :, 1:]
        mask = grown
    return mask


def _target(rng: np.random.Generator, scene: Scene) -> tuple[int, Subject, tuple[Subject, ...]]:
    """A named subject to edit, and the other named ones."""
    named = [(index, actor) for index, actor in enumerate(scene.subjects) if isinstance(actor, Subject)]
    index, subject = named[int(rng.integers(len(named)))]
    return index, subject, tuple(actor for at, actor in named if at != index)


def _recolour(rng: np.random.Generator, scene: Scene) -> Edit:
    index, subject, others = _target(rng, scene)
    color = pick(rng, [c for c in COLORS if c != subject.color and all(c != o.color for o in others)])
    return Edit("recolour", index, subject, replace(subject, color=color), color)


def _delete(rng: np.random.Generator, scene: Scene) -> Edit:
    index, subject, _ = _target(rng, scene)
    return Edit("delete", index, subject, None, "")


def _swap(rng: np.random.Generator, scene: Scene) -> Edit:
    index, subject, others = _target(rng, scene)
    shape = pick(rng, [s for s in SHAPES if s != subject.shape and all(s != o.shape for o in others)])
    color = pick(rng, [c for c in COLORS if c != subject.color and all(c != o.color for o in others)])
    after = replace(subject, shape=shape, color=color, material="plain")
    return Edit("swap", index, subject, after, f"{color} {shape}")


def _style(rng: np.random.Generator, scene: Scene) -> Edit:
    style = pick(rng, [s for s in STYLES if s not in (scene.style, "none")])
    return Edit("style", None, None, None, style)


def _material(rng: np.random.Generator, scene: Scene) -> Edit:
    index, subject, _ = _target(rng, scene)
    material = pick(rng, [m for m in MATERIALS if m != subject.material])
    return Edit("material", index, subject, replace(subject, material=material), material)


def _size(rng: np.random.Generator, scene: Scene) -> Edit | None:
    index, subject, others = _target(rng, scene)
    size = pick(rng, [s for s in SIZES if s != subject.size])
    after = replace(subject, size=size)
    return Edit("size", index, subject, after, size) if fits(after, others) else None


def _insert(rng: np.random.Generator, scene: Scene) -> Edit | None:
    taken = [actor for actor in scene.subjects if isinstance(actor, Subject)]
    shape = pick(rng, [s for s in SHAPES if all(s != o.shape for o in taken)])
    color = pick(rng, [c for c in COLORS if all(c != o.color for o in taken)])
    column, row = list(PLACES)[int(rng.integers(len(PLACES)))]
    after = Subject(shape, color, "plain", "small", _CELL_CENTRES_PX[column], _CELL_CENTRES_PX[row])
    return Edit("insert", None, None, after, PLACES[column, row]) if apart(after, scene.subjects) else None


def _background(rng: np.random.Generator, scene: Scene) -> Edit:
    background = pick(rng, [b for b in BACKGROUNDS if b != scene.background])
    return Edit("background", None, None, None, background)


def _green_screen(rng: np.random.Generator, scene: Scene) -> Edit | None:
    if any(isinstance(actor, Subject) and actor.color == "green" for actor in scene.subjects):
        return None
    return Edit("green_screen", None, None, None, GREEN_SCREEN)


def _motion(rng: np.random.Generator, scene: Scene) -> Edit | None:
    index, subject, others = _target(rng, scene)
    motion = pick(rng, [m for m in MOTIONS if m != subject.motion])
    after = replace(subject, motion=motion)
    return Edit("motion", index, subject, after, motion) if fits(after, others) else None


def fits(subject: Actor, others: tuple[Actor, ...]) -> bool:
    """True when a subject's motion stays inside the picture and clear of `others`."""
    low_x, high_x, low_y, high_y = room(subject.motion, subject.radius)
    inside = low_x <= subject.x <= high_x and low_y <= subject.y <= high_y
    return inside and apart(subject, others)


_SAMPLERS: Final = {
    "recolour": _recolour,
    "delete": _delete,
    "swap": _swap,
    "style": _style,
    "material": _material,
    "size": _size,
    "insert": _insert,
    "background": _background,
    "motion": _motion,
    "green_screen": _green_screen,
}
