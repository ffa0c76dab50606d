"""How far a run has come, and the learning rate that follows from it.

A run is given minutes (or steps) once; the rate is a function of the fraction used, so that it ends annealed on time
whatever the machine does meanwhile. Time spent in earlier sittings counts; time between them does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Budget", "learning_rate_factor"]


@dataclass
class Budget:
    """What a run may use: `minutes` of wall clock, or exactly `steps`, which makes a run reproducible to the bit."""

    minutes: float | None = None
    steps: int | None = None
    clock: Callable[[], float] = time.monotonic
    used_s: float = 0.0
    step: int = 0
    _last: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError(f"a budget is either minutes or steps, got minutes={self.minutes}, steps={self.steps}")

    def tick(self) -> None:
        """Count one finished step, and the time since the tick before."""
        now = self.clock()
        self.used_s += now - (self._last if self._last is not None else now)
        self._last = now
        self.step += 1

    @property
    def fraction(self) -> float:
        """Share of the budget used, 0 to 1."""
        used = self.used_s / (60 * self.minutes) if self.minutes is not None else self.step / (self.steps or 1)
        return min(1.0, used)

    @property
    def done(self) -> bool:
        """Whether the budget is used up."""
        return self.fraction >= 1.0


def learning_rate_factor(fraction: float, step: int, *, warmup_steps: int = 50, hold: float = 0.3) -> float:
    """Warm-up by steps, a plateau until `hold` of the budget, then a straight line to 2 % at its end."""
    warm = min(1.0, (step + 1) / warmup_steps)
    if fraction <= hold:
        return warm
    return warm * max(0.02, (1.0 - fraction) / (1.0 - hold))
