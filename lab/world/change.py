"""Edits in words beyond the first four kinds: all kinds, two at once, requests that cannot be met, and conversations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .cases import Case, Clip, Split, Task, admitted, phrasing_split, stream
from .edits import PICTURE_ONLY_EDITS, Edit, apply_edit, edited_region, sample_edit
from .language import fill, instruction, reference
from .relations import RELATIONS, place_beside
from .render import render
from .scene import CLIP_FRAMES, COLORS, MOTIONS, SHAPES, Scene, Subject, pick, sample_scene
from .templates import COMPOSED

TURNS: Final = 4
TURN_KINDS: Final = ("insert", "insert", "recolour", "swap", "delete")
MISSING_KINDS: Final = ("recolour", "delete", "swap", "material", "size")
_MOST_SUBJECTS: Final = 3
# Pairs that touch different things, so that neither undoes the other nor hides what is asked.
_WHOLE: Final = ("style", "background", "green_screen")
# Under which the other edit can still be read, also after a codec.
_LEGIBLE_STYLES: Final = ("mosaic", "night")
_PARTS: Final = ("recolour", "delete", "swap", "insert", "material")


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """A clip and four requests, one after another. `turns[i].target_scene` is what must be there after turn i."""

    seed: int
    start: Clip
    turns: tuple[Case, ...]


def edit_case(rng: np.random.Generator, task: Task, seed: int, split: Split, kind: str) -> Case:
    """An edit of this kind; subjects are inserted in a part of the picture or beside another subject."""
    video = task == "v2v_edit"
    while True:
        scene = sample_scene(rng, num_subjects=1 + int(rng.random() < 0.5), motions=MOTIONS if video else ("still",))
        asked = _ask(rng, scene, kind, video, split) if admitted(scene, split) else None
        if asked and (split == "eval" or admitted(apply_edit(scene, asked[0]), split)):
            return _case(task, seed, asked[1], scene, (asked[0],))


def composed_case(rng: np.random.Generator, task: Task, seed: int, split: Split) -> Case:
    """Two edits in one request: one of a subject, one of the whole picture."""
    video = task == "v2v_edit"
    while True:
        scene = sample_scene(rng, motions=MOTIONS if video else ("still",))
        if not admitted(scene, split):
            continue
        parts = tuple(kind for kind in _PARTS if not (video and kind in PICTURE_ONLY_EDITS))
        first = _ask(rng, scene, pick(rng, parts), video, split)
        if first is None:
            continue
        # Clips are asked for styles only: other backgrounds are zero-shot already when they come alone.
        second = _ask(rng, apply_edit(scene, first[0]), "style" if video else pick(rng, _WHOLE), video, split)
        if second is None or (second[0].kind == "style" and second[0].value not in _LEGIBLE_STYLES):
            continue
        pair = (first, second) if rng.random() < 0.5 else (second, first)
        prompt = fill(COMPOSED, phrasing_split(split), rng, first=pair[0][1], second=pair[1][1])
        return _case(task, seed, prompt, scene, (first[0], second[0]))


def unmeetable_case(rng: np.random.Generator, task: Task, seed: int, split: Split) -> Case:
    """An edit of a subject that is not there; the exact result is the source as it is."""
    video = task == "v2v_edit"
    frames = CLIP_FRAMES if video else 1
    while True:
        scene = sample_scene(rng, motions=MOTIONS if video else ("still",))
        # The request is made for another scene, whose subject shares neither colour nor shape with what is there.
        other = sample_scene(rng, num_subjects=1, motions=("still",))
        absent = other.subjects[0]
        there = [actor for actor in scene.subjects if isinstance(actor, Subject)]
        if not isinstance(absent, Subject) or not admitted(scene, split):
            continue
        if any(absent.shape == one.shape or absent.color == one.color for one in there):
            continue
        edit = sample_edit(rng, other, pick(rng, MISSING_KINDS))
        if edit is None:
            continue
        words = instruction(
            edit.kind, rng, video=video, before=absent, after=edit.after, value=edit.value, split=phrasing_split(split)
        )
        clip = render(scene, frames)
        missing = f"{absent.color} {absent.shape}"
        return Case(task, seed, words, clip, None, (), clip, scene, scene, None, None, missing=missing)


def sample_conversation(seed: int, split: Split = "eval") -> Conversation:
    """Four edits of one clip, each in words that fit what the edits before it should have made.

    Raises ValueError for an unknown split or seed.
    """
    rng = stream("conversation", seed, split)
    while True:
        scene = start = sample_scene(rng, num_subjects=1, motions=MOTIONS)
        if not admitted(scene, split):
            continue
        turns: list[Case] = []
        for _ in range(12):
            asked = _next_turn(rng, scene, split)
            if asked is None:
                continue
            turns.append(_case("v2v_edit", seed, asked[1], scene, (asked[0],)))
            scene = turns[-1].target_scene
            if len(turns) == TURNS:
                return Conversation(seed, render(start, CLIP_FRAMES), tuple(turns))


def _next_turn(rng: np.random.Generator, scene: Scene, split: Split) -> tuple[Edit, str] | None:
    """One turn; a subject is added only while there is room and taken away only while another is left."""
    kind = pick(rng, TURN_KINDS)
    if (kind == "insert" and len(scene.subjects) == _MOST_SUBJECTS) or (kind == "delete" and len(scene.subjects) == 1):
        return None
    asked = _ask(rng, scene, kind, True, split)
    if asked is None or (split == "train" and not admitted(apply_edit(scene, asked[0]), split)):
        return None
    return asked


def _ask(rng: np.random.Generator, scene: Scene, kind: str, video: bool, split: Split) -> tuple[Edit, str] | None:
    """An edit and the words for it, or None where the scene has no room for one."""
    if kind == "insert" and rng.random() < 0.5:
        beside = _insert_beside(rng, scene)
        if beside is None:
            return None
        edit, place = beside
    else:
        found = sample_edit(rng, scene, kind)
        if found is None:
            return None
        edit, place = found, ""
    words = instruction(
        kind,
        rng,
        video=video,
        before=edit.before,
        after=edit.after,
        value=edit.value,
        place=place,
        split=phrasing_split(split),
    )
    return edit, words


def _insert_beside(rng: np.random.Generator, scene: Scene) -> tuple[Edit, str] | None:
    named = [actor for actor in scene.subjects if isinstance(actor, Subject)]
    anchor = named[int(rng.integers(len(named)))]
    shapes = [shape for shape in SHAPES if all(shape != one.shape for one in named)]
    colors = [color for color in COLORS if all(color != one.color for one in named)]
    new = Subject(pick(rng, shapes), pick(rng, colors), "plain", "small", 0.0, 0.0)
    relation = pick(rng, tuple(RELATIONS))
    at = place_beside(rng, relation, anchor, scene.subjects, new)
    if at is None:
        return None
    place = f"{RELATIONS[relation]} {reference(anchor, rng)}"
    return Edit("insert", None, None, replace(new, x=at[0], y=at[1]), place), place


def _case(task: Task, seed: int, prompt: str, scene: Scene, edits: tuple[Edit, ...]) -> Case:
    frames = CLIP_FRAMES if task == "v2v_edit" else 1
    target, mask = scene, np.zeros((), np.bool_)
    for edit in edits:
        mask = mask | edited_region(target, edit, frames)
        target = apply_edit(target, edit)
    return Case(
        task=task,
        seed=seed,
        prompt=prompt,
        source=render(scene, frames),
        first_frame=None,
        references=(),
        target=render(target, frames),
        source_scene=scene,
        target_scene=target,
        edit=edits[0],
        mask=mask,
        edits=edits,
    )
