"""What the generator trains on: equal lengths in a group, and nothing that is zero-shot."""

from __future__ import annotations

import pytest

from vogue.lab.train.dialogue import DRAWN, PLANNED, REFERRING, REVIEWED
from vogue.lab.train.groups import GROUPS, draw_case, learnt_tasks
from vogue.lab.world.edits import PICTURE_ONLY_EDITS
from vogue.lab.world.exercises import trained_names
from vogue.schemas.config import Task

SCANNED = 60


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_group_is_of_one_length_and_never_zero_shot(name: str) -> None:
    group = GROUPS[name]
    shapes = set()
    for seed in range(SCANNED):
        case, prompt = draw_case(group, seed)
        shapes.add((case.task, len(case.target), len(case.references), case.source is not None))
        assert prompt
        if case.task == "v2v_edit":
            assert len(case.asked) == 1 and case.asked[0].kind not in PICTURE_ONLY_EDITS
        assert len(case.asked) <= 1
    assert len(shapes) == 1
    assert shapes.pop()[0] == group.task.value


def test_everything_drawn_is_for_training() -> None:
    drawn = {name for group in GROUPS.values() for name in group.names}
    said = {*PLANNED, *DRAWN, *REFERRING, *(name for names in REVIEWED.values() for name in names)}
    assert drawn | said <= set(trained_names())


def test_all_tasks_are_trained_in_shares_that_sum_to_one() -> None:
    assert learnt_tasks() == frozenset(Task) - {Task.UNDERSTAND}
    assert sum(group.mixing for group in GROUPS.values()) == pytest.approx(1)


def test_dense_prompts_stand_in_now_and_then() -> None:
    draws = [draw_case(GROUPS["t2i"], seed) for seed in range(SCANNED)]
    assert 0 < sum(case.prompt != prompt for case, prompt in draws) < SCANNED / 2
