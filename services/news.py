"""Who waits for word of a job, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

__all__ = ["News", "set_within"]


class News:
    """Wakes listeners of a job when its log has grown."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, dict[asyncio.Event, bool]] = defaultdict(dict)

    def tell(self, job_id: str, *, over: bool = False) -> None:
        """Something was written about the job, maybe its end."""
        for listener, end_only in self._listeners.get(job_id, {}).items():
            if over or not end_only:
                listener.set()

    def tell_everybody(self) -> None:
        """Something was written about several jobs."""
        for job_id in list(self._listeners):
            self.tell(job_id)

    def listen(self, job_id: str, *, end_only: bool = False) -> asyncio.Event:
        """An event that is set whenever something is written, or the end only, until `leave`."""
        listener = asyncio.Event()
        self._listeners[job_id][listener] = end_only
        return listener

    def leave(self, job_id: str, listener: asyncio.Event) -> None:
        """Stop listening."""
        self._listeners[job_id].pop(listener, None)
        if not self._listeners[job_id]:
            del self._listeners[job_id]


async def set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until an event is set, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
