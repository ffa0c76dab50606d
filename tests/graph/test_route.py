"""Routing is a pure function: every set of inputs has one task, or an error that names what is missing."""

from __future__ import annotations

import pytest

from vogue.graph.route import Input, infer, route
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import TaskUnsupported
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind

PRESET = get_preset("univideo-hidden")
SOURCE_IMAGE = (Role.SOURCE, MediaKind.IMAGE)
SOURCE_VIDEO = (Role.SOURCE, MediaKind.VIDEO)
REFERENCE = (Role.REFERENCE, MediaKind.IMAGE)
FIRST_FRAME = (Role.FIRST_FRAME, MediaKind.IMAGE)


@pytest.mark.parametrize(
    ("inputs", "still", "task"),
    [
        ([], True, Task.T2I),
        ([], False, Task.T2V),
        ([FIRST_FRAME], False, Task.I2V),
        ([SOURCE_IMAGE], False, Task.I2I_EDIT),
        ([SOURCE_VIDEO], False, Task.V2V_EDIT),
        ([REFERENCE, SOURCE_IMAGE], False, Task.REF_I2I_EDIT),
        ([SOURCE_VIDEO, REFERENCE, REFERENCE], False, Task.REF_V2V_EDIT),
        ([REFERENCE], False, Task.MULTIID),
        ([REFERENCE, REFERENCE, REFERENCE], False, Task.MULTIID),
    ],
)
def test_the_task_follows_from_the_inputs(inputs: list[Input], still: bool, task: Task) -> None:
    assert infer(inputs, still) is task
    assert route(None, inputs, still, PRESET) is task
    assert route(task, inputs, still, PRESET) is task


@pytest.mark.parametrize(
    "inputs",
    [
        [SOURCE_IMAGE, SOURCE_VIDEO],
        [SOURCE_VIDEO, SOURCE_VIDEO],
        [FIRST_FRAME, FIRST_FRAME],
        [FIRST_FRAME, SOURCE_VIDEO],
        [(Role.FIRST_FRAME, MediaKind.VIDEO)],
        [(Role.REFERENCE, MediaKind.VIDEO)],
    ],
)
def test_inputs_that_fit_no_task(inputs: list[Input]) -> None:
    with pytest.raises(TaskUnsupported) as caught:
        route(None, inputs, False, PRESET)
    assert caught.value.param == "visuals"
    assert str(inputs[0][0]) in caught.value.message


def test_a_named_task_says_what_it_misses() -> None:
    with pytest.raises(TaskUnsupported, match="v2v_edit takes a source video, but was given none"):
        route(Task.V2V_EDIT, [], False, PRESET)
    with pytest.raises(TaskUnsupported, match="t2v takes no visual inputs, but was given 2 reference images"):
        route(Task.T2V, [REFERENCE, REFERENCE], False, PRESET)


def test_a_task_beyond_the_preset_names_what_it_can_do() -> None:
    some = {task: PRESET.tasks[task] for task in (Task.T2I, Task.T2V)}
    few = PRESET.model_copy(update={"name": "few", "tasks": some})
    with pytest.raises(TaskUnsupported, match=r"few cannot do multiid; it can do t2i, t2v") as caught:
        route(None, [REFERENCE], False, few)
    assert caught.value.param == "task"
