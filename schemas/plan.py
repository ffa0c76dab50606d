"""What thinking mode decides: the task, the part each input plays, and the dense prompt that drives the generator."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Contract, Message
from .config import Role, Task
from .references import Tag

__all__ = ["Plan", "PlanStep"]


class PlanStep(Contract):
    """One thing to do, such as `recolour the star to blue`, and the inputs it needs."""

    action: Annotated[str, Field(min_length=1, max_length=400)]
    inputs: tuple[Tag, ...] = ()


class Plan(Message):
    """A request made explicit. `clarification` asks back instead, when the request cannot be met."""

    task: Task
    roles: dict[Tag, Role] = Field(default_factory=dict)
    dense_prompt: Annotated[str, Field(max_length=8000)] = ""
    steps: tuple[PlanStep, ...] = ()
    clarification: str | None = None
