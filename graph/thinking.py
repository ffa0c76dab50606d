"""When to plan, and what a plan may decide: pure functions of the request and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import RequestInvalid, ReviewUnavailable, ThinkingUnavailable
from vogue.schemas.plan import Plan, PlanChoice
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, Thinking

__all__ = ["candidates", "check_self_review", "needs_plan", "planned", "thinking_for"]

MAX_OPEN_ROLES = 3
"""Inputs whose part a plan may choose; each more would make four times as many plans possible."""

_OPEN_ROLES: dict[MediaKind, tuple[Role, ...]] = {
    MediaKind.IMAGE: (Role.SOURCE, Role.FIRST_FRAME, Role.REFERENCE),
    MediaKind.VIDEO: (Role.SOURCE,),
}


def needs_plan(request: GenerationRequest) -> str | None:
    """Why the request cannot be carried out without a plan, or None if it can."""
    if request.task is Task.UNDERSTAND:
        return None
    for visual in request.visuals:
        if visual.role is None:
            return f"{visual.tag} has no role"
        if visual.role is Role.VISUAL_PROMPT:
            return f"{visual.tag} is a visual prompt"
    return None


def thinking_for(request: GenerationRequest, preset: Preset) -> Thinking:
    """Whether this request is planned: on, off or review.

    Raises:
        RequestInvalid: it needs a plan, and asks for none.
        ThinkingUnavailable: the preset's weights cannot write plans.
    """
    asked, reason = request.thinking, needs_plan(request)
    if asked is Thinking.OFF and reason is not None:
        raise RequestInvalid(f"{reason}, so the request needs a plan: leave thinking at auto", param="thinking")
    if request.task is Task.UNDERSTAND or (asked is Thinking.AUTO and reason is None):
        return Thinking.OFF
    if not preset.can_plan:
        cannot = f"the weights of the preset {preset.name} have not learnt to write plans"
        if reason is not None:
            raise ThinkingUnavailable(f"{reason}, but {cannot}: give each input another role", param="visuals")
        raise ThinkingUnavailable(f"{cannot}; send thinking as off or auto", param="thinking")
    return Thinking.ON if asked is Thinking.AUTO else asked


def check_self_review(request: GenerationRequest, preset: Preset) -> None:
    """Refuse to score results with weights that cannot.

    Raises:
        ReviewUnavailable: they have not learnt to.
    """
    if request.self_review is not None and not preset.can_review:
        raise ReviewUnavailable(
            f"the weights of the preset {preset.name} have not learnt to score results; leave self_review out",
            param="self_review",
        )


def candidates(
    request: GenerationRequest,
    kinds: Mapping[str, MediaKind],
    preset: Preset,
    fits: Callable[[PlanChoice], bool],
) -> tuple[PlanChoice, ...]:
    """The plans that a request leaves room for. What its owner has said, task or role, is not open.

    Args:
        kinds: whether each tag is a picture or a clip.
        fits: whether a choice can be carried out.

    Raises:
        RequestInvalid: too many inputs without a role.
    """
    tasks = (request.task,) if request.task is not None else (*preset.tasks, Task.UNDERSTAND)
    return tuple(
        choice for task in tasks for roles in _assignments(request, kinds, task) if fits(choice := _choice(task, roles))
    )


def _choice(task: Task, roles: dict[str, Role]) -> PlanChoice:
    return PlanChoice(task=task, roles=roles)


def _assignments(request: GenerationRequest, kinds: Mapping[str, MediaKind], task: Task) -> Iterator[dict[str, Role]]:
    """Every way to give the open inputs a role. To answer a question all of them are just looked at."""
    if task is Task.UNDERSTAND:
        yield {visual.tag: visual.role or Role.SOURCE for visual in request.visuals}
        return
    options: list[tuple[Role, ...]] = []
    # Marks are drawn on a copy; only where nothing else was given can the marked picture itself be what is changed.
    drawn = sum(visual.role is Role.VISUAL_PROMPT for visual in request.visuals)
    drawn_only = drawn == len(request.visuals) <= MAX_OPEN_ROLES
    for visual in request.visuals:
        if visual.role is None:
            options.append(_OPEN_ROLES[kinds[visual.tag]])
        elif visual.role is Role.VISUAL_PROMPT and drawn_only:
            options.append((*_OPEN_ROLES[kinds[visual.tag]], Role.VISUAL_PROMPT))
        else:
            options.append((visual.role,))
    open_roles = sum(len(roles) > 1 for roles in options)
    if open_roles > MAX_OPEN_ROLES:
        raise RequestInvalid(
            f"{open_roles} inputs have no role of their own, and a plan can find at most {MAX_OPEN_ROLES}: name the others",
            param="visuals",
        )
    for roles in product(*options):
        yield {visual.tag: role for visual, role in zip(request.visuals, roles, strict=True)}


def planned(request: GenerationRequest, choice: PlanChoice | Plan) -> GenerationRequest:
    """The request as the plan makes it, with nothing left to think about.

    Raises:
        RequestInvalid: the plan speaks of an input that the request does not have.
    """
    unknown = sorted(set(choice.roles) - {visual.tag for visual in request.visuals})
    if unknown:
        raise RequestInvalid(f"the plan speaks of {', '.join(unknown)}, which the request does not have", param="roles")
    visuals = tuple(
        visual.model_copy(update={"role": choice.roles.get(visual.tag, visual.role)}) for visual in request.visuals
    )
    written = choice.dense_prompt.strip() if isinstance(choice, Plan) else ""
    changes = {"task": choice.task, "visuals": visuals, "instruction": written or request.instruction}
    return request.model_copy(update=changes | {"thinking": Thinking.OFF})
