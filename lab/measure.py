"""One measure of the bench: cases drawn, made or answered, and scored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.config import Task
from vogue.schemas.errors import VogueError

from .bars import BARS
from .charts import Entry
from .labels import plan_is_right
from .rounds import hold
from .scoring import Estimate, merge, psnr, score_case
from .world.analyse import analyse
from .world.cases import Case, Split, sample_case
from .world.change import sample_conversation
from .world.exercises import EXERCISES, NAMES, sample_exercise
from .world.inquire import Inquiry, is_right, sample_inquiry
from .world.reading import caption_is_right
from .world.render import render
from .world.scene import CLIP_FRAMES, STYLES
from .world.validate import compare, creature_scenes, named_scenes

if TYPE_CHECKING:
    from .maker import Maker

__all__ = ["MEASURES", "SHEET_CASES", "Result", "possible", "run"]

Clip = NDArray[np.uint8]
Scores = dict[str, list[float]]

_THOUGHT: Final = ("drawn_motion", "drawn_edit", "drawn_canvas", "unmeetable")
_ASKED: Final = ("caption", "question")
MEASURES: Final = ("codec", "analyser", *_ASKED, *NAMES, "conversation")
SHEET_CASES: Final = 16


@dataclass(frozen=True, slots=True)
class Result:
    """One measure: its estimates by name, the cases shown on the sheet, and how long making took."""

    measure: str
    estimates: dict[str, Estimate]
    entries: tuple[Entry, ...]
    seconds: float

    def passed(self, name: str) -> bool | None:
        """Whether an estimate reaches its floor; None where there is none."""
        bar = BARS.get(self.measure, {}).get(name)
        return None if bar is None else self.estimates[name].value >= bar.floor


def possible(measure: str, maker: Maker) -> VogueError | None:
    """None if the weights can do what a measure asks, else the error that says what they cannot."""
    try:
        _require(measure, maker)
    except VogueError as error:
        return error
    return None


def run(measure: str, maker: Maker, *, count: int, seed: int, split: Split) -> Result:
    """Take one measure over `count` cases, seeds upwards from `seed`.

    Raises:
        TaskUnsupported: the weights have not learnt the task.
        ThinkingUnavailable: the weights have not learnt to write plans.
    """
    _require(measure, maker)
    started = time.monotonic()
    if measure in ("codec", "analyser"):
        rows, entries = _through_codec(measure, maker, count, seed, split)
    elif measure in _ASKED:
        rows, entries = _understanding(measure, maker, count, seed, split)
    elif measure == "conversation":
        rows, entries = _conversation(maker, count, seed, split)
    else:
        cases = [sample_exercise(measure, seed + index, split) for index in range(count)]
        rows, entries = _thought(cases, maker) if measure in _THOUGHT else _made(cases, maker)
    return Result(measure, merge(rows), tuple(entries), time.monotonic() - started)


def _require(measure: str, maker: Maker) -> None:
    if measure in _THOUGHT:
        maker.require_thinking()
    if measure in EXERCISES and measure != "unmeetable":
        for task in EXERCISES[measure].tasks:
            maker.require(Task(task))
    elif measure in NAMES and measure not in EXERCISES:
        maker.require(Task(measure))
    elif measure == "conversation":
        maker.require(Task.V2V_EDIT)


def _made(cases: Sequence[Case], maker: Maker) -> tuple[list[Scores], list[Entry]]:
    made = maker.make(cases)
    rows = [_score(case, clip, maker) for case, clip in zip(cases, made, strict=True)]
    return rows, [_entry(*one) for one in list(zip(cases, made, rows, strict=True))[:SHEET_CASES]]


def _thought(cases: Sequence[Case], maker: Maker) -> tuple[list[Scores], list[Entry]]:
    """Requests that need a plan. What is made follows the plan's dense prompt, under the case's own task."""
    plans = maker.plan(cases)
    right = [plan_is_right(case, plan) for case, plan in zip(cases, plans, strict=True)]
    rows: list[Scores] = [{"plan": [float(one)]} for one in right]
    for index in range(len(cases) - 1):
        if cases[index].seed % 2 == 0 and cases[index].visual_prompt is not None:
            rows[index]["plan, both drawings"] = [float(right[index] and right[index + 1])]
    if cases[0].missing:
        shown = zip(cases, plans, right, strict=True)
        said = [(case, plan.clarification or plan.dense_prompt, good) for case, plan, good in shown]
        return rows, [_answered(case.prompt, case.target, words, good) for case, words, good in said[:SHEET_CASES]]
    made = maker.make(cases, plans)
    for case, clip, row in zip(cases, made, rows, strict=True):
        row.update(_score(case, clip, maker))
    return rows, [_entry(*one) for one in list(zip(cases, made, rows, strict=True))[:SHEET_CASES]]


def _understanding(kind: str, maker: Maker, count: int, seed: int, split: Split) -> tuple[list[Scores], list[Entry]]:
    """Captions or questions, of clips and pictures in turn."""
    asked = [sample_inquiry(kind, seed + index, split, video=index % 2 == 0) for index in range(count)]
    said = maker.answer(asked)
    right = [_is_right(one, words) for one, words in zip(asked, said, strict=True)]
    rows: list[Scores] = []
    for one, good in zip(asked, right, strict=True):
        about = "clip" if one.video else "picture"
        rows.append({"right": [float(good)], f"right, {about}": [float(good)]})
        if one.kind != "caption":
            rows[-1][f"right, {one.kind}"] = [float(good)]
    shown = list(zip(asked, said, right, strict=True))[:SHEET_CASES]
    return rows, [_answered(one.question, one.frames, words, good) for one, words, good in shown]


def _is_right(asked: Inquiry, said: str) -> bool:
    if asked.kind == "caption":
        return caption_is_right(asked.scene, said, video=asked.video)
    return is_right(asked, said)


def _conversation(maker: Maker, count: int, seed: int, split: Split) -> tuple[list[Scores], list[Entry]]:
    talks = [sample_conversation(seed + index, split) for index in range(count)]
    rounds = hold(talks, maker.make)
    rows = [{name: values for turn in row for name, values in turn.scores.items()} for row in rounds]
    entries = []
    for talk, row in list(zip(talks, rounds, strict=True))[:SHEET_CASES]:
        strips = [("start", talk.start), *((f"turn {number}", turn.made) for number, turn in enumerate(row, 1))]
        words = " / ".join(turn.case.prompt for turn in row)
        entries.append(Entry(words, tuple(strips), row[-1].scores["F1 after turn 4"] == [1.0]))
    return rows, entries


def _through_codec(measure: str, maker: Maker, count: int, seed: int, split: Split) -> tuple[list[Scores], list[Entry]]:
    if measure == "codec":
        clips = [sample_case("t2v", seed + index, split).target for index in range(count)]
        again = maker.round_trip(clips)
        rows = [{"codec dB": [psnr(there, here)]} for there, here in zip(again, clips, strict=True)]
        shown = zip(clips[:SHEET_CASES], again, strict=False)
        return rows, [Entry("", (("exact", here), ("codec", there))) for here, there in shown]
    return _reading(maker, count, seed), []


def _reading(maker: Maker, count: int, seed: int) -> list[Scores]:
    """What the analyser reads of clips and pictures that went through the codec; for a quarter as many, creatures and styles."""
    scenes = [(scene, line_up, "", CLIP_FRAMES) for scene, line_up in named_scenes(count, seed)]
    scenes += [(scene, line_up, ", picture", 1) for scene, line_up, _, _ in scenes]
    some = max(1, count // 4)
    scenes += [(scene, line_up, "", CLIP_FRAMES) for scene, line_up in creature_scenes(some, seed)]
    for style in STYLES[1:]:
        styled = named_scenes(max(1, some // 5), seed, style=style)
        scenes += [(scene, line_up, f", {style}", CLIP_FRAMES) for scene, line_up in styled]
    again = maker.round_trip([render(scene, frames) for scene, _, _, frames in scenes])
    read: list[Scores] = []
    for (scene, line_up, part, frames), clip in zip(scenes, again, strict=True):
        read.append({})
        for fact, right in compare(scene, analyse(clip, line_up), video=frames > 1):
            # A style is read or not; which facts it leaves to be read is its own affair.
            if scene.style == "none" or fact in ("style", "background", "count", "place"):
                read[-1].setdefault(fact + part, []).append(float(right))
    return read


def _score(case: Case, made: Clip, maker: Maker) -> Scores:
    """A case's scores, with what a codec costs taken off where that is what the bar speaks of."""
    scores = score_case(case, made)
    if maker.vae is None or not {"outside dB", "first frame dB"} & set(scores):
        return scores
    ceiling = maker.round_trip([case.target])[0]
    if "outside dB" in scores and case.mask is not None:
        there = psnr(ceiling, case.target, ~case.mask)
        scores["outside against codec dB"] = [scores["outside dB"][0] - there]
    if "first frame dB" in scores and case.first_frame is not None:
        there = psnr(ceiling[:1], case.first_frame)
        scores["first frame against codec dB"] = [scores["first frame dB"][0] - there]
    return scores


def _entry(case: Case, made: Clip, scores: Mapping[str, Sequence[float]]) -> Entry:
    strips = [(f"image{number}", one) for number, one in enumerate(case.references, 1)]
    for title, one in (("given", case.source), ("given", case.first_frame), ("drawn", case.visual_prompt)):
        if one is not None:
            strips.append((title, one))
    if strips:
        strips.append(("exact", case.target))
    good = all(scores["done" if case.edit is not None and "done" in scores else "all facts"])
    return Entry(case.prompt, (*strips, ("made", made)), good and all(scores.get("identity", ())))


def _answered(question: str, frames: Clip, said: str, good: bool) -> Entry:
    return Entry(f"{question} → {said}", (("given", frames),), good)
