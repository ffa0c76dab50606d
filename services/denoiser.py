"""The denoiser's jobs: who listens, what is told of each step, when latents are kept.

It knows nothing of networks: a step loop is injected, and `ticking.py` keeps a thread busy with it, on which jobs of one shape
are stepped together. A job's life hangs on no connection: listeners come and go, events stay.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from vogue.schemas.errors import EngineError, JobNotFound, ServiceError, VogueError
from vogue.schemas.jobs import ErrorInfo
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint

from .blobs import BlobStore
from .metrics import STEP_SECONDS
from .step_loop import Latents, StepLoop
from .ticking import Member, Step, Ticker
from .turns import Turns

__all__ = ["DenoiserService", "Foresight"]

logger = logging.getLogger(__name__)

Foresight = Callable[[DenoiseJob, int, Latents, Latents], Latents]
"""Of a job after so many steps, from the latents before and after the last one: where it would end if it went straight on."""


@dataclass(eq=False, slots=True)
class _Record:
    """A job in this process."""

    job: DenoiseJob
    member: Member
    events: list[DenoiseEvent] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    cancelled: bool = False
    task: asyncio.Task[None] | None = None
    left: bool = False
    """Nobody steps any more, however far the job has come."""

    @property
    def final(self) -> str | None:
        """How the job ended, if it did."""
        return self.events[-1].kind if self.events and self.events[-1].final else None


class DenoiserService:
    """The `Denoiser` port over a step loop."""

    def __init__(
        self,
        loop: StepLoop,
        blobs: BlobStore,
        keep_finished: int = 64,
        foresee: Foresight | None = None,
        worker: Executor | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._foresee = foresee
        self._blobs = blobs
        self._keep_finished = keep_finished
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._closing = False
        self._worker = worker or ThreadPoolExecutor(max_workers=1, thread_name_prefix="denoise")
        self._turns = turns or Turns(max_rows=32)
        self._ticker = Ticker(loop, self._worker, self._turns)

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        """Begin a job. One that runs or is completed stays as it is; one that failed or was cancelled begins anew.

        Raises:
            ServiceError: this denoiser is being closed; its successor takes the job.
        """
        if self._closing:
            raise ServiceError(f"this denoiser is being closed and takes no jobs any more, {job.job_id} neither")
        known = self._records.get(job.job_id)
        if known is not None and known.final not in ("failed", "cancelled"):
            return
        record = self._records[job.job_id] = _Record(job, self._ticker.join(job, resume_from))
        done = resume_from.steps_done if resume_from is not None else 0
        record.task = asyncio.create_task(self._run(record, done), name=f"denoise {job.job_id}")
        self._forget_old()

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        """Events with `seq > after`, past ones first, until the final one, or until the denoiser is closed.

        Raises:
            JobNotFound: this process does not know the job.
        """
        record = self._records.get(job_id)
        if record is None:
            raise JobNotFound(f"this denoiser does not know job {job_id}")
        while True:
            for event in record.events[after:]:
                yield event
                after = event.seq
            if (record.left or record.final is not None) and after >= len(record.events):
                return
            async with record.news:
                while len(record.events) <= after and record.final is None and not record.left:
                    await record.news.wait()

    async def cancel(self, job_id: str) -> None:
        """Stop stepping: the step at work is the last. A job that is over, or unknown, stays as it is."""
        record = self._records.get(job_id)
        if record is not None:
            record.cancelled = True
            record.member.leave()

    async def room_bytes(self) -> int | None:
        """Memory for the rows of a step, beside the weights; None for no limit."""
        return self._turns.max_bytes

    async def close(self) -> None:
        """Stop all jobs after their present step. Nobody cancelled them: their events end without a final one."""
        self._closing = True
        for record in self._records.values():
            record.member.leave()
        tasks = [record.task for record in self._records.values() if record.task is not None]
        await asyncio.gather(*tasks)
        self._worker.shutdown()

    async def _run(self, record: _Record, done: int) -> None:
        """Tell of each step until the job is done, cancelled or failed, and the last event says which, or until the denoiser is
        closed."""
        job, member = record.job, record.member
        try:
            latents: Latents | None = None
            while done < job.steps:
                began = time.perf_counter()
                step = await member.step()
                if step is None:
                    break
                STEP_SECONDS.observe(time.perf_counter() - began, task=job.task)
                before, (done, latents, _) = latents, step
                await self._append(record, "step", done)
                if done < job.steps:
                    # Shown and kept while the next step is made, and before that one counts.
                    await self._look_back(record, before, step)
            if record.cancelled and done < job.steps:
                await self._append(record, "cancelled", done)
            elif self._closing and done < job.steps:
                logger.info("job %s is left after %d of %d steps", job.job_id, done, job.steps)
            elif latents is None or done != job.steps:
                raise EngineError(f"the step loop ended after {done} of {job.steps} steps")
            else:
                await self._tell(record, "completed", done, latents)
        except VogueError as error:
            await self._fail(record, done, error)
        except Exception as error:
            logger.exception("job %s failed", job.job_id)
            await self._fail(record, done, EngineError(f"denoising failed: {type(error).__name__}: {error}"))
        finally:
            logger.info("stepped %d of %d steps: %s", done, job.steps, record.final or "left")
            member.leave()
            async with record.news:
                record.left = True
                record.news.notify_all()

    async def _tell(
        self, record: _Record, kind: str, steps_done: int, latents: Latents, memory: Latents | None = None
    ) -> None:
        refs = {"latents": await asyncio.to_thread(self._blobs.put_tensor, latents)}
        if memory is not None:
            refs["memory"] = await asyncio.to_thread(self._blobs.put_tensor, memory)
        await self._append(record, kind, steps_done, **refs)

    async def _look_back(self, record: _Record, before: Latents | None, step: Step) -> None:
        """Give away the latents after a step, if it is one of those."""
        job, (done, latents, memory) = record.job, step
        shows = bool(job.preview_every_steps) and done % job.preview_every_steps == 0
        keeps = done % job.checkpoint_every_steps == 0
        if not shows and not keeps:
            return
        with record.member.waiting_for_disk():
            if shows:
                await self._show(record, done, before, latents)
            if keeps:
                await self._tell(record, "checkpoint", done, latents, memory)

    async def _show(self, record: _Record, done: int, before: Latents | None, latents: Latents) -> None:
        """Tell what the job is heading for, where that can be foreseen."""
        if self._foresee is None:
            await self._tell(record, "preview", done, latents)
        elif before is not None:
            await self._tell(record, "preview", done, self._foresee(record.job, done, before, latents))

    async def _fail(self, record: _Record, steps_done: int, error: VogueError) -> None:
        await self._append(record, "failed", steps_done, error=ErrorInfo.of(error))

    async def _append(self, record: _Record, kind: str, steps_done: int, **fields: Any) -> None:
        async with record.news:
            record.events.append(
                DenoiseEvent.model_validate(
                    {
                        "job_id": record.job.job_id,
                        "seq": len(record.events) + 1,
                        "kind": kind,
                        "steps_done": steps_done,
                        "steps_total": record.job.steps,
                        **fields,
                    }
                )
            )
            record.news.notify_all()

    def _forget_old(self) -> None:
        """Drop the oldest finished jobs beyond the number that is kept."""
        finished = [job_id for job_id, record in self._records.items() if record.final is not None]
        for job_id in finished[: max(0, len(finished) - self._keep_finished)]:
            del self._records[job_id]
