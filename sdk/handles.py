"""The server's jobs, as objects. Written once, as coroutines; `vogue.blocking` wraps them."""

from __future__ import annotations

import builtins
import json
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from inspect import isawaitable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.errors import JobCancelled, ServiceTimeout, WireError, error_from_body
from vogue.schemas.jobs import EventKind, Job, JobEvent, JobStatus
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.queries import WebhookDelivery
from vogue.schemas.requests import GenerationRequest

from .assets import AsyncAssetHandle, list_entries, segment
from .display import job_html, poster_of
from .exchange import Exchange, read_as
from .listening import listen

__all__ = ["AsyncJobHandle", "AsyncJobs", "Progress"]

Progress = Callable[[JobEvent], object]
"""Called with each event of a job that is waited for."""

_PATIENCE_S = 30.0
"""How long one question waits for the end of a job; connections that are silent for longer may be cut on the way."""
_SLACK_S = 30.0


class AsyncJobs:
    """The server's jobs."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def submit(self, request: GenerationRequest) -> AsyncJobHandle:
        """See `AsyncVogue.submit`."""
        body = request.model_dump_json(exclude_none=True).encode()
        # Under a key of its own the server takes the request once, however often it comes.
        headers = {"content-type": "application/json", "idempotency-key": secrets.token_urlsafe(18)}
        job = await self._exchange.fetch(Job, "POST", "/v1/jobs", content=body, headers=headers)
        return AsyncJobHandle(self._exchange, job)

    async def get(self, job_id: str, wait_s: float = 0.0) -> AsyncJobHandle:
        """The job as it stands: now, or with `wait_s`, at most 60, once it is over, but not later than that.

        Raises:
            JobNotFound: no job has this id.
        """
        if not wait_s:
            return await self._ask("GET", job_id)
        return await self._ask("GET", job_id, params={"wait_s": wait_s}, timeout=wait_s + _SLACK_S)

    async def list(self, limit: int = 20, before: str | None = None) -> list[AsyncJobHandle]:
        """The newest jobs first, starting below the job `before`."""
        params = {"limit": limit} if before is None else {"limit": limit, "before": before}
        content = (await self._exchange.call("GET", "/v1/jobs", params=params)).content
        return [AsyncJobHandle(self._exchange, read_as(Job, json.dumps(entry))) for entry in list_entries(content)]

    async def cancel(self, job_id: str) -> AsyncJobHandle:
        """Ask a job to stop; one that is over stays as it is."""
        return await self._ask("POST", job_id, "/cancel")

    async def resume(self, job_id: str) -> AsyncJobHandle:
        """Take up a failed or interrupted job at its last checkpoint."""
        return await self._ask("POST", job_id, "/resume")

    async def decide(self, job_id: str, decision: PlanDecision) -> AsyncJobHandle:
        """Approve the plan of a waiting job, as it is or as edited, or reject it.

        Raises:
            PlanConflict: the job does not wait; its plan may have been decided before.
            PlanInvalid: the edited plan cannot be carried out; the job waits on.
        """
        body = decision.model_dump_json(exclude_none=True).encode()
        headers = {"content-type": "application/json"}
        path = f"/v1/jobs/{segment(job_id)}/plan"
        job = await self._exchange.fetch(Job, "POST", path, content=body, headers=headers, repeatable=False)
        return AsyncJobHandle(self._exchange, job)

    def events(self, job_id: str, after: int = 0, timeout_s: float | None = None) -> AsyncGenerator[JobEvent, None]:
        """The job's events with `seq > after`, past ones first, until the final one; broken connections are mended.

        With `timeout_s` they just end after that time.
        """
        return listen(self._exchange, job_id, after, None if timeout_s is None else time.monotonic() + timeout_s)

    async def deliveries(self, job_id: str) -> builtins.list[WebhookDelivery]:
        """What its webhook was told, or is to be, oldest first: when, how often, and what came of it."""
        content = (await self._exchange.call("GET", f"/v1/jobs/{segment(job_id)}/deliveries")).content
        return [read_as(WebhookDelivery, json.dumps(entry)) for entry in list_entries(content)]

    async def delete(self, job_id: str) -> None:
        """Forget a finished job and all it delivered.

        Raises:
            JobUnfinished: it is not over.
            AssetInUse: another job reads one of its results.
        """
        await self._exchange.call("DELETE", f"/v1/jobs/{segment(job_id)}")

    async def _ask(self, method: str, job_id: str, action: str = "", **options: Any) -> AsyncJobHandle:
        job = await self._exchange.fetch(Job, method, f"/v1/jobs/{segment(job_id)}{action}", **options)
        return AsyncJobHandle(self._exchange, job)


class AsyncJobHandle:
    """One job. `job` is its last known state; `refresh()` and `wait()` renew it."""

    def __init__(self, exchange: Exchange, job: Job, differences: tuple[str, ...] = ()) -> None:
        self._exchange = exchange
        self._jobs = AsyncJobs(exchange)
        self._poster: bytes | None = None
        self.job = job
        self._differences = differences

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def status(self) -> JobStatus:
        """Where it stood when last asked."""
        return self.job.status

    @property
    def differences(self) -> tuple[str, ...]:
        """Why a replay will not give the same pixels; empty where it will."""
        return self._differences

    @property
    def results(self) -> list[AsyncAssetHandle]:
        """The files it has delivered."""
        return [AsyncAssetHandle(self._exchange, asset) for asset in self.job.assets]

    @property
    def plan(self) -> Plan | None:
        """What thinking mode had decided when last asked."""
        return self.job.plan

    @property
    def answer(self) -> str | None:
        """What it had answered in words when last asked."""
        return self.job.answer

    async def refresh(self) -> Self:
        """Ask where it stands."""
        self.job = (await self._jobs.get(self.id)).job
        return self

    async def cancel(self) -> Self:
        """Ask it to stop; if it is over, it stays as it is."""
        self.job = (await self._jobs.cancel(self.id)).job
        return self

    async def resume(self) -> Self:
        """Take it up at its last checkpoint."""
        self.job = (await self._jobs.resume(self.id)).job
        return self

    async def approve(self, plan: Plan | None = None) -> Self:
        """Have its waiting plan carried out, as it is or as edited.

        Raises:
            PlanConflict: it does not wait; its plan may have been decided before.
            PlanInvalid: the edited plan cannot be carried out; it waits on.
        """
        self.job = (await self._jobs.decide(self.id, PlanDecision(plan=plan))).job
        return self

    async def reject(self) -> Self:
        """Drop its waiting plan, which ends it.

        Raises:
            PlanConflict: it does not wait.
        """
        self.job = (await self._jobs.decide(self.id, PlanDecision(approved=False))).job
        return self

    def events(self, after: int = 0, timeout_s: float | None = None) -> AsyncGenerator[JobEvent, None]:
        """See `AsyncJobs.events`."""
        return self._jobs.events(self.id, after, timeout_s)

    async def deliveries(self) -> list[WebhookDelivery]:
        """See `AsyncJobs.deliveries`."""
        return await self._jobs.deliveries(self.id)

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Its answer in words, as it is told, from the beginning.

        Raises:
            VogueError: it failed; the class tells why.
        """
        async with aclosing(self._jobs.events(self.id)) as events:
            async for event in events:
                if event.kind is EventKind.TEXT:
                    yield event.text
        await self.refresh()
        self._check_end()

    async def wait(
        self, progress: Progress | None = None, timeout_s: float | None = None, *, until_plan: bool = False
    ) -> Self:
        """Wait until it is completed.

        Args:
            progress: called with each event, past ones first; what it answers is awaited if it can be.
            timeout_s: how long to wait; the job goes on when it is over.
            until_plan: come back also when its plan waits to be approved.

        Raises:
            JobCancelled: it was cancelled.
            VogueError: it failed; the class tells why.
            ServiceTimeout: it is not over in time.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        if progress is None and not until_plan:
            await self._until_over(deadline_s)
        elif await self._watch(progress, deadline_s, until_plan):
            return self
        self._check_end()
        if not self.status.final:
            raise ServiceTimeout(
                f"job {self.id} is still {self.status} after {timeout_s or 0:g} s of waiting; it goes on"
            )
        return self

    async def _until_over(self, deadline_s: float | None) -> None:
        """Have the server answer when it is over: nobody watches, so no events need be sent."""
        left_s = _PATIENCE_S
        while not self.status.final and left_s > 0:
            left_s = _PATIENCE_S if deadline_s is None else min(_PATIENCE_S, deadline_s - time.monotonic())
            self.job = (await self._jobs.get(self.id, max(0.0, left_s))).job

    async def _watch(self, progress: Progress | None, deadline_s: float | None, until_plan: bool) -> bool:
        """Tell of each event until it is over, or the deadline. True if it has a plan that waits to be approved before."""
        async with aclosing(listen(self._exchange, self.id, 0, deadline_s)) as events:
            async for event in events:
                told = progress(event) if progress is not None else None
                if isawaitable(told):
                    await told
                # An event tells of the past: its plan may be decided by now.
                if until_plan and event.kind is EventKind.WAITING:
                    await self.refresh()
                    if self.status is JobStatus.WAITING:
                        return True
        await self.refresh()
        return False

    def _check_end(self) -> None:
        """Raise what it ended with, if that is not success."""
        if self.status is JobStatus.CANCELLED:
            raise JobCancelled(f"job {self.id} was cancelled")
        if self.status is JobStatus.FAILED:
            raise error_from_body(self.job.error.body() if self.job.error else {"error": f"job {self.id} failed"})

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Save its first result; see `AsyncAssetHandle.save`.

        Raises:
            WireError: it has delivered nothing yet.
        """
        return await self._delivered().save(path)

    async def frames(self) -> NDArray[np.uint8]:
        """The pixels of its first result; see `AsyncAssetHandle.frames`.

        Raises:
            WireError: it has delivered nothing yet.
        """
        return await self._delivered().frames()

    async def poster(self) -> bytes | None:
        """A png of its result, fetched once; None while there is none."""
        if self._poster is None and (asset := poster_of(self.job)) is not None:
            self._poster = await AsyncAssetHandle(self._exchange, asset).read()
        return self._poster

    def _repr_html_(self) -> str:
        """For notebooks; with a picture once `poster()` was awaited."""
        return job_html(self.job, self._poster)

    def _delivered(self) -> AsyncAssetHandle:
        if not self.results:
            raise WireError(f"job {self.id} is {self.status} and has delivered no file: wait() for it first")
        return self.results[0]
