"""Edits with a reference picture: a creature to insert, to swap in or to delete, or a style to take over."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from .cases import Case, Clip, Split, Task, admitted, phrasing_split
from .creature import line_up
from .edits import Edit, apply_edit, edited_region, fits
from .gather import LINE_UP, clear, draw_identities, place_creatures, portrait, referent
from .language import fill, reference
from .phrasings import PLACES
from .render import render
from .scene import CLIP_FRAMES, MOTIONS, STYLES, Creature, Scene, pick, sample_scene
from .templates import REFERENCE_EDITS

REFERENCE_KINDS: Final = ("insert", "swap", "delete", "style")
_CELL_CENTRES_PX: Final = (13.5, 32.0, 50.5)


def reference_edit_case(rng: np.random.Generator, task: Task, seed: int, split: Split, kind: str) -> Case:
    """An edit of a picture or clip that only the reference makes complete. Raises KeyError for an unknown kind."""
    video = task == "i+v2v_edit"
    frames = CLIP_FRAMES if video else 1
    motions = MOTIONS if video else ("still",)
    while True:
        identities = draw_identities(rng, 1, split)
        scene, edit = _SAMPLERS[kind](rng, motions, identities[0], split)
        if edit is None or not admitted(scene, split):
            continue
        target_scene = apply_edit(scene, edit)
        if not all(clear(actor, target_scene.subjects[:at]) for at, actor in enumerate(target_scene.subjects)):
            continue
        if split == "eval" or admitted(target_scene, split):
            break
    shown = _style_sample(rng, edit.value, split) if kind == "style" else portrait(rng, identities[0])
    named = "image1"
    words = {"media": "video" if video else "picture", "tag": named, "ref": referent(rng, named), "place": edit.value}
    if kind == "swap" and edit.before is not None:
        words["it"] = reference(edit.before, rng)
    unnamed = kind == "style" or kind == "delete"
    return Case(
        task=task,
        seed=seed,
        prompt=fill(REFERENCE_EDITS[kind], phrasing_split(split), rng, **words),
        source=render(scene, frames),
        first_frame=None,
        references=(shown,),
        target=render(target_scene, frames),
        source_scene=scene,
        target_scene=target_scene,
        edit=edit,
        mask=edited_region(scene, edit, frames),
        identities=() if unnamed else identities,
        line_ups=() if unnamed else (line_up(identities[0], LINE_UP, rng),),
    )


def _insert(
    rng: np.random.Generator, motions: tuple[str, ...], identity: int, split: Split
) -> tuple[Scene, Edit | None]:
    scene = sample_scene(rng, num_subjects=1 + int(rng.random() < 0.3), motions=motions)
    column, row = list(PLACES)[int(rng.integers(len(PLACES)))]
    after = Creature(identity, "small", _CELL_CENTRES_PX[column], _CELL_CENTRES_PX[row])
    edit = Edit("insert", None, None, after, PLACES[column, row])
    return scene, edit


def _swap(rng: np.random.Generator, motions: tuple[str, ...], identity: int, split: Split) -> tuple[Scene, Edit | None]:
    scene = sample_scene(rng, num_subjects=1 + int(rng.random() < 0.4), motions=motions)
    index = int(rng.integers(len(scene.subjects)))
    before = scene.subjects[index]
    after = Creature(identity, before.size, before.x, before.y, before.motion)
    others = tuple(actor for at, actor in enumerate(scene.subjects) if at != index)
    return scene, Edit("swap", index, before, after, "") if fits(after, others) else None


def _delete(
    rng: np.random.Generator, motions: tuple[str, ...], identity: int, split: Split
) -> tuple[Scene, Edit | None]:
    """One of two creatures, so that only the reference tells which."""
    other = draw_identities(rng, 1, split)[0]
    creatures = place_creatures(rng, (identity, other), motions) if other != identity else ()
    if not creatures:
        return Scene("grey", "none", ()), None
    index = int(rng.integers(2))
    ordered = creatures if index == 0 else creatures[::-1]
    scene = replace(sample_scene(rng), subjects=ordered)
    return scene, Edit("delete", index, ordered[index], None, "")


def _style(
    rng: np.random.Generator, motions: tuple[str, ...], identity: int, split: Split
) -> tuple[Scene, Edit | None]:
    scene = sample_scene(rng, motions=motions)
    return scene, Edit("style", None, None, None, pick(rng, STYLES[1:]))


def _style_sample(rng: np.random.Generator, style: str, split: Split) -> Clip:
    """Any picture in a style; those of training are never reserved scenes."""
    while True:
        scene = sample_scene(rng, motions=("still",), style=style)
        if split == "eval" or admitted(scene, split):
            return render(scene, 1)


_SAMPLERS: Final = {"insert": _insert, "swap": _swap, "delete": _delete, "style": _style}
