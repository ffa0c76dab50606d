"""Plans as the product writes them: the right one of a case, and what a planner is told and may choose from."""

from __future__ import annotations

from vogue.schemas.config import Role, Task
from vogue.schemas.plan import Plan, PlanChoice, PlanStep

from .world.cases import Case
from .world.plan import plan_of, visual_roles

__all__ = ["plan_choices", "plan_is_right", "right_plan", "told_roles"]


def right_plan(case: Case) -> Plan:
    """The label of a case as a plan of the product."""
    label = plan_of(case)
    return Plan(
        task=None if label.task is None else Task(label.task),
        roles={tag: Role(role) for tag, role in label.roles},
        steps=tuple(PlanStep(action=action, inputs=tags) for action, tags in label.steps),
        dense_prompt=label.dense_prompt,
        clarification=label.clarification,
    )


def told_roles(case: Case) -> dict[str, Role | None]:
    """What the planner is told of each input: all of it, but of a picture that is drawn on only which is the drawing."""
    roles: dict[str, Role | None] = {tag: Role(role) for tag, role in visual_roles(case)}
    if case.visual_prompt is None or case.references:
        return roles
    return {tag: role if role is Role.VISUAL_PROMPT else None for tag, role in roles.items()}


def plan_choices(case: Case) -> tuple[PlanChoice, ...]:
    """The plans that the told roles leave room for."""
    told = told_roles(case)
    roles = {tag: Role(role) for tag, role in visual_roles(case)}
    right = PlanChoice(task=Task(case.task), roles=roles)
    if None not in told.values():
        return (right,)
    free = [(Task.I2V, Role.FIRST_FRAME), (Task.I2I_EDIT, Role.SOURCE), (Task.MULTIID, Role.REFERENCE)]
    return tuple(
        PlanChoice(task=task, roles={tag: role if role is not None else taken for tag, role in told.items()})
        for task, taken in free
    )


def plan_is_right(case: Case, plan: Plan) -> bool:
    """Whether a plan asks for what the case asks: task, roles and dense prompt; or asks back about what is missing.

    The wording of a dense prompt is fixed, so words are compared as they are; the steps are not judged.
    """
    right = right_plan(case)
    if right.clarification is not None:
        return plan.clarification is not None and case.missing in plan.clarification
    if plan.clarification is not None:
        return False
    return (plan.task, plan.roles, plan.dense_prompt) == (right.task, right.roles, right.dense_prompt)
