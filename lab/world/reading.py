"""A caption in words back into facts, so that what a model says of a clip can be scored exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .language import place_cell
from .phrasings import MOTION_WORDS, PLACES, SCENERY_WHERE
from .scene import BACKGROUNDS, COLORS, MATERIALS, SHAPES, SIZES, Scene, Subject


@dataclass(frozen=True, slots=True)
class Told:
    """What a caption says of one subject; None where it says nothing."""

    color: str
    shape: str
    material: str
    size: str | None
    place: str | None
    motion: str | None


_NOUN: Final = re.compile(
    rf"(?:\b(?P<size>{'|'.join(SIZES)}) )?(?:\b(?P<material>{'|'.join(MATERIALS)}) )?"
    rf"\b(?P<color>{'|'.join(COLORS)}) (?P<shape>{'|'.join(SHAPES)})\b"
)
_FORMS: Final = sorted(
    ((form, motion) for motion, rows in MOTION_WORDS.items() for row in rows for form in row),
    key=lambda pair: -len(pair[0]),
)


def read_caption(text: str) -> tuple[str | None, tuple[Told, ...]]:
    """The background that a caption names, and its subjects in the order they are named."""
    text = text.lower()
    nouns = list(_NOUN.finditer(text))
    subjects = []
    ends = [*(following.start() for following in nouns[1:]), len(text)]
    for noun, end in zip(nouns, ends, strict=False):
        rest = text[noun.end() : end]
        place = next((words for words in _by_length(tuple(PLACES.values())) if words in rest), None)
        motion = next((motion for form, motion in _FORMS if re.search(rf"\b{form}\b", rest)), None)
        found = noun.groupdict()
        subjects.append(
            Told(found["color"], found["shape"], found["material"] or "plain", found["size"], place, motion)
        )
    return _background(text), tuple(subjects)


def caption_is_right(scene: Scene, text: str, *, video: bool) -> bool:
    """Whether a caption names the background and every subject with all facts, and says nothing wrong."""
    background, told = read_caption(text)
    if background != scene.background or len(told) != len(scene.subjects):
        return False
    by_color = {one.color: one for one in told}
    return all(
        isinstance(actor, Subject) and actor.color in by_color and _agrees(actor, by_color[actor.color], video)
        for actor in scene.subjects
    )


def _agrees(actor: Subject, told: Told, video: bool) -> bool:
    said = {"size": (told.size, actor.size), "place": (told.place, PLACES[place_cell(actor)])}
    if any(words is not None and words != fact for words, fact in said.values()):
        return False
    if video and told.motion != actor.motion:
        return False
    return (told.shape, told.material) == (actor.shape, actor.material)


def _background(text: str) -> str | None:
    for name in BACKGROUNDS:
        wordings = SCENERY_WHERE.get(name, (f"on a {name} background",))
        if any(words in text for words in wordings):
            return name
    return None


def _by_length(words: tuple[str, ...]) -> list[str]:
    return sorted(words, key=len, reverse=True)
