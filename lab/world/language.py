"""Scenes and edits in words: short lower-case sentences from a grammar.

A plain material goes unsaid, a size is said half of the time, a place now and then; colour, shape, background and, in
clips, motion are always said. `split` chooses the sentences: "train", or "heldout" for those training never sees.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .phrasings import (
    ANIMATIONS,
    EDITS,
    IMAGE_CAPTIONS,
    MOTION_WORDS,
    PLACES,
    SCENERY_NOUNS,
    SCENERY_WHERE,
    STYLE_NOUNS,
    VIDEO_CAPTIONS,
    Phrasings,
)
from .scene import CANVAS_PX, Actor, Creature, Scene, Subject, pick
from .templates import GREEN_SCREEN

_SAY_SIZE: Final = 0.5
_SAY_PLACE: Final = 0.35
_SAY_SHAPE_ONLY: Final = 0.2
_SAY_IT: Final = 0.2
_CELL_EDGES_PX: Final = (0.36 * CANVAS_PX, 0.64 * CANVAS_PX)


def caption(scene: Scene, rng: np.random.Generator, *, video: bool, split: str = "train") -> str:
    """A sentence from which the scene could be drawn; motion is left out of pictures."""
    where = background_where(scene.background, rng)
    # Three subjects with all that could be said of them would make a sentence nobody says.
    crowded = len(scene.subjects) > 2
    nouns = [noun(actor, rng, size=not crowded) + ("" if crowded else _place(actor, rng)) for actor in scene.subjects]
    if not video:
        return fill(IMAGE_CAPTIONS, split, rng, nouns=join(nouns, " and "), where=where)
    finite, gerund = clauses(nouns, [actor.motion for actor in scene.subjects], rng)[:2]
    return fill(VIDEO_CAPTIONS, split, rng, finite=finite, gerund=gerund, where=where)


def animation(scene: Scene, rng: np.random.Generator, *, split: str = "train") -> str:
    """What moves and how, for a clip whose first frame is given; who is not named stays still."""
    moving = [actor for actor in scene.subjects if actor.motion != "still"] or list(scene.subjects)
    alone = len(scene.subjects) == 1 and rng.random() < _SAY_IT
    names = ["it"] if alone else [reference(actor, rng) for actor in moving]
    finite, gerund, base = clauses(names, [actor.motion for actor in moving], rng)
    return fill(ANIMATIONS, split, rng, finite=finite, gerund=gerund, base=base)


def instruction(
    kind: str,
    rng: np.random.Generator,
    *,
    video: bool,
    before: Actor | None = None,
    after: Actor | None = None,
    value: str = "",
    place: str = "",
    split: str = "train",
) -> str:
    """The sentence that asks for an edit.

    `before` is the subject it touches, `after` what that becomes or what is inserted, `value` the new style or background,
    `place` where to insert it, if not in words of the picture's thirds.
    Raises KeyError for an unknown kind.
    """
    words = {"media": "video" if video else "picture"}
    if before is not None:
        words["it"] = reference(before, rng)
    if kind == "style":
        words["new"] = pick(rng, STYLE_NOUNS[value])
    elif kind == "background":
        words["new"] = SCENERY_NOUNS.get(value, f"plain {value}")
    elif kind in ("swap", "insert") and after is not None:
        words["new"] = noun(after, rng, size=kind == "insert")
        words["place"] = place or PLACES[place_cell(after)]
    elif kind == "motion" and after is not None:
        words["finite"], words["gerund"], words["base"] = clauses([words["it"]], [after.motion], rng)
    elif isinstance(after, Subject):
        words["new"] = {
            "recolour": after.color,
            "material": after.material,
            "size": pick(rng, ("larger", "bigger")) if after.size == "large" else "smaller",
        }.get(kind, "")
    return fill(GREEN_SCREEN if kind == "green_screen" else EDITS[kind], split, rng, **words)


def reference(actor: Actor, rng: np.random.Generator) -> str:
    """Names a subject that is there; shapes and colours of a scene differ, so either is enough."""
    if isinstance(actor, Creature):
        return "the creature"
    return f"the {actor.shape}" if rng.random() < _SAY_SHAPE_ONLY else f"the {actor.color} {actor.shape}"


def background_where(name: str, rng: np.random.Generator) -> str:
    """Where the scene plays: "in a meadow", "on a grey background"."""
    if name in SCENERY_WHERE:
        return pick(rng, SCENERY_WHERE[name])
    return f"on a {name} background"


def place_cell(actor: Actor) -> tuple[int, int]:
    """Column and row of the start on a 3×3 grid, each 0–2."""
    low, high = _CELL_EDGES_PX
    column, row = (int(at >= low) + int(at >= high) for at in (actor.x, actor.y))
    return column, row


def noun(actor: Actor, rng: np.random.Generator, *, size: bool = True) -> str:
    """Names a subject that is new, with its material where it has one: "a small striped red star"."""
    if isinstance(actor, Creature):
        return f"a {actor.size} creature"
    words = [actor.color, actor.shape]
    if actor.material != "plain":
        words.insert(0, actor.material)
    if size and rng.random() < _SAY_SIZE:
        words.insert(0, actor.size)
    article = "an" if words[0][0] in "aeio" else "a"
    return " ".join((article, *words))


def _place(actor: Actor, rng: np.random.Generator) -> str:
    return f" {PLACES[place_cell(actor)]}" if rng.random() < _SAY_PLACE else ""


def clauses(names: list[str], motions: list[str], rng: np.random.Generator) -> tuple[str, str, str]:
    """Finite, gerund and base clauses of the same wording, joined over the subjects."""
    forms = [MOTION_WORDS[motion][int(rng.integers(len(MOTION_WORDS[motion])))] for motion in motions]
    joint = pick(rng, (" and ", " while ")) if len(names) == 2 else " and "
    finite, gerund, base = (
        join([f"{name} {form[case]}" for name, form in zip(names, forms, strict=True)], glue)
        for case, glue in enumerate((joint, " and ", " and "))
    )
    return finite, gerund, base


def join(parts: list[str], glue: str) -> str:
    """Parts in one enumeration, the last joined by `glue`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + glue + parts[-1]


def fill(phrasings: Phrasings, split: str, rng: np.random.Generator, **words: str) -> str:
    """One of a template's sentences of a split, its gaps filled."""
    return pick(rng, phrasings.of(split)).format(**words)
