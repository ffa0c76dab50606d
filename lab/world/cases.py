"""Tasks made of the world: prompt, visual inputs and exact target, deterministic by (task, seed, split).

Training and evaluation can never meet: their random streams have different spawn keys, and one scene in 64, chosen by a
hash of its facts and places, is reserved. Evaluation draws reserved scenes only, training all others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .edits import ALL_EDITS, CORE_EDITS, Edit, apply_edit, edited_region, sample_edit
from .language import animation, caption, instruction
from .render import render
from .scene import CLIP_FRAMES, MOTIONS, Scene, reserved_for_evaluation, sample_scene

Task = Literal["t2i", "t2v", "i2v", "i2i_edit", "v2v_edit", "i+i2i_edit", "i+v2v_edit", "multiid"]
"""The generator's tasks, in the release's names."""
Split = Literal["train", "eval"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)[:5]
"""Those that `sample_case` knows; all others come from `vogue.lab.world.exercises`."""
TRAIN_SEEDS: Final = 2**40
_SPAWN: Final = {"train": 0, "eval": 1}
_MOVING: Final = tuple(motion for motion in MOTIONS if motion != "still")

Clip = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One exercise. Pictures are uint8 [T, H, W, 3], T = 1 for images; `mask` is the edited region, bool [T, H, W].

    `edits` holds several edits where one request asks for them, `edit` is then the first. Visual inputs are tagged in the
    order references, source or first frame, visual prompt: image1, image2, …, video1. `identities` are the creatures that
    references show, in the order of the target's creatures, each with its line-up. `relation` is that of the first subject
    to the second. `missing` is what a request that cannot be met speaks of in vain.
    """

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
    name: str = ""
    edits: tuple[Edit, ...] = ()
    visual_prompt: Clip | None = None
    identities: tuple[int, ...] = ()
    line_ups: tuple[tuple[int, ...], ...] = ()
    relation: str = ""
    missing: str = ""

    @property
    def asked(self) -> tuple[Edit, ...]:
        """All edits that the request asks for."""
        return self.edits or (() if self.edit is None else (self.edit,))


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
    if edit_kind is not None and edit_kind not in ALL_EDITS:
        raise ValueError(f"edit kind {edit_kind!r} is none of {', '.join(ALL_EDITS)}")
    sequence = np.random.SeedSequence(seed, spawn_key=(_SPAWN[split], TASKS.index(task)))
    rng = np.random.Generator(np.random.PCG64(sequence))
    if task in ("i2i_edit", "v2v_edit"):
        return _edit_case(rng, task, seed, split, edit_kind)
    return _scene_case(rng, task, seed, split)


def stream(name: str, seed: int, split: Split) -> np.random.Generator:
    """The random stream of a named exercise, apart from those of every other name and split.

    Raises ValueError for an unknown split or a seed outside 0 ≤ seed < 2**40.
    """
    if split not in _SPAWN:
        raise ValueError(f"split {split!r} is neither 'train' nor 'eval'")
    if not 0 <= seed < TRAIN_SEEDS:
        raise ValueError(f"seed {seed} is outside 0 ≤ seed < 2**40")
    key = (_SPAWN[split], len(TASKS), zlib.crc32(name.encode()))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def admitted(scene: Scene, split: Split) -> bool:
    """Whether a scene is on this split's side of the fence: evaluation has the reserved ones, training all others."""
    return reserved_for_evaluation(scene) == (split == "eval")


def phrasing_split(split: Split) -> str:
    """Which sentences a split uses."""
    return "heldout" if split == "eval" else "train"


def _scene_case(rng: np.random.Generator, task: Task, seed: int, split: Split) -> Case:
    video = task != "t2i"
    # Half of what one sees in i2v should move, or staying still would be the best guess.
    motions = ("still",) if not video else _i2v_motions(rng) if task == "i2v" else MOTIONS
    scene = sample_scene(rng, motions=motions)
    while not admitted(scene, split):
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
        if not admitted(scene, split):
            continue
        edit = sample_edit(rng, scene, kind)
        if edit is None or (split == "train" and reserved_for_evaluation(apply_edit(scene, edit))):
            continue
        return scene, edit
