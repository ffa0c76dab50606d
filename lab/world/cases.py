"""Tasks made of the world: prompt, visual inputs and exact target, deterministic by (task, seed, split).

Training and evaluation can never meet: their random streams have different spawn keys, and one scene in 64, chosen by a
hash of its facts and places, is reserved. Evaluation draws reserved scenes only, training all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .edits import CORE_EDITS, EDIT_KINDS, Edit, apply_edit, edited_region, sample_edit
from .language import animation, caption, instruction
from .render import render
from .scene import CLIP_FRAMES, MOTIONS, Scene, reserved_for_evaluation, sample_scene

Task = Literal["t2i", "t2v", "i2v", "i2i_edit", "v2v_edit"]
Split = Literal["train", "eval"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
TRAIN_SEEDS: Final = 2**40
_SPAWN: Final = {"train": 0, "eval": 1}
_MOVING: Final = tuple(motion for motion in MOTIONS if motion != "still")

Clip = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One exercise. Pictures are uint8 [T, H, W, 3], T = 1 for images; `mask` is the edited region, bool [T, H, W]."""

    task: Task
    seed: int
    prompt: str
    source: Clip | None
    first_frame: Clip | None
    references: tuple[Clip, ...]
    target: Clip
    source_scene: Scene | None
    target_scene: Scene
    edit: Edit | None
    mask: NDArray[np.bool_] | None


def sample_case(task: Task, seed: int, split: Split = "train", edit_kind: str | None = None) -> Case:
    """The case of a seed; `edit_kind` fixes the kind of an edit, which is else drawn from `CORE_EDITS`.

    Evaluation cases use held-out scenes and held-out phrasings.
    Raises ValueError for an unknown task, split or kind, or a training seed outside 0 ≤ seed < 2**40.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r} is none of {', '.join(TASKS)}")
    if split not in _SPAWN:
        raise ValueError(f"split {split!r} is neither 'train' nor 'eval'")
    if not 0 <= seed < TRAIN_SEEDS:
        raise ValueError(f"seed {seed} is outside 0 ≤ seed < 2**40")
    if edit_kind is not None and edit_kind not in EDIT_KINDS:
        raise ValueError(f"edit kind {edit_kind!r} is none of {', '.join(EDIT_KINDS)}")
    sequence = np.random.SeedSequence(seed, spawn_key=(_SPAWN[split], TASKS.index(task)))
    rng = np.random.Generator(np.random.PCG64(sequence))
    if task in ("i2i_edit", "v2v_edit"):
        return _edit_case(rng, task, seed, split, edit_kind)
    return _scene_case(rng, task, seed, split)


def phrasing_split(split: Split) -> str:
    """Which sentences a split uses."""
    return "heldout" if split == "eval" else "train"


def _scene_case(rng: np.random.Generator, task: Task, seed: int, split: Split) -> Case:
    video = task != "t2i"
    # Half of what one sees in i2v should move, or staying still would be the best guess.
    motions = ("still",) if not video else _i2v_motions(rng) if task == "i2v" else MOTIONS
    scene = sample_scene(rng, motions=motions)
    while reserved_for_evaluation(scene) != (split == "eval"):
        scene = sample_scene(rng, motions=motions)
    target = render(scene, CLIP_FRAMES if video else 1)
    words = phrasing_split(split)
    if task == "i2v":
        prompt, first_frame = animation(scene, rng, split=words), target[:1].copy()
    else:
        prompt, first_frame = caption(scene, rng, video=video, split=words), None
    return Case(task, seed, prompt, None, first_frame, (), target, None, scene, None, None)


def _i2v_motions(rng: np.random.Generator) -> tuple[str, ...]:
    return MOTIONS if rng.random() < 0.5 else _MOVING


def _edit_case(rng: np.random.Generator, task: Task, seed: int, split: Split, kind: str | None) -> Case:
    video = task == "v2v_edit"
    kind = kind or CORE_EDITS[int(rng.integers(len(CORE_EDITS)))]
    if kind == "motion" and not video:
        raise ValueError("a picture has no motion to edit")
    scene, edit = _sample_edited(rng, split, kind, MOTIONS if video else ("still",))
    frames = CLIP_FRAMES if video else 1
    target_scene = apply_edit(scene, edit)
    prompt = instruction(
        kind, rng, video=video, before=edit.before, after=edit.after, value=edit.value, split=phrasing_split(split)
    )
    return Case(
        task=task,
        seed=seed,
        prompt=prompt,
        source=render(scene, frames),
        first_frame=None,
        references=(),
        target=render(target_scene, frames),
        source_scene=scene,
        target_scene=target_scene,
        edit=edit,
        mask=edited_region(scene, edit, frames),
    )


def _sample_edited(rng: np.random.Generator, split: Split, kind: str, motions: tuple[str, ...]) -> tuple[Scene, Edit]:
    """A scene and an edit, both scenes on the right side of the fence (for evaluation the source decides)."""
    while True:
        scene = sample_scene(rng, num_subjects=1 + int(rng.random() < 0.5), motions=motions)
        if reserved_for_evaluation(scene) != (split == "eval"):
            continue
        edit = sample_edit(rng, scene, kind)
        if edit is None or (split == "train" and reserved_for_evaluation(apply_edit(scene, edit))):
            continue
        return scene, edit
