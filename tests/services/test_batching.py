"""Batches: all items in order, urgent ones at once, errors and ends passed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from vogue.services.batching import batches

NEVER_S = 3600.0


async def _items(queue: asyncio.Queue[int | None]) -> AsyncIterator[int]:
    while (item := await queue.get()) is not None:
        yield item


async def test_the_first_goes_at_once_the_rest_with_an_urgent_one() -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    stream = batches(_items(queue), urgent=lambda item: item == 4, gap_s=NEVER_S)
    queue.put_nowait(1)
    assert await anext(stream) == (1,)
    for item in (2, 3, 4):
        queue.put_nowait(item)
    assert await anext(stream) == (2, 3, 4)
    await stream.aclose()


async def test_the_end_sends_what_waits() -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    for item in (1, 2, 3, None):
        queue.put_nowait(item)
    assert [batch async for batch in batches(_items(queue), lambda _: False, NEVER_S)] == [(1,), (2, 3)]


async def test_without_anything_urgent_the_gap_passes() -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    stream = batches(_items(queue), lambda _: False, gap_s=0.01)
    seen: list[int] = []
    for item in (1, 2, 3):
        queue.put_nowait(item)
    while len(seen) < 3:
        seen.extend(await anext(stream))
    assert seen == [1, 2, 3]
    await stream.aclose()


async def test_an_error_comes_through_and_leaving_closes_the_source() -> None:
    closed = asyncio.Event()

    async def broken() -> AsyncIterator[int]:
        try:
            yield 1
            raise KeyError("gone")
        finally:
            closed.set()

    stream = batches(broken(), lambda _: True)
    assert await anext(stream) == (1,)
    with pytest.raises(KeyError):
        await anext(stream)
    assert closed.is_set()
