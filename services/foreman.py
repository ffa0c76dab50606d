"""Who puts workers on jobs: as long as there are jobs and room for them, and whenever a lease runs out that nobody renews."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable

from .leases import Lease
from .news import set_within
from .worker import Bench, work_on

__all__ = ["Foreman"]

logger = logging.getLogger(__name__)


class Foreman:
    """Hands out the jobs of one orchestrator.

    Args:
        most: jobs at work at once.
        learn: called on a thread when jobs have ended and no other can be handed out.
    """

    def __init__(self, bench: Bench, most: int, learn: Callable[[], None]) -> None:
        self._bench = bench
        self._most = most
        self._learn = learn
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._workers: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._wake = asyncio.Event()
        self._learnt_all = False

    async def run(self) -> None:
        """Hand out for ever."""
        while True:
            self._wake.clear()
            try:
                await self._end_overdue()
                if await self._hand_out_one():
                    continue
                if not self._learnt_all:
                    self._learnt_all = True
                    await asyncio.to_thread(self._learn)
            except Exception:
                # A disk that is full now may have room in a moment: jobs wait for that, and not for a restart.
                logger.exception("no job could be handed out; trying again")
            # Leases of dead workers run out without anybody saying so.
            await set_within(self._wake, min(1.0, self._bench.lease_ttl_s / 2))

    def wake(self) -> None:
        """There may be a job to hand out."""
        self._wake.set()

    def nudge(self, job_id: str) -> None:
        """Let the job's worker, if it has one here, see at once whether it shall stop."""
        if job_id in self._workers:
            self._workers[job_id][1].set()

    async def dismiss(self) -> None:
        """Stop all workers; their jobs are given back and can be taken at once."""
        tasks = [task for task, _ in self._workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_overdue(self) -> None:
        """Jobs at work are ended by their workers; nobody else looks after those that wait."""
        ended = await asyncio.to_thread(self._bench.leases.end_overdue)
        for job_id in ended:
            self._bench.news.tell(job_id, over=True)
        if ended:
            self._bench.news.tell_everybody()

    async def _hand_out_one(self) -> bool:
        """Put a worker on the next job, if there is one and room for it."""
        if len(self._workers) >= self._most:
            return False
        lease = await asyncio.to_thread(self._bench.leases.take, self._owner, self._bench.lease_ttl_s)
        if lease is None:
            return False
        self._put_to_work(lease)
        self._bench.news.tell_everybody()  # whoever waits has moved up
        return True

    def _put_to_work(self, lease: Lease) -> None:
        nudge = asyncio.Event()
        task = asyncio.create_task(work_on(self._bench, lease, nudge), name=f"job {lease.job_id}")
        self._workers[lease.job_id] = (task, nudge)
        task.add_done_callback(lambda done: self._worker_left(lease.job_id, done))

    def _worker_left(self, job_id: str, task: asyncio.Task[None]) -> None:
        if self._workers.get(job_id, (None,))[0] is task:
            del self._workers[job_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the worker of job %s died", job_id, exc_info=error)
        self._learnt_all = False
        self._wake.set()
