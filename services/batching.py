"""Items of a stream that come close together travel together: between processes each message costs, whatever is in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

__all__ = ["batches"]

T = TypeVar("T")

_GAP_S = 0.25
"""As often as a person who watches wants to know. Each message wakes several processes, which costs the steps their time."""


async def batches(
    items: AsyncIterator[T], urgent: Callable[[T], bool], gap_s: float = _GAP_S
) -> AsyncIterator[tuple[T, ...]]:
    """The items in order, at most one batch in `gap_s` seconds; an urgent item goes at once and takes along what waits."""
    clock = asyncio.get_running_loop().time
    waiting: list[T] = []
    due_s = clock()
    pending = asyncio.ensure_future(anext(items, None))
    try:
        while True:
            await asyncio.wait({pending}, timeout=max(0.0, due_s - clock()) if waiting else None)
            hurry = False
            if pending.done():
                item = pending.result()
                if item is None:
                    break
                waiting.append(item)
                hurry = urgent(item)
                pending = asyncio.ensure_future(anext(items, None))
            if waiting and (hurry or clock() >= due_s):
                yield tuple(waiting)
                waiting.clear()
                due_s = clock() + gap_s
        if waiting:
            yield tuple(waiting)
    finally:
        pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await pending
