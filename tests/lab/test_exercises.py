"""Everything beyond the first five tasks: exact, apart from evaluation, and zero-shot where it says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from vogue.lab.world import phrasings, question_templates, templates
from vogue.lab.world.cases import TASKS, Case, sample_case
from vogue.lab.world.change import TURNS, sample_conversation
from vogue.lab.world.creature import parts, reserved_creature
from vogue.lab.world.edits import PICTURE_ONLY_EDITS
from vogue.lab.world.exercises import EXERCISES, NAMES, sample_exercise, trained_names
from vogue.lab.world.inquire import CLIP_QUESTIONS, STILL_QUESTIONS, is_right, sample_inquiry
from vogue.lab.world.phrasings import Phrasings
from vogue.lab.world.plan import plan_of, visual_roles
from vogue.lab.world.reading import caption_is_right
from vogue.lab.world.relations import side
from vogue.lab.world.render import render
from vogue.lab.world.scene import Creature, reserved_for_evaluation
from vogue.schemas.config import Task

SCANNED = 60


def _digest(case: Case) -> str:
    pictures = (case.source, case.first_frame, case.visual_prompt, case.target, case.mask, *case.references)
    data = b"".join(np.ascontiguousarray(one).tobytes() for one in pictures if one is not None)
    return hashlib.sha256(data + case.prompt.encode()).hexdigest()


def _tables() -> Iterator[Phrasings]:
    for module in (phrasings, templates, question_templates):
        for value in vars(module).values():
            if isinstance(value, Phrasings):
                yield value
            elif isinstance(value, dict):
                yield from (one for one in value.values() if isinstance(one, Phrasings))


def test_every_template_has_eight_phrasings_and_two_that_training_never_sees() -> None:
    tables = list(_tables())
    assert len(tables) >= 30
    for table in tables:
        assert len(set(table.train)) >= 8 and len(set(table.heldout)) >= 2
        assert not set(table.train) & set(table.heldout)


def test_the_first_five_exercises_are_the_five_tasks() -> None:
    assert NAMES[:5] == TASKS
    for task in TASKS:
        case = sample_exercise(task, 2, "eval")
        assert case.name == task and _digest(case) == _digest(sample_case(task, 2, "eval"))


def test_every_case_belongs_to_a_task_of_the_product() -> None:
    for name in EXERCISES:
        assert all(Task(task) for task in EXERCISES[name].tasks)


@pytest.mark.parametrize("name", list(EXERCISES))
def test_a_case_is_exact_repeatable_and_on_its_side_of_the_fence(name: str) -> None:
    for split in ("train", "eval"):
        if split == "train" and name not in trained_names():
            continue
        case = sample_exercise(name, 3, split)  # type: ignore[arg-type]
        assert _digest(case) == _digest(sample_exercise(name, 3, split))  # type: ignore[arg-type]
        assert case.name == name and case.task in EXERCISES[name].tasks
        assert np.array_equal(case.target, render(case.target_scene, len(case.target)))
        first = case.source_scene or case.target_scene
        assert reserved_for_evaluation(first) is (split == "eval")
        assert all(reserved_creature(one) is (split == "eval") for one in case.identities)
        assert all(one.shape == (1, 64, 64, 3) for one in case.references)
        if case.mask is not None and case.source is not None:
            changed = (case.source != case.target).any(axis=-1)
            assert changed.any() and not changed[~case.mask].any()


def test_zero_shot_is_never_drawn_for_training() -> None:
    for name in trained_names():
        for seed in range(SCANNED if name in ("v2v_wide", "v2v_edit") else 8):
            case = sample_exercise(name, seed)
            assert len(case.asked) <= 1, "two edits in one request"
            if case.task in ("v2v_edit", "i+v2v_edit"):
                assert all(edit.kind not in PICTURE_ONLY_EDITS for edit in case.asked)
    for name in ("v2v_free", "v2v_composed", "i2i_composed"):
        assert name not in trained_names()
        with pytest.raises(ValueError, match="zero-shot"):
            sample_exercise(name, 0)
    with pytest.raises(ValueError, match="zero-shot"):
        sample_exercise("v2v_free", 0, kind="material")
    assert {edit.kind for seed in range(2) for edit in sample_exercise("v2v_composed", seed, "eval").asked} >= {"style"}


def test_training_never_makes_a_creature_of_the_evaluation() -> None:
    for name in ("multiid", "ref_v2v_edit", "drawn_canvas"):
        for seed in range(6):
            case = sample_exercise(name, seed)
            made = [actor for actor in case.target_scene.subjects if isinstance(actor, Creature)]
            assert not any(reserved_creature(one.identity) for one in made)


def test_line_ups_differ_from_the_right_creature_in_one_part() -> None:
    case = sample_exercise("multiid", 1, "eval")
    assert 2 <= len(case.identities) == len(case.references) == len(case.line_ups) <= 4
    for identity, line_up in zip(case.identities, case.line_ups, strict=True):
        assert len(set(line_up)) == 16 and identity in line_up
        for other in set(line_up) - {identity}:
            here, there = parts(identity), parts(other)
            assert sum(here[part] != there[part] for part in here) == 1


def test_several_views_are_of_one_creature() -> None:
    case = sample_exercise("multiid_views", 0, "eval", kind="3")
    assert len(case.references) == 3 and len(case.identities) == 1
    assert len({one.tobytes() for one in case.references}) == 3
    assert all(f"image{number}" in case.prompt for number in (1, 2, 3))


@pytest.mark.parametrize("name", ["drawn_motion", "drawn_edit", "drawn_canvas"])
def test_the_same_words_with_another_drawing_ask_for_something_else(name: str) -> None:
    for seed in (0, 4):
        one, other = sample_exercise(name, seed, "eval"), sample_exercise(name, seed + 1, "eval")
        assert one.prompt == other.prompt and one.visual_prompt is not None and other.visual_prompt is not None
        assert not np.array_equal(one.visual_prompt, other.visual_prompt)
        assert plan_of(one).dense_prompt != plan_of(other).dense_prompt
        given = [(case.source if case.source is not None else case.first_frame) for case in (one, other)]
        assert (given[0] is None and given[1] is None) or np.array_equal(given[0], given[1])  # type: ignore[arg-type]


def test_plans_name_every_input_once_and_ask_back_when_they_must() -> None:
    for name in NAMES:
        case = sample_exercise(name, 1, "eval")
        plan = plan_of(case)
        if case.missing:
            assert plan.task is None and plan.clarification and case.missing in plan.clarification
            continue
        assert plan.task == case.task and plan.dense_prompt and plan.clarification is None
        assert len(dict(plan.roles)) == len(visual_roles(case)) == len(plan.roles)
        assert all(set(tags) <= set(dict(plan.roles)) for _, tags in plan.steps)


def test_what_is_missing_is_not_there() -> None:
    for seed in range(6):
        case = sample_exercise("unmeetable", seed, "eval")
        color, shape = case.missing.split()
        there = [(actor.color, actor.shape) for actor in case.target_scene.subjects]  # type: ignore[union-attr]
        assert all(color != one and shape != other for one, other in there)
        assert shape in case.prompt and np.array_equal(case.source, case.target)


def test_relations_hold_in_the_first_frame() -> None:
    for name in ("t2i_related", "t2v_related"):
        case = sample_exercise(name, 5, "eval")
        first, second = case.target_scene.subjects
        assert side(first.x, first.y, second.x, second.y) == case.relation


@pytest.mark.parametrize("kind", ["caption", *CLIP_QUESTIONS])
def test_inquiries_have_right_answers_and_wrong_ones(kind: str) -> None:
    for video in (True, False) if kind in ("caption", *STILL_QUESTIONS) else (True,):
        asked = sample_inquiry(kind, 2, "eval", video=video)
        assert asked.video is video and asked.frames.dtype == np.uint8
        if kind == "caption":
            assert caption_is_right(asked.scene, asked.answer, video=video)
            # Said of another scene, the same caption is wrong.
            assert not caption_is_right(sample_inquiry(kind, 3, "eval", video=video).scene, asked.answer, video=video)
            continue
        assert is_right(asked, f"It is: {asked.answer}.".lower()) and not is_right(asked, "")
        wrong = next(one for one in asked.options if not is_right(asked, one))
        assert not is_right(asked, f"{asked.answer} {wrong}")


def test_captions_of_training_are_read_back_as_well() -> None:
    for task in ("t2i", "t2v"):
        for seed in range(12):
            case = sample_case(task, seed)  # type: ignore[arg-type]
            assert caption_is_right(case.target_scene, case.prompt, video=task == "t2v"), case.prompt


def test_a_conversation_goes_on_from_what_each_turn_makes() -> None:
    talk = sample_conversation(1)
    assert len(talk.turns) == TURNS and np.array_equal(talk.start, talk.turns[0].source)
    for before, after in zip(talk.turns, talk.turns[1:], strict=False):
        assert after.source_scene == before.target_scene


@pytest.mark.parametrize(
    ("name", "seed", "split", "kind"),
    [("t2x", 0, "train", None), ("multiid", -1, "train", None), ("multiid", 0, "test", None), ("ref_v2v_edit", 0, "train", "x")],
)  # fmt: skip
def test_what_is_no_exercise_is_refused(name: str, seed: int, split: str, kind: str | None) -> None:
    with pytest.raises(ValueError, match=r"t2x|seed|test|kind"):
        sample_exercise(name, seed, split, kind)  # type: ignore[arg-type]
