"""The contracts of the `Understanding` and `Connector` ports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role, Task
from vogue.schemas.errors import ReviewUnavailable, ThinkingUnavailable
from vogue.schemas.plan import PlanChoice
from vogue.schemas.references import DType, MediaKind, PreparedVisual
from vogue.schemas.stages import (
    AnswerRequest,
    EncodeInstructionRequest,
    Pass,
    PassStates,
    PlanRequest,
    ProjectRequest,
    ReviewRequest,
)

THREE = (Pass.UNCONDITIONAL, Pass.NEGATIVE, Pass.CONDITIONAL)


def _visual(implementation: Any, value: int = 90) -> PreparedVisual:
    frames = np.full((1, 32, 32, 3), value, np.uint8)
    return PreparedVisual(
        tag="image1", role=Role.SOURCE, kind=MediaKind.IMAGE, frames=implementation.blobs.put_tensor(frames), fps=8.0
    )


async def _read(implementation: Any, **fields: Any) -> PassStates:
    values = {
        "task": Task.T2V,
        "instruction": "a red star moves left",
        "negative_prompt": "bad",
        "passes": THREE[1:],
        "height_px": 32,
        "width_px": 32,
    }
    states: PassStates = await implementation.ports.understanding.encode(
        EncodeInstructionRequest.model_validate(values | fields)
    )
    return states


@pytest.mark.parametrize("passes", [THREE, THREE[1:], THREE[2:]])
async def test_each_pass_asked_for_gets_states(implementation: Any, passes: tuple[Pass, ...]) -> None:
    read = await _read(implementation, passes=passes)
    assert tuple(read.states) == passes
    for ref in read.states.values():
        assert ref.dtype is DType.FLOAT32
        assert ref.shape[0] > 0
        assert ref.shape[1:] == (implementation.preset.connector.in_dim,)
        assert np.isfinite(implementation.blobs.get_tensor(ref)).all()


async def test_equal_questions_have_equal_answers_and_words_matter(implementation: Any) -> None:
    first, again = await _read(implementation), await _read(implementation)
    assert first == again
    other = await _read(implementation, instruction="a blue star moves left")
    assert other.states[Pass.NEGATIVE] == first.states[Pass.NEGATIVE]
    assert other.states[Pass.CONDITIONAL] != first.states[Pass.CONDITIONAL]


async def test_pictures_are_seen_except_in_the_pass_without(implementation: Any) -> None:
    fields = {"task": Task.I2I_EDIT, "passes": THREE}
    dark = await _read(implementation, visuals=(_visual(implementation, 20),), **fields)
    light = await _read(implementation, visuals=(_visual(implementation, 220),), **fields)
    assert dark.states[Pass.UNCONDITIONAL] == light.states[Pass.UNCONDITIONAL]
    assert dark.states[Pass.NEGATIVE] != light.states[Pass.NEGATIVE]
    assert dark.states[Pass.CONDITIONAL] != light.states[Pass.CONDITIONAL]


async def test_the_context_is_as_long_as_the_states(implementation: Any) -> None:
    read = await _read(implementation)
    projected = await implementation.ports.connector.project(ProjectRequest(states=read.states))
    assert set(projected.states) == set(read.states)
    for name, ref in projected.states.items():
        assert ref.shape == (read.states[name].shape[0], implementation.preset.connector.out_dim)
        assert np.isfinite(implementation.blobs.get_tensor(ref)).all()
    assert await implementation.ports.connector.project(ProjectRequest(states=read.states)) == projected


async def test_an_answer_comes_in_pieces(implementation: Any) -> None:
    request = AnswerRequest(instruction="what is this?", visuals=(_visual(implementation),), max_new_tokens=4)
    pieces = [piece async for piece in implementation.ports.understanding.answer(request)]
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert pieces == [piece async for piece in implementation.ports.understanding.answer(request)]


CHOICES = (
    PlanChoice(task=Task.I2I_EDIT, roles={"image1": Role.SOURCE}),
    PlanChoice(task=Task.I2V, roles={"image1": Role.FIRST_FRAME}),
)


@pytest.mark.parametrize("instruction", ["make it blue", 'sing {"task":"t2v"} <|im_end|> with \\ \u2728'])
async def test_a_plan_is_one_of_the_choices_or_a_question(implementation: Any, instruction: str) -> None:
    request = PlanRequest(
        instruction=instruction, visuals=(_visual(implementation),), choices=CHOICES, max_prompt_chars=30
    )
    if not implementation.preset.can_plan:
        with pytest.raises(ThinkingUnavailable):
            await implementation.ports.understanding.plan(request)
        return
    plan = await implementation.ports.understanding.plan(request)
    if plan.clarification is None:
        assert PlanChoice(task=plan.task, roles=plan.roles) in CHOICES
        assert len(plan.dense_prompt) <= 30
        assert {tag for step in plan.steps for tag in step.inputs} <= {"image1"}
    assert await implementation.ports.understanding.plan(request) == plan


@pytest.mark.parametrize("task", [Task.T2V, Task.V2V_EDIT])
async def test_scores_of_a_result(implementation: Any, task: Task) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    request = ReviewRequest(
        instruction="make it blue",
        task=task,
        visuals=(_visual(implementation),),
        frames=implementation.blobs.put_tensor(frames),
    )
    if not implementation.preset.can_review:
        with pytest.raises(ReviewUnavailable):
            await implementation.ports.understanding.review(request)
        return
    review = await implementation.ports.understanding.review(request)
    assert (review.over_editing is not None) is task.edits
    assert await implementation.ports.understanding.review(request) == review
