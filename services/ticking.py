"""The denoiser's thread: jobs come, share ticks with others of their shape, and go, all between two ticks.

It steps on by itself and does not wait for the event loop to hear of a step: each job may be so far ahead of its listeners that one
step is told while the next is made, and no further. Jobs are opened on the same thread, between ticks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import NamedTuple

from vogue.schemas.errors import DeviceOutOfMemory
from vogue.schemas.stages import DenoiseJob, LatentCheckpoint

from .step_loop import Latents, StepLoop, Stepping
from .turns import Turns

__all__ = ["Member", "Step", "Ticker"]

logger = logging.getLogger(__name__)

_AHEAD = 1
"""Steps that a job may have made and not told when it begins another."""
_LOOK_UP_S = 0.5
"""While nothing can be done, the thread sees this often whether anybody is left to do it for."""


class Step(NamedTuple):
    """A step that was made: how many are done, and what enters the next one."""

    done: int
    latents: Latents
    memory: Latents | None


class Member:
    """A job at the ticker, as its coroutine sees it."""

    def __init__(self, ticker: Ticker, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> None:
        self.job = job
        self.resume_from = resume_from
        self.stepping: Stepping | None = None
        self.aside = False
        self.stopped = False
        self.last_tick = 0
        self.owed = 0
        self._ticker = ticker
        self._news: asyncio.Queue[Step | Exception | None] = asyncio.Queue()

    async def step(self) -> Step | None:
        """The next step that is not told yet. None once no other follows.

        Raises:
            Exception: what went wrong in the job's own step, or at its opening.
        """
        news = await self._news.get()
        if isinstance(news, Exception):
            raise news
        if news is not None:
            self._ticker.told(self)
        return news

    @contextmanager
    def waiting_for_disk(self) -> Iterator[None]:
        """While the job is busy with something slow, others go on without it."""
        self._ticker.put_aside(self, True)
        try:
            yield
        finally:
            self._ticker.put_aside(self, False)

    def leave(self) -> None:
        """Make no further step; the one at work is the last."""
        self._ticker.stop(self)

    def hear(self, news: Step | Exception | None) -> None:
        """Called on the event loop with what the thread has to say."""
        self._news.put_nowait(news)

    # As `Waiting`.

    @property
    def _open(self) -> Stepping:
        if self.stepping is None:
            raise RuntimeError(f"job {self.job.job_id} is not open")
        return self.stepping

    @property
    def shape_class(self) -> Hashable:
        """See `Waiting`."""
        return self._open.shape_class

    @property
    def rows(self) -> int:
        """See `Waiting`."""
        return self._open.rows

    @property
    def num_bytes(self) -> int:
        """See `Waiting`."""
        return self._open.num_bytes

    @property
    def steps_left(self) -> int:
        """See `Waiting`."""
        return self.job.steps - self._open.steps_done

    @property
    def ready(self) -> bool:
        """See `Waiting`."""
        return self.owed <= _AHEAD


class Ticker:
    """Keeps one thread busy with the jobs that are open.

    Args:
        clock: seconds, for sharing out time.
    """

    def __init__(
        self, loop: StepLoop, worker: Executor, turns: Turns, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._worker = worker
        self._turns = turns
        self._clock = clock
        self._changed = threading.Condition()
        self._coming: list[Member] = []
        self._members: list[Member] = []
        self._working = False
        self._ticks = 0
        self._home: asyncio.AbstractEventLoop | None = None

    def join(self, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> Member:
        """Take a job in; it is opened and stepped from now on. Call it on the event loop."""
        member = Member(self, job, resume_from)
        with self._changed:
            self._home = asyncio.get_running_loop()
            self._coming.append(member)
            if not self._working:
                self._working = True
                self._worker.submit(self._work)
            self._changed.notify()
        return member

    def told(self, member: Member) -> None:
        """A step of the member was taken note of."""
        with self._changed:
            member.owed -= 1
            self._changed.notify()

    def put_aside(self, member: Member, aside: bool) -> None:
        """Whether a member is busy with something slow."""
        with self._changed:
            member.aside = aside
            self._changed.notify()

    def stop(self, member: Member) -> None:
        """Let a member make no further step."""
        with self._changed:
            member.stopped = True
            self._changed.notify()

    # On the thread.

    def _work(self) -> None:
        try:
            while (found := self._next()) is not None:
                opening, group = found
                for member in opening:
                    self._open(member)
                if group:
                    self._step(group)
        except Exception as error:
            logger.exception("the denoiser's thread failed")
            with self._changed:
                self._working = False
                for member in [*self._members, *self._coming]:
                    self._dismiss(member, error)
                self._coming.clear()

    def _next(self) -> tuple[list[Member], list[Member]] | None:
        """Jobs to open, or those of the next tick; waits for either, and gives None when nobody is left."""
        with self._changed:
            while True:
                for member in [member for member in self._members if member.stopped]:
                    self._dismiss(member, None)
                opening, self._coming = self._coming, []
                if opening:
                    return opening, []
                if not self._members or self._home is None or self._home.is_closed():
                    self._working = False
                    return None
                if group := self._turns.choose(self._members):
                    return [], group
                self._changed.wait(_LOOK_UP_S)

    def _open(self, member: Member) -> None:
        news: Exception | None = None
        if not member.stopped:
            try:
                member.stepping = self._loop.open(member.job, member.resume_from)
                member.last_tick = self._ticks
            except Exception as error:
                news = error
        with self._changed:
            if member.stepping is not None and member.steps_left > 0:
                self._members.append(member)
            else:
                self._tell(member, news)

    def _step(self, group: list[Member]) -> None:
        """One tick, and word of it to everybody concerned."""
        began = self._clock()
        outcomes = self._advance(group)
        taken = self._clock() - began
        with self._changed:
            self._ticks += 1
            self._turns.charge(self._members, group, taken)
            for member, error in outcomes:
                member.last_tick = self._ticks
                if error is not None:
                    self._dismiss(member, error)
                    continue
                member.owed += 1
                at = member._open
                self._tell(member, Step(at.steps_done, at.latents, at.memory))
                if member.steps_left <= 0:
                    self._dismiss(member, None)

    def _advance(self, group: list[Member]) -> list[tuple[Member, Exception | None]]:
        """Advance jobs together. If that fails, in halves, so that a job's own failure is its own alone."""
        try:
            self._loop.tick([member.stepping for member in group])
        except Exception as error:
            if len(group) == 1:
                return [(group[0], error)]
            if isinstance(error, DeviceOutOfMemory):
                rows = sum(member.rows for member in group)
                logger.warning("%d rows did not fit the device together; from now on half of them share a tick", rows)
                self._turns.narrow(group[0].shape_class, rows)
            middle = len(group) // 2
            return self._advance(group[:middle]) + self._advance(group[middle:])
        return [(member, None) for member in group]

    def _dismiss(self, member: Member, news: Exception | None) -> None:
        if member in self._members:
            self._members.remove(member)
        self._tell(member, news)

    def _tell(self, member: Member, news: Step | Exception | None) -> None:
        if self._home is not None and not self._home.is_closed():
            self._home.call_soon_threadsafe(member.hear, news)
