"""Every exercise by name: what training draws, what only evaluation draws, and the generator's task behind it.

What is zero-shot is told here and enforced here: `sample_exercise` refuses to draw it for training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from .cases import TASKS, Case, Split, Task, sample_case, stream
from .change import composed_case, edit_case, unmeetable_case
from .drawn import canvas_case, drawn_edit_case, drawn_motion_case
from .edits import ALL_EDITS, CORE_EDITS, PICTURE_ONLY_EDITS
from .gather import gathering_case, related_case
from .refer import REFERENCE_KINDS, reference_edit_case

_Draw = Callable[[np.random.Generator, int, Split, str], Case]
_ANY_PICTURE_EDIT: Final = tuple(kind for kind in ALL_EDITS if kind != "motion")


@dataclass(frozen=True, slots=True)
class Exercise:
    """A family of cases. `kinds` are those it draws from, evenly; those of `zero_shot` are for evaluation only."""

    name: str
    tasks: tuple[Task, ...]
    draw: _Draw
    kinds: tuple[str, ...] = ("",)
    zero_shot: tuple[str, ...] = ()

    def kinds_of(self, split: Split) -> tuple[str, ...]:
        """The kinds that a split may draw."""
        return self.kinds if split == "eval" else tuple(kind for kind in self.kinds if kind not in self.zero_shot)


def sample_exercise(name: str, seed: int, split: Split = "train", kind: str | None = None) -> Case:
    """The case of a seed; the first five names are those of `sample_case`, byte for byte.

    Raises:
        ValueError: no such exercise, kind, split or seed, or training asks for what is zero-shot.
    """
    if name in TASKS:
        return replace(sample_case(name, seed, split, kind), name=name)
    if name not in EXERCISES:
        raise ValueError(f"exercise {name!r} is none of {', '.join(NAMES)}")
    exercise = EXERCISES[name]
    kinds = exercise.kinds_of(split)
    if not kinds or (kind is not None and kind in exercise.zero_shot and split == "train"):
        raise ValueError(f"{name} {kind or ''} is zero-shot: it must never be drawn for training; use split 'eval'")
    if kind is not None and kind not in kinds:
        raise ValueError(f"{name} has no kind {kind!r}; it has {', '.join(kinds)}")
    rng = stream(name, seed, split)
    chosen = kinds[int(rng.integers(len(kinds)))] if kind is None else kind
    return replace(exercise.draw(rng, seed, split, chosen), name=name)


def trained_names() -> tuple[str, ...]:
    """All names that training draws from."""
    return tuple(name for name in NAMES if name in TASKS or EXERCISES[name].kinds_of("train"))


def _edits(task: Task) -> _Draw:
    return lambda rng, seed, split, kind: edit_case(rng, task, seed, split, kind)


def _references(task: Task) -> _Draw:
    return lambda rng, seed, split, kind: reference_edit_case(rng, task, seed, split, kind)


def _gathering(count: int, most: int, *, video: bool = True) -> _Draw:
    return lambda rng, seed, split, _: gathering_case(
        rng, seed, split, count=int(rng.integers(count, most + 1)), video=video
    )


def _views(rng: np.random.Generator, seed: int, split: Split, kind: str) -> Case:
    return gathering_case(rng, seed, split, count=1, views=int(kind))


def _unmeetable(rng: np.random.Generator, seed: int, split: Split, kind: str) -> Case:
    return unmeetable_case(rng, "v2v_edit" if kind == "video" else "i2i_edit", seed, split)


_ALL: Final = (
    Exercise("t2i_related", ("t2i",), lambda rng, seed, split, _: related_case(rng, "t2i", seed, split)),
    Exercise("t2v_related", ("t2v",), lambda rng, seed, split, _: related_case(rng, "t2v", seed, split)),
    Exercise("i2i_wide", ("i2i_edit",), _edits("i2i_edit"), _ANY_PICTURE_EDIT),
    Exercise("v2v_wide", ("v2v_edit",), _edits("v2v_edit"), (*CORE_EDITS, "insert", "motion")),
    Exercise("i2i_style", ("i2i_edit",), _edits("i2i_edit"), ("style",)),
    Exercise("v2v_style", ("v2v_edit",), _edits("v2v_edit"), ("style",)),
    Exercise("ref_i2i_edit", ("i+i2i_edit",), _references("i+i2i_edit"), REFERENCE_KINDS),
    Exercise("ref_v2v_edit", ("i+v2v_edit",), _references("i+v2v_edit"), REFERENCE_KINDS),
    Exercise("ref_i2i_style", ("i+i2i_edit",), _references("i+i2i_edit"), ("style",)),
    Exercise("ref2i", ("multiid",), _gathering(1, 2, video=False)),
    Exercise("multiid_one", ("multiid",), _gathering(1, 1)),
    Exercise("multiid", ("multiid",), _gathering(2, 4)),
    Exercise("multiid_views", ("multiid",), _views, ("2", "3", "4")),
    Exercise("drawn_motion", ("i2v",), lambda rng, seed, split, _: drawn_motion_case("drawn_motion", seed, split)),
    Exercise("drawn_edit", ("i2i_edit",), lambda rng, seed, split, _: drawn_edit_case("drawn_edit", seed, split)),
    Exercise("drawn_canvas", ("multiid",), lambda rng, seed, split, _: canvas_case("drawn_canvas", seed, split)),
    Exercise("unmeetable", ("i2i_edit", "v2v_edit"), _unmeetable, ("image", "video")),
    Exercise("v2v_free", ("v2v_edit",), _edits("v2v_edit"), PICTURE_ONLY_EDITS, PICTURE_ONLY_EDITS),
    Exercise(
        "i2i_composed", ("i2i_edit",), lambda rng, seed, split, _: composed_case(rng, "i2i_edit", seed, split),
        ("two",), ("two",),
    ),
    Exercise(
        "v2v_composed", ("v2v_edit",), lambda rng, seed, split, _: composed_case(rng, "v2v_edit", seed, split),
        ("two",), ("two",),
    ),
)  # fmt: skip
EXERCISES: Final = {exercise.name: exercise for exercise in _ALL}
NAMES: Final = (*TASKS, *EXERCISES)
