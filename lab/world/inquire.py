"""Understanding: pictures and clips with questions whose answers are known, and with captions that say every fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .cases import Clip, Split, admitted, phrasing_split, stream
from .language import background_where, fill, join, noun, place_cell
from .phrasings import MOTION_WORDS, PLACES
from .question_templates import DESCRIBE, QUESTIONS
from .render import render
from .scene import CLIP_FRAMES, COLORS, MOTIONS, SHAPES, Scene, Subject, pick, sample_scene

NUMBERS: Final = ("zero", "one", "two", "three")
STILL_QUESTIONS: Final = ("color", "shape", "count", "place")
ORDER_QUESTIONS: Final = ("first", "last", "after")
CLIP_QUESTIONS: Final = (*STILL_QUESTIONS, "motion", *ORDER_QUESTIONS)


@dataclass(frozen=True, slots=True, eq=False)
class Inquiry:
    """A question about `frames`, uint8 [T, 64, 64, 3]. `kind` is "caption" or that of a question.

    `answer` is a good answer in words; `options` are all answers that a question of this kind can have (empty for captions).
    """

    kind: str
    seed: int
    question: str
    frames: Clip
    answer: str
    options: tuple[str, ...]
    scene: Scene

    @property
    def video(self) -> bool:
        """Whether it is about a clip."""
        return len(self.frames) > 1


def sample_inquiry(kind: str, seed: int, split: Split = "train", *, video: bool) -> Inquiry:
    """The inquiry of a seed; `kind` is "caption", one of `CLIP_QUESTIONS` (of a picture: `STILL_QUESTIONS`), or "question" for any.

    Raises ValueError for an unknown kind, split or seed.
    """
    known = CLIP_QUESTIONS if video else STILL_QUESTIONS
    if kind not in ("caption", "question", *known):
        raise ValueError(
            f"a {'clip' if video else 'picture'} has no inquiry {kind!r}; choose caption, question, {', '.join(known)}"
        )
    rng = stream(f"{kind} of a {'clip' if video else 'picture'}", seed, split)
    if kind == "question":
        kind = pick(rng, known)
    scene = _scene(rng, kind, split, video)
    frames = _arrivals(scene) if kind in ORDER_QUESTIONS else render(scene, CLIP_FRAMES if video else 1)
    words = phrasing_split(split)
    media = "video" if video else "picture"
    options: tuple[str, ...] = ()
    if kind == "caption":
        asked, answer = fill(DESCRIBE, words, rng, media=media), full_caption(scene, rng, video=video)
    else:
        asked, answer, options = _question(rng, kind, scene, media, words)
    return Inquiry(kind, seed, asked, frames, answer, options, scene)


def full_caption(scene: Scene, rng: np.random.Generator, *, video: bool) -> str:
    """A caption for reading aloud: the first wording, every subject with its material, left to right."""
    ordered = sorted(scene.subjects, key=lambda actor: (actor.x, actor.y))
    nouns = [noun(actor, rng, size=False) for actor in ordered]
    where = background_where(scene.background, rng)
    if not video:
        return f"{join(nouns, ' and ')} {where}"
    told = [f"{name} {MOTION_WORDS[actor.motion][0][0]}" for name, actor in zip(nouns, ordered, strict=True)]
    return f"{join(told, ' and ')} {where}"


def is_right(inquiry: Inquiry, said: str) -> bool:
    """Whether an answer in words names the right option and no other. Captions are judged by `vogue.lab.world.reading`."""
    text = f" {' '.join(said.lower().replace('.', ' ').replace(',', ' ').split())} "
    found = set()
    # Longest first, so that "in the top left corner" is not also "on the left".
    for option in sorted(inquiry.options, key=len, reverse=True):
        if f" {option} " in text:
            found.add(option)
            text = text.replace(f" {option} ", "  ")
    right = _meanings(inquiry.kind, inquiry.answer)
    return bool(found) and {_meanings(inquiry.kind, option) for option in found} == {right}


def _meanings(kind: str, option: str) -> str:
    """The motion that a wording stands for; any other answer means itself."""
    if kind != "motion":
        return option
    plain = option.removeprefix("it ")
    return next(motion for motion, forms in MOTION_WORDS.items() if any(plain in form for form in forms))


def _scene(rng: np.random.Generator, kind: str, split: Split, video: bool) -> Scene:
    while True:
        if kind in ORDER_QUESTIONS:
            scene = sample_scene(rng, num_subjects=2 + int(rng.random() < 0.4), motions=("still",))
        else:
            scene = sample_scene(rng, motions=MOTIONS if video else ("still",))
        if admitted(scene, split):
            return scene


def _arrivals(scene: Scene) -> Clip:
    """A clip in which the subjects appear one after another, in their order."""
    count = len(scene.subjects)
    clip = np.empty((CLIP_FRAMES, *render(scene, 1).shape[1:]), np.uint8)
    for number in range(count):
        start = number * CLIP_FRAMES // count
        clip[start:] = render(Scene(scene.background, scene.style, scene.subjects[: number + 1]), 1)
    return clip


def _question(
    rng: np.random.Generator, kind: str, scene: Scene, media: str, split: str
) -> tuple[str, str, tuple[str, ...]]:
    named = [actor for actor in scene.subjects if isinstance(actor, Subject)]
    subject = named[int(rng.integers(len(named)))]
    answer: str
    options: tuple[str, ...] = SHAPES
    if kind == "color":
        answer, options = subject.color, tuple(COLORS)
    elif kind == "shape":
        answer = subject.shape
    elif kind == "count":
        answer, options = NUMBERS[len(named)], NUMBERS
    elif kind == "place":
        answer, options = PLACES[place_cell(subject)], tuple(PLACES.values())
    elif kind == "motion":
        answer = f"it {MOTION_WORDS[subject.motion][0][0]}"
        options = tuple(form[0] for forms in MOTION_WORDS.values() for form in forms)
    elif kind == "first":
        answer = named[0].shape
    elif kind == "last":
        answer = named[-1].shape
    else:
        at = int(rng.integers(len(named) - 1))
        subject, answer = named[at], named[at + 1].shape
    words = {"color": subject.color, "shape": subject.shape, "media": media}
    return fill(QUESTIONS[kind], split, rng, **words), answer, options
