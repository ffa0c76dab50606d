"""The contracts of the `Understanding` and `Connector` ports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role, Task
from vogue.schemas.errors import VogueError
from vogue.schemas.plan import Plan
from vogue.schemas.references import DType, MediaKind, PreparedVisual
from vogue.schemas.stages import AnswerRequest, EncodeInstructionRequest, Pass, PassStates, PlanRequest, ProjectRequest

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
    assert all(isinstance(piece, str) for piece in pieces)


async def test_a_plan_or_a_typed_error(implementation: Any) -> None:
    request = PlanRequest(instruction="make it blue", visuals=(_visual(implementation),))
    try:
        assert isinstance(await implementation.ports.understanding.plan(request), Plan)
    except VogueError as error:
        assert error.code == "thinking_unavailable"
