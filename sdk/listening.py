"""A job's events over connections that may break: each is delivered once and in order, whatever happens in between."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

import httpx

from vogue.schemas.errors import ServiceError, VogueError
from vogue.schemas.jobs import JobEvent

from .exchange import Exchange, read_as
from .sse import EventDecoder

__all__ = ["listen"]

# A silent connection is renewed after this long: the other side may have gone without a word.
_SILENCE_S = 60.0


async def listen(
    exchange: Exchange, job_id: str, after: int = 0, deadline_s: float | None = None
) -> AsyncGenerator[JobEvent, None]:
    """Events with `seq > after`, past ones first, until the final one or the deadline.

    Args:
        deadline_s: on the clock of `time.monotonic`; the stream just ends there.

    Raises:
        JobNotFound: no job has this id.
        ServiceError: the server stayed away through every try.
    """
    seen, tries = after, 0
    while deadline_s is None or time.monotonic() < deadline_s:
        error: VogueError = ServiceError(f"{exchange.server} closed the event stream of job {job_id} before its end")
        try:
            async with aclosing(_connection(exchange, job_id, seen, deadline_s)) as events:
                async for event in events:
                    if event.seq <= seen:
                        continue
                    seen, tries = event.seq, 0
                    yield event
                    if event.kind.final:
                        return
        except httpx.ReadTimeout:
            continue  # silence is no failure: a queued job may have nothing to tell for long
        except httpx.TransportError as fault:
            error = exchange.connection_error(fault)
        except VogueError as refusal:
            if not refusal.retryable:
                raise
            error = refusal
        tries += 1
        delay_s = exchange.retry.delay_s(tries, error)
        if delay_s is None:
            raise error
        await exchange.transport.sleep(delay_s)


async def _connection(
    exchange: Exchange, job_id: str, seen: int, deadline_s: float | None
) -> AsyncGenerator[JobEvent, None]:
    """The events of one connection."""
    left_s = _SILENCE_S if deadline_s is None else max(0.01, min(_SILENCE_S, deadline_s - time.monotonic()))
    headers = {"accept": "text/event-stream", "last-event-id": str(seen)}
    decoder = EventDecoder()
    path = f"/v1/jobs/{quote(job_id, safe='')}/events"
    async with exchange.stream(path, headers, left_s) as answer, aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            for sent in decoder.feed(chunk):
                yield read_as(JobEvent, sent.data)
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return
