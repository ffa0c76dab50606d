"""Generation beyond a caption: subjects beside each other, and creatures that references show.

Creatures have no names, so a request can only point to the pictures. Evaluation uses creatures that training never makes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .cases import Case, Clip, Split, Task, admitted, phrasing_split
from .creature import IDENTITIES, line_up, reserved_creature
from .language import background_where, clauses, fill, join, noun, place_cell, reference
from .phrasings import PLACES, Phrasings
from .relations import RELATIONS, side
from .render import render
from .scene import (
    BACKGROUNDS,
    CLIP_FRAMES,
    MOTIONS,
    SIZES,
    Actor,
    Creature,
    Scene,
    pick,
    sample_place,
    sample_scene,
    trajectory,
)
from .templates import GATHERINGS, GROUP_PICTURES, RELATED_CAPTIONS, SAME_SUBJECT

LINE_UP: Final = 16
REFERENT: Final = ("the creature of {tag}", "the creature from {tag}", "the creature in {tag}")
_CLEAR_PX: Final = 12.0
_CLEAR_RATIO: Final = 1.3
_SAY_PLACE: Final = 0.3
_REACH_ACROSS: Final = 0.85
_REACH_UP: Final = 1.2
_ROOM_PX: Final = 4.0


def related_case(rng: np.random.Generator, task: Task, seed: int, split: Split) -> Case:
    """Two subjects, the first on a side of the second that the caption names and that holds all through the clip."""
    video = task == "t2v"
    while True:
        scene = sample_scene(rng, num_subjects=2, motions=MOTIONS if video else ("still",))
        relation = _lasting_side(scene)
        if relation and admitted(scene, split):
            break
    first, second = scene.subjects
    pair = f"{noun(first, rng)} {RELATIONS[relation]} {noun(second, rng)}"
    moves = ""
    if video:
        names = [reference(actor, rng) for actor in scene.subjects]
        moves = ", " + clauses(names, [actor.motion for actor in scene.subjects], rng)[0]
    where = background_where(scene.background, rng)
    prompt = fill(RELATED_CAPTIONS, phrasing_split(split), rng, pair=pair, where=where, moves=moves)
    target = render(scene, CLIP_FRAMES if video else 1)
    return Case(task, seed, prompt, None, None, (), target, None, scene, None, None, relation=relation)


def gathering_case(
    rng: np.random.Generator, seed: int, split: Split, *, count: int, views: int = 1, video: bool = True
) -> Case:
    """`count` creatures brought together, each shown by a reference; or one shown by several `views`."""
    identities = draw_identities(rng, count, split)
    motions = MOTIONS if video else ("still",)
    while True:
        creatures = place_creatures(rng, identities, motions)
        scene = Scene(pick(rng, BACKGROUNDS), "none", creatures)
        if creatures and admitted(scene, split):
            break
    shown = [one for one in identities for _ in range(views)]
    tags = [f"image{number}" for number in range(1, len(shown) + 1)]
    prompt = _gathering_words(rng, scene, tags, views, video, phrasing_split(split))
    return Case(
        task="multiid",
        seed=seed,
        prompt=prompt,
        source=None,
        first_frame=None,
        references=tuple(portrait(rng, one) for one in shown),
        target=render(scene, CLIP_FRAMES if video else 1),
        source_scene=None,
        target_scene=scene,
        edit=None,
        mask=None,
        identities=identities,
        line_ups=tuple(line_up(one, LINE_UP, rng) for one in identities),
    )


def draw_identities(rng: np.random.Generator, count: int, split: Split) -> tuple[int, ...]:
    """Different creatures, for evaluation of those that training never makes."""
    chosen: list[int] = []
    while len(chosen) < count:
        one = int(rng.integers(IDENTITIES))
        if reserved_creature(one) == (split == "eval") and one not in chosen:
            chosen.append(one)
    return tuple(chosen)


def place_creatures(
    rng: np.random.Generator, identities: tuple[int, ...], motions: tuple[str, ...]
) -> tuple[Actor, ...]:
    """Creatures that never touch, in the order given; empty when no places were found."""
    placed: tuple[Actor, ...] = ()
    sizes = tuple(SIZES) if len(identities) == 1 else ("small",)
    for identity in identities:
        for attempt in range(30):
            # When the picture is crowded, give up moving before giving up.
            motion = pick(rng, motions) if attempt < 15 and len(identities) < 4 else "still"
            size = pick(rng, sizes)
            x, y = sample_place(rng, motion, Creature(identity, size, 0, 0).radius)
            creature = Creature(identity, size, x, y, motion)
            if clear(creature, placed):
                placed = (*placed, creature)
                break
        else:
            return ()
    return placed


def clear(actor: Actor, others: tuple[Actor, ...]) -> bool:
    """True when a creature is apart from `others` with room between: ears and feet reach beyond the radius."""
    path = trajectory(actor, CLIP_FRAMES)
    for other in others:
        there = trajectory(other, CLIP_FRAMES)
        gap, reach = np.abs(path - there), path[:, 2] + there[:, 2]
        beside = gap[:, 0] >= _REACH_ACROSS * reach + _ROOM_PX
        if not (beside | (gap[:, 1] >= _REACH_UP * reach + _ROOM_PX)).all():
            return False
    return True


def portrait(rng: np.random.Generator, identity: int) -> Clip:
    """A picture of a creature, uint8 [1, 64, 64, 3], anywhere, on any background."""
    size = pick(rng, ("large", "large", "small"))
    x, y = sample_place(rng, "still", Creature(identity, size, 0, 0).radius)
    return render(Scene(pick(rng, BACKGROUNDS), "none", (Creature(identity, size, x, y),)), 1)


def referent(rng: np.random.Generator, tag: str) -> str:
    """Points to the creature of a reference picture."""
    return pick(rng, REFERENT).format(tag=tag)


def _gathering_words(
    rng: np.random.Generator, scene: Scene, tags: list[str], views: int, video: bool, split: str
) -> str:
    where = background_where(scene.background, rng)
    several = views > 1
    names = ["it"] if several else [referent(rng, tag) for tag in tags]
    template: Phrasings = GATHERINGS if video else GROUP_PICTURES
    if video:
        finite, gerund, _ = clauses(names, [actor.motion for actor in scene.subjects], rng)
        words = {"finite": finite, "gerund": gerund}
    else:
        placed = [name + _place(actor, rng) for name, actor in zip(names, scene.subjects, strict=True)]
        words = {"nouns": join(placed, " and ")}
    told = fill(template, split, rng, where=where, **words)
    return fill(SAME_SUBJECT, split, rng, images=join(tags, " and "), told=told) if several else told


def _place(actor: Actor, rng: np.random.Generator) -> str:
    return f" {PLACES[place_cell(actor)]}" if rng.random() < _SAY_PLACE else ""


def _lasting_side(scene: Scene) -> str:
    """The clear relation of the first subject to the second if it holds in every frame, else an empty string."""
    first, second = (trajectory(actor, CLIP_FRAMES) for actor in scene.subjects)
    gap = np.abs(first[:, :2] - second[:, :2])
    if gap.max(axis=1).min() < _CLEAR_PX or (gap.max(axis=1) < _CLEAR_RATIO * gap.min(axis=1)).any():
        return ""
    sides = {side(*here, *there) for here, there in zip(first[:, :2], second[:, :2], strict=True)}
    return sides.pop() if len(sides) == 1 else ""
