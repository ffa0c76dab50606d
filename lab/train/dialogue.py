"""What the MLLM learns from: requests in the chat layout of generation, and questions about pictures and clips.

After a request it is taught to say what the result will hold, in a fixed order of words: to do that it must understand the
instruction and look at the source, and its hidden states, which are all that the generator gets, come to hold the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vogue.lab.world.edits import EDIT_KINDS, apply_edit, sample_edit
from vogue.lab.world.language import animation, background_where, caption, instruction, place_cell
from vogue.lab.world.phrasings import MOTION_WORDS, PLACES
from vogue.lab.world.render import render
from vogue.lab.world.scene import MOTIONS, Scene, Subject, pick, reserved_for_evaluation, sample_scene
from vogue.schemas.config import Task

__all__ = ["KINDS", "Exchange", "draw_exchange"]

Kind = Literal["t2i", "t2v", "i2v", "i2i_edit", "v2v_edit", "see_image", "see_video"]
KINDS: Final[dict[Kind, float]] = {
    "t2i": 0.08,
    "t2v": 0.2,
    "i2v": 0.12,
    "i2i_edit": 0.2,
    "v2v_edit": 0.22,
    "see_image": 0.08,
    "see_video": 0.1,
}
CLIP_FRAMES_SEEN: Final = (0, 2, 5, 7, 9, 11, 14, 16)
NUMBERS: Final = ("zero", "one", "two", "three")
# Of these edits the bars speak; the rest is seen now and then.
COMMON_EDITS: Final = ("recolour", "delete", "swap", "style") * 4 + ("material", "background", "size", "insert")


@dataclass(frozen=True)
class Exchange:
    """A user's turn and its answer. `frames` is uint8 [F, H, W, 3]: one for a picture, 2 or 8 for a clip, or None."""

    task: Task | None
    text: str
    answer: str
    frames: NDArray[np.uint8] | None
    is_clip: bool


@lru_cache(maxsize=40_000)
def draw_exchange(kind: Kind, index: int, seed: int) -> Exchange:
    """The exchange of a kind and number, always the same; kept, because drawing pictures costs as much as a step."""
    rng = np.random.default_rng((seed, 991, list(KINDS).index(kind), index))
    if kind in ("see_image", "see_video"):
        return _look(rng, is_clip=kind == "see_video")
    if kind in ("i2i_edit", "v2v_edit"):
        return _edit(rng, Task(kind))
    return _create(rng, Task(kind))


def inventory(scene: Scene, *, motion: bool, detail: bool) -> str:
    """What a scene holds, in a fixed order; `detail` adds size and place, which a caption may leave open."""
    subjects = [actor for actor in scene.subjects if isinstance(actor, Subject)]
    words = []
    for subject in sorted(subjects, key=lambda s: (s.x, s.y) if detail else (s.color, s.shape)):
        parts = [subject.color, subject.shape, subject.material]
        if motion:
            parts.append(MOTION_WORDS[subject.motion][0][1])
        if detail:
            parts += [subject.size, PLACES[place_cell(subject)]]
        words.append(" ".join(parts))
    return ", ".join((*words, scene.background, scene.style))


def _scene(rng: np.random.Generator, motions: tuple[str, ...]) -> Scene:
    while True:
        scene = sample_scene(rng, motions=motions)
        if not reserved_for_evaluation(scene):
            return scene


def _create(rng: np.random.Generator, task: Task) -> Exchange:
    scene = _scene(rng, MOTIONS if task.makes_video else ("still",))
    if task is Task.I2V:
        answer = inventory(scene, motion=True, detail=True)
        return Exchange(task, animation(scene, rng), answer, render(scene, 1), False)
    text = caption(scene, rng, video=task.makes_video)
    return Exchange(task, text, inventory(scene, motion=task.makes_video, detail=False), None, False)


def _edit(rng: np.random.Generator, task: Task) -> Exchange:
    video = task is Task.V2V_EDIT
    while True:
        scene = _scene(rng, MOTIONS if video else ("still",))
        kind = pick(rng, COMMON_EDITS if video or rng.random() > 0.1 else EDIT_KINDS[:-1])
        edit = sample_edit(rng, scene, kind)
        if edit is not None and not reserved_for_evaluation(apply_edit(scene, edit)):
            break
    text = instruction(kind, rng, video=video, before=edit.before, after=edit.after, value=edit.value)
    # Two frames over a whole clip are its first and last, all that the MLLM is shown of a source (NUMERICS).
    frames = render(scene, 2 if video else 1)
    return Exchange(task, text, inventory(apply_edit(scene, edit), motion=False, detail=True), frames, video)


def _look(rng: np.random.Generator, *, is_clip: bool) -> Exchange:
    scene = _scene(rng, MOTIONS if is_clip else ("still",))
    frames = render(scene)[list(CLIP_FRAMES_SEEN)] if is_clip else render(scene, 1)
    media = "video" if is_clip else "picture"
    if rng.random() < 0.4:
        asked = pick(rng, (f"describe the {media}.", "what do you see?", f"what is in the {media}?"))
        return Exchange(None, asked, caption(scene, rng, video=is_clip), frames, is_clip)
    asked, answer = _question(rng, scene, is_clip=is_clip)
    return Exchange(None, asked, answer, frames, is_clip)


def _question(rng: np.random.Generator, scene: Scene, *, is_clip: bool) -> tuple[str, str]:
    named = [actor for actor in scene.subjects if isinstance(actor, Subject)]
    subject = named[int(rng.integers(len(named)))]
    options = [
        (f"what color is the {subject.shape}?", subject.color),
        (f"which shape is {subject.color}?", subject.shape),
        ("how many shapes are there?", NUMBERS[len(named)]),
        ("what is the background?", background_where(scene.background, rng)),
        (f"where is the {subject.color} {subject.shape}?", PLACES[place_cell(subject)]),
    ]
    if is_clip:
        moved = (f"how does the {subject.color} {subject.shape} move?", f"it {MOTION_WORDS[subject.motion][0][0]}")
        options += [moved] * 3
    return options[int(rng.integers(len(options)))]
