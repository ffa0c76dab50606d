"""Routing: which task a request is, as a pure function of its inputs' roles and kinds, and which passes it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import TaskUnsupported
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import JobSpec
from vogue.schemas.stages import Pass

__all__ = ["Input", "infer", "inputs_of", "passes", "route"]

Input = tuple[Role, MediaKind]
"""What routing looks at: the part an input plays, and whether it has a time axis."""

_SOURCE_IMAGE: Input = (Role.SOURCE, MediaKind.IMAGE)
_SOURCE_VIDEO: Input = (Role.SOURCE, MediaKind.VIDEO)
_REFERENCE: Input = (Role.REFERENCE, MediaKind.IMAGE)
_FIRST_FRAME: Input = (Role.FIRST_FRAME, MediaKind.IMAGE)

# What each task takes: exactly one of each of these inputs, except references, of which there is one or more.
_INPUTS: dict[Task, frozenset[Input]] = {
    Task.T2I: frozenset(),
    Task.T2V: frozenset(),
    Task.I2V: frozenset({_FIRST_FRAME}),
    Task.I2I_EDIT: frozenset({_SOURCE_IMAGE}),
    Task.V2V_EDIT: frozenset({_SOURCE_VIDEO}),
    Task.REF_I2I_EDIT: frozenset({_SOURCE_IMAGE, _REFERENCE}),
    Task.REF_V2V_EDIT: frozenset({_SOURCE_VIDEO, _REFERENCE}),
    Task.MULTIID: frozenset({_REFERENCE}),
}
_NAMES = {
    _SOURCE_IMAGE: "a source image",
    _SOURCE_VIDEO: "a source video",
    _REFERENCE: "reference images",
    _FIRST_FRAME: "a first_frame image",
}


def route(named: Task | None, inputs: Sequence[Input], still: bool, preset: Preset) -> Task:
    """The task of a request. Visual prompts are for the plan only and count for none; `understand` takes any inputs.

    Args:
        named: the task its owner asked for, if any.
        inputs: role and kind of each visual, in order.
        still: whether one frame was asked for; it tells t2i from t2v.

    Raises:
        TaskUnsupported: the inputs fit no task, or not the named one, or the preset cannot do it.
    """
    if named is Task.UNDERSTAND:
        return named
    inputs = [one for one in inputs if one[0] is not Role.VISUAL_PROMPT]
    task = named if named is not None else infer(inputs, still)
    expected, given = _INPUTS[task], Counter(inputs)
    if frozenset(given) != expected or any(count > 1 for one, count in given.items() if one != _REFERENCE):
        raise TaskUnsupported(f"{task} takes {_sentence(expected)}, but was given {_listed(inputs)}", param="visuals")
    if task not in preset.tasks:
        known = ", ".join(preset.tasks)
        raise TaskUnsupported(f"the preset {preset.name} cannot do {task}; it can do {known}", param="task")
    return task


def inputs_of(task: Task) -> tuple[Input, ...]:
    """What a task takes: one of each, except references, of which there is one or more; in a fixed order."""
    return tuple(one for one in _NAMES if one in _INPUTS[task])


def infer(inputs: Sequence[Input], still: bool) -> Task:
    """The task whose inputs these are."""
    if not inputs:
        return Task.T2I if still else Task.T2V
    for task, expected in _INPUTS.items():
        if expected and expected == frozenset(inputs):
            return task
    raise TaskUnsupported(
        f"no task takes {_listed(inputs)}: give one source, or one first_frame, or references, or a source with references",
        param="visuals",
    )


def _sentence(expected: frozenset[Input]) -> str:
    return " and ".join(_NAMES[one] for one in _NAMES if one in expected) or "no visual inputs"


def _listed(inputs: Sequence[Input]) -> str:
    counts = Counter(f"{role} {kind}" for role, kind in inputs)
    return ", ".join(f"{count} {what}{'s' if count > 1 else ''}" for what, count in counts.items()) or "none"


def passes(spec: JobSpec) -> tuple[Pass, ...]:
    """The forward passes that guidance combines (NUMERICS, guidance and schedule)."""
    if spec.guidance <= 1:
        return (Pass.CONDITIONAL,)
    if spec.image_guidance <= 1:
        return (Pass.NEGATIVE, Pass.CONDITIONAL)
    return (Pass.UNCONDITIONAL, Pass.NEGATIVE, Pass.CONDITIONAL)
