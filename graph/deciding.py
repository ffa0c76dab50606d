"""The nodes at which the MLLM has its say: plan, answer, review; and the owner, who approves."""

from __future__ import annotations

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from vogue.schemas.errors import ClarificationNeeded, PlanRejected, TaskUnsupported
from vogue.schemas.jobs import Stage
from vogue.schemas.plan import Plan, PlanDecision, Trial
from vogue.schemas.stages import AnswerRequest, DecodedMedia, PlanRequest, ReviewRequest

from .resolve import choices
from .state import Flow, FlowState, assets_of, dump, prepared_of, request_of, spec_of

__all__ = ["answer", "approve", "best_trial", "clarify", "plan", "review", "wants_another_seed"]

MAX_SEED = 2**63


async def plan(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Thinking mode: let the MLLM make the request explicit."""
    flow, request = runtime.context, request_of(state)
    await flow.journal.stage(Stage.PLAN)
    possible = choices(request, flow.preset, assets_of(state))
    if not possible:
        raise TaskUnsupported("no plan can be carried out with these inputs: name the task and their roles")
    decided = await flow.ports.understanding.plan(
        PlanRequest(
            instruction=request.instruction,
            visuals=tuple(prepared_of(state)),
            roles={visual.tag: visual.role for visual in request.visuals if visual.role is not None},
            choices=possible,
            max_prompt_chars=flow.preset.limits.max_instruction_chars,
        )
    )
    await flow.journal.plan(decided)
    return FlowState(plan=dump(decided))


async def clarify(state: FlowState) -> FlowState:
    """End the job with the MLLM's question."""
    question = Plan.model_validate(state["plan"]).clarification
    raise ClarificationNeeded(
        f"the request cannot be met as it is; answer this in a new one: {question}", param="instruction"
    )


async def approve(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Wait for the owner's word on the plan. A node of its own, because a resumed interrupt runs its node from the top."""
    decision = PlanDecision.model_validate(interrupt({"plan": state["plan"]}))
    if not decision.approved:
        raise PlanRejected("the plan was not approved; change the request and submit it again")
    if decision.plan is None:
        return FlowState()
    await runtime.context.journal.plan(decision.plan)
    return FlowState(plan=dump(decision.plan))


async def answer(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Answer in words. The same question has the same answer, so a second try goes on where the first one broke."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.ANSWER)
    question = AnswerRequest(
        instruction=spec.instruction,
        visuals=tuple(prepared_of(state)),
        max_new_tokens=spec.max_new_tokens or flow.preset.mllm.max_new_tokens,
        temperature=spec.temperature,
        seed=spec.seed,
    )
    told = 0
    async for piece in flow.ports.understanding.answer(question):
        await flow.journal.text(told, piece)
        told += len(piece)
    await flow.journal.answered()
    return FlowState()


async def review(state: FlowState, runtime: Runtime[Flow]) -> FlowState:
    """Let the MLLM score the result. The next seed is ready, in case it is not good enough."""
    flow, spec = runtime.context, spec_of(state)
    await flow.journal.stage(Stage.REVIEW)
    decoded = DecodedMedia.model_validate(state["decoded"])
    scored = await flow.ports.understanding.review(
        ReviewRequest(
            instruction=request_of(state).instruction,
            task=spec.task,
            visuals=tuple(prepared_of(state)),
            frames=decoded.frames,
        )
    )
    trial = Trial(seed=spec.seed, review=scored)
    await flow.journal.trial(trial)
    trials = [*state.get("trials", []), {"trial": dump(trial), "decoded": dump(decoded)}]
    following = spec.model_copy(update={"seed": (spec.seed + 1) % MAX_SEED})
    return FlowState(trials=trials, spec=dump(following))


def wants_another_seed(state: FlowState) -> bool:
    """Whether the last result is not good enough, and another may be tried."""
    settings, trials = spec_of(state).self_review, state["trials"]
    if settings is None or len(trials) >= settings.max_trials:
        return False
    return Trial.model_validate(trials[-1]["trial"]).review.score < settings.min_score


def best_trial(state: FlowState) -> tuple[Trial, DecodedMedia]:
    """The trial with the highest score, then the highest sum; the earlier of equals."""
    scored = [
        (Trial.model_validate(one["trial"]), DecodedMedia.model_validate(one["decoded"])) for one in state["trials"]
    ]
    return max(scored, key=lambda one: (one[0].review.score, one[0].review.total))
