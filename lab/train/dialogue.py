"""What the MLLM learns from: requests in the chat layout of generation, questions, plans and reviews.

After a request it is taught to say what the result will hold, in a fixed order of words: to do that it must understand the
instruction and look at the source, and its hidden states, which are all that the generator gets, come to hold the answer.
Plans and reviews have the formats of `vogue.engines.thinking`. Every case comes from `sample_exercise`, which refuses to draw
for training what is zero-shot.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vogue.engines.thinking import plan_exchange, review_exchange
from vogue.lab.labels import right_plan, told_roles
from vogue.lab.reviews import SPOILINGS, judge, spoil
from vogue.lab.world.cases import Case
from vogue.lab.world.exercises import sample_exercise
from vogue.lab.world.inquire import sample_inquiry
from vogue.lab.world.language import animation, caption, place_cell
from vogue.lab.world.phrasings import MOTION_WORDS, PLACES
from vogue.lab.world.render import render
from vogue.lab.world.scene import MOTIONS, Creature, Scene, Subject, pick, reserved_for_evaluation, sample_scene
from vogue.schemas.config import Role, Task
from vogue.schemas.presets import get_preset

__all__ = ["KINDS", "Exchange", "draw_exchange"]

Kind = Literal[
    "t2i",
    "t2v",
    "i2v",
    "i2i_edit",
    "v2v_edit",
    "references",
    "see_image",
    "see_video",
    "plan",
    "plan_drawn",
    "review_image",
    "review_video",
]
KINDS: Final[dict[Kind, float]] = {
    "t2i": 0.1,
    "t2v": 0.2,
    "i2v": 0.1,
    "i2i_edit": 0.1,
    "v2v_edit": 0.1,
    "references": 0.08,
    "see_image": 0.09,
    "see_video": 0.08,
    "plan": 0.06,
    "plan_drawn": 0.06,
    "review_image": 0.02,
    "review_video": 0.01,
}
SEEN_FRAMES: Final = (0, 2, 5, 7, 9, 11, 14, 16)
SOURCE_FRAMES: Final = (0, 16)
"""Two frames of a whole clip are its first and last, all that the MLLM is shown of a source (NUMERICS)."""
REFERRING: Final = ("ref_i2i_edit", "ref_v2v_edit", "ref_i2i_style", "ref2i", "multiid_one", "multiid", "multiid_views")
PLANNED: Final = ("t2i", "t2v", "i2v", "i2i_wide", "v2v_wide", *REFERRING, "unmeetable", "unmeetable", "unmeetable")
DRAWN: Final = ("drawn_motion", "drawn_edit", "drawn_edit", "drawn_canvas")
REVIEWED: Final = {
    "review_image": ("t2i", "i2i_edit", "i2i_wide", "ref_i2i_edit"),
    "review_video": ("t2v", "i2v", "v2v_edit", "ref_v2v_edit"),
}
CAPTION_SHARE: Final = 0.35
UNTOLD_SHARE: Final = 0.3


@dataclass(frozen=True)
class Exchange:
    """A user's turn and its answer. Pictures are uint8 [H, W, 3], clips uint8 [F, H, W, 3], both as the MLLM is shown them."""

    task_instruction: str
    text: str
    answer: str
    images: tuple[NDArray[np.uint8], ...] = ()
    clips: tuple[NDArray[np.uint8], ...] = ()


@lru_cache(maxsize=20_000)
def draw_exchange(kind: Kind, index: int, seed: int) -> Exchange:
    """The exchange of a kind and number, always the same; kept, because drawing pictures costs as much as a step."""
    rng = np.random.default_rng((seed, 991, list(KINDS).index(kind), index))
    if kind in ("see_image", "see_video"):
        return _look(rng, index, is_clip=kind == "see_video")
    if kind in ("plan", "plan_drawn"):
        return _plan(rng, sample_exercise(pick(rng, DRAWN if kind == "plan_drawn" else PLANNED), index))
    if kind in REVIEWED:
        return _review(rng, sample_exercise(pick(rng, REVIEWED[kind]), index))
    if kind in ("i2i_edit", "v2v_edit"):
        return _request(sample_exercise("i2i_wide" if kind == "i2i_edit" else "v2v_wide", index))
    if kind == "references":
        return _request(sample_exercise(pick(rng, REFERRING), index))
    return _create(rng, Task(kind))


