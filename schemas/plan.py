"""What thinking mode decides, what its owner makes of it, and how a result was scored."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from .base import Contract, Message
from .config import Role, Task
from .references import Tag

__all__ = ["Plan", "PlanChoice", "PlanDecision", "PlanStep", "Review", "Trial"]

MAX_STEPS = 8
MAX_ACTION_CHARS = 400
MAX_PROMPT_CHARS = 8000

_Score = Annotated[int, Field(ge=0, le=10)]


class PlanStep(Contract):
    """One thing to do, such as `recolour the star to blue`, and the inputs it needs."""

    action: Annotated[str, Field(min_length=1, max_length=MAX_ACTION_CHARS)]
    inputs: tuple[Tag, ...] = ()


class PlanChoice(Contract):
    """A task that a request can come to, and the part that each input then plays."""

    task: Task
    roles: dict[Tag, Role] = Field(default_factory=dict)


class Plan(Message):
    """A request made explicit; or, when it cannot be met, the question that its owner must answer first.

    `dense_prompt` drives the generator in place of the instruction, unless it is empty. `roles` names the part of every input; one
    that stays a `visual_prompt` was read for the plan only.
    """

    task: Task | None = None
    roles: dict[Tag, Role] = Field(default_factory=dict)
    steps: Annotated[tuple[PlanStep, ...], Field(max_length=MAX_STEPS)] = ()
    dense_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS)] = ""
    clarification: Annotated[str, Field(min_length=1, max_length=MAX_ACTION_CHARS)] | None = None

    @model_validator(mode="after")
    def _decides_or_asks(self) -> Self:
        if self.task is None and self.clarification is None:
            raise ValueError("a plan names its task, or asks back in `clarification`")
        return self


class PlanDecision(Message):
    """What the owner makes of a plan that waits: approve it as it is or as edited here, or reject it."""

    approved: bool = True
    plan: Plan | None = None


class Review(Contract):
    """How good a result is, 0 to 10 each, as the paper's data filter scores it.

    `over_editing` is 10 when nothing was changed but what was asked, and None where there was nothing to be left alone.
    """

    quality: _Score
    instruction_following: _Score
    over_editing: _Score | None = None

    @property
    def score(self) -> int:
        """The worst of the three: a result is as good as its weakest side."""
        return min(self._scores)

    @property
    def total(self) -> int:
        """The sum of the three; it tells apart results that are equally weak."""
        return sum(self._scores)

    @property
    def _scores(self) -> tuple[int, ...]:
        return self.quality, self.instruction_following, 10 if self.over_editing is None else self.over_editing


class Trial(Contract):
    """One seed that was tried, and how its result was scored."""

    seed: Annotated[int, Field(ge=0)]
    review: Review
