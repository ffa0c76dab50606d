"""What the tiers leave out, without torch, so that costs can be told from it."""

from __future__ import annotations

from vogue.schemas.config import Tier

__all__ = ["guided_steps", "is_guided"]


def is_guided(step: int, steps: int, tier: Tier) -> bool:
    """Whether a step, counted from 0, runs all guidance passes.

    `fast` leaves out every other one in the second half, where what guidance adds changes little from step to step: there the full
    prompt's pass runs alone, and gets what guidance added in the step before.
    """
    half = (steps + 1) // 2
    return tier is Tier.EXACT or step < half or (step - half) % 2 == 1


def guided_steps(steps: int, tier: Tier) -> int:
    """How many steps run all guidance passes."""
    return sum(is_guided(step, steps, tier) for step in range(steps))
