"""When the turn of a waiting job comes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

__all__ = ["starts_in"]


def starts_in(running: Iterable[float], waiting: Sequence[float], places: int) -> list[float]:
    """Seconds until each waiting job is taken, in order, if `places` jobs are at work at once and share the machine evenly.

    Args:
        running: seconds that each job at work still takes of the machine.
        waiting: seconds that each job that waits will take of it.
    """
    now = served = 0.0
    ends = list(running)
    heapq.heapify(ends)
    begins = []
    for needs in waiting:
        while len(ends) >= places:
            first = heapq.heappop(ends)
            now += max(0.0, first - served) * (len(ends) + 1)
            served = max(served, first)
        begins.append(now)
        heapq.heappush(ends, served + needs)
    return begins
