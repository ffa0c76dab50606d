"""When to try again, and how long to wait before: exponential, with jitter, never sooner than the server asks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from vogue.schemas.errors import VogueError

__all__ = ["Retry", "asked_delay_s"]


@dataclass(frozen=True)
class Retry:
    """How often to try a call that may succeed the next time.

    Args:
        attempts: tries in all; 1 never tries again.
        first_delay_s: wait before the second try; it doubles each time.
        max_delay_s: the longest wait. A server that asks for a longer one gets no second try.
    """

    attempts: int = 4
    first_delay_s: float = 0.5
    max_delay_s: float = 20.0
    random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def delay_s(self, tries: int, error: VogueError | None = None) -> float | None:
        """Seconds to wait after the given number of failed tries, or None to give up."""
        asked = error.retry_after_s if error is not None else None
        if tries >= self.attempts or (asked is not None and asked > self.max_delay_s):
            return None
        backoff = min(self.first_delay_s * 2.0 ** (tries - 1), self.max_delay_s)
        # Half of the wait is random, so that clients refused together do not come back together.
        return max(asked or 0.0, backoff / 2) + self.random.uniform(0, backoff / 2)


def asked_delay_s(headers: Mapping[str, str]) -> float | None:
    """The `Retry-After` header in seconds; its date form, which VOGUE never sends, counts as absent."""
    try:
        delay_s = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return delay_s if 0 <= delay_s < float("inf") else None
