"""Conversations scored as GeNeVA does (arXiv 1811.09845), carried to clips: what is there after each turn, and on which side.

Each turn edits what the turn before really made, so mistakes pile up as they would for a user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .world.analyse import SubjectFacts, analyse
from .world.cases import Case
from .world.change import TURNS, Conversation
from .world.relations import side
from .world.scene import Scene, Subject

__all__ = ["Round", "hold", "score_turn"]

Clip = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One turn of one conversation: what was asked, what was made, and its scores."""

    case: Case
    made: Clip
    scores: dict[str, list[float]]


def hold(talks: Sequence[Conversation], make: Callable[[Sequence[Case]], list[Clip]]) -> list[list[Round]]:
    """Hold conversations side by side, one turn of all at a time; `make` gives a clip for each case."""
    clips = [talk.start for talk in talks]
    rounds: list[list[Round]] = [[] for _ in talks]
    for turn in range(TURNS):
        cases = [replace(talk.turns[turn], source=clip) for talk, clip in zip(talks, clips, strict=True)]
        clips = make(cases)
        for index, (case, clip) in enumerate(zip(cases, clips, strict=True)):
            scores = {f"{name} after turn {turn + 1}": [value] for name, value in score_turn(case, clip).items()}
            rounds[index].append(Round(case, clip, scores))
    return rounds


def score_turn(case: Case, made: Clip) -> dict[str, float]:
    """Precision, recall and F1 of subjects, told by colour and shape, and similarity of relations, all 0–1.

    Relations are the sides, left or right and above or below, of every two subjects that are both there and should be; their
    similarity is the share that is right, times the recall.
    """
    wanted, seen = _wanted(case.target_scene), _seen(analyse(made).subjects)
    both = [name for name in wanted if name in seen]
    precision = len(both) / len(seen) if seen else 0.0
    recall = len(both) / len(wanted)
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    pairs = list(combinations(both, 2))
    right = sum(_sides(wanted, *pair) == _sides(seen, *pair) for pair in pairs)
    similarity = recall * (right / len(pairs) if pairs else float(len(wanted) == 1 or bool(both)))
    return {"precision": precision, "recall": recall, "F1": f1, "relations": similarity}


def _wanted(scene: Scene) -> dict[tuple[str, str], tuple[float, float]]:
    return {(one.color, one.shape): (one.x, one.y) for one in scene.subjects if isinstance(one, Subject)}


def _seen(subjects: Sequence[SubjectFacts]) -> dict[tuple[str, str], tuple[float, float]]:
    return {(one.color, one.shape): (one.x, one.y) for one in subjects}


def _sides(places: dict[tuple[str, str], tuple[float, float]], one: tuple[str, str], other: tuple[str, str]) -> str:
    return side(*places[one], *places[other])