def inventory(scene: Scene, *, motion: bool, detail: bool) -> str:
    """What a scene holds, in a fixed order; `detail` adds size and place, which a caption may leave open."""

    def order(actor: Subject | Creature) -> tuple[float | str, ...]:
        if detail or isinstance(actor, Creature):
            return actor.x, actor.y
        return actor.color, actor.shape

    words = []
    for actor in sorted(scene.subjects, key=order):
        parts = ["creature"] if isinstance(actor, Creature) else [actor.color, actor.shape, actor.material]
        if motion:
            parts.append(MOTION_WORDS[actor.motion][0][1])
        if detail:
            parts += [actor.size, PLACES[place_cell(actor)]]
        words.append(" ".join(parts))
    return ", ".join((*words, scene.background, scene.style))


def _scene(rng: np.random.Generator, motions: tuple[str, ...]) -> Scene:
    while True:
        scene = sample_scene(rng, motions=motions)
        if not reserved_for_evaluation(scene):
            return scene


def _wording(task: Task) -> str:
    return get_preset("mini").prompts.tasks[task]


def _create(rng: np.random.Generator, task: Task) -> Exchange:
    scene = _scene(rng, MOTIONS if task.makes_video else ("still",))
    if task is Task.I2V:
        answer = inventory(scene, motion=True, detail=True)
        return Exchange(_wording(task), animation(scene, rng), answer, (render(scene, 1)[0],))
    text = caption(scene, rng, video=task.makes_video)
    return Exchange(_wording(task), text, inventory(scene, motion=task.makes_video, detail=False))


def _inputs(
    case: Case, frames: tuple[int, ...], *, drawing: bool = True
) -> tuple[tuple[NDArray[np.uint8], ...], tuple[NDArray[np.uint8], ...]]:
    """The pictures and clips of a case in the order the MLLM is shown them, clips thinned to `frames`."""
    given = [*case.references, case.source, case.first_frame, case.visual_prompt if drawing else None]
    shown = [one for one in given if one is not None]
    return tuple(one[0] for one in shown if len(one) == 1), tuple(one[list(frames)] for one in shown if len(one) > 1)


def _request(case: Case) -> Exchange:
    images, clips = _inputs(case, SOURCE_FRAMES, drawing=False)
    # An edit moves nothing unless it is told to, so motion is worth saying only where it is new.
    motion = case.source is None or any(edit.kind == "motion" for edit in case.asked)
    answer = inventory(case.target_scene, motion=motion, detail=True)
    return Exchange(_wording(Task(case.task)), case.prompt, answer, images, clips)


def _look(rng: np.random.Generator, index: int, *, is_clip: bool) -> Exchange:
    kind = "caption" if rng.random() < CAPTION_SHARE else "question"
    asked = sample_inquiry(kind, index, video=is_clip)
    if is_clip:
        return Exchange("", asked.question, asked.answer, (), (asked.frames[list(SEEN_FRAMES)],))
    return Exchange("", asked.question, asked.answer, (asked.frames[0],))


def _plan(rng: np.random.Generator, case: Case) -> Exchange:
    told: dict[str, Role | None] = dict(told_roles(case))
    if len(told) == 1 and rng.random() < UNTOLD_SHARE:
        told = dict.fromkeys(told)
    prompts = get_preset("mini").prompts
    return Exchange(*plan_exchange(prompts, told, case.prompt, right_plan(case)), *_inputs(case, SEEN_FRAMES))


def _review(rng: np.random.Generator, case: Case) -> Exchange:
    made = spoil(case, pick(rng, SPOILINGS), rng)
    images, clips = _inputs(case, SEEN_FRAMES)
    if len(made) == 1:
        images = (*images, made[0])
    else:
        clips = (*clips, made[list(SEEN_FRAMES)])
    prompts = get_preset("mini").prompts
    return Exchange(*review_exchange(prompts, Task(case.task), case.prompt, judge(case, made)), images, clips)
