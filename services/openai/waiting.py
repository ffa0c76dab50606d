"""Waiting for jobs inside a request, and not for somebody who has left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import Request

from vogue.schemas.errors import AssetNotFound, JobCancelled, VogueError, error_from_body
from vogue.schemas.jobs import Asset, ErrorInfo, Job, JobStatus
from vogue.schemas.ports import Orchestrator

__all__ = ["failure_of", "finished", "first_result", "unless_gone"]


def failure_of(job: Job) -> VogueError:
    """The error that ended a job."""
    if job.status is JobStatus.CANCELLED:
        return JobCancelled(f"job {job.id} was cancelled before it was finished")
    info = job.error or ErrorInfo(code="internal_error", message=f"job {job.id} failed without a reason")
    return error_from_body(info.body())


def first_result(job: Job) -> Asset:
    """What a finished job has made.

    Raises:
        AssetNotFound: it was deleted.
    """
    if not job.assets:
        raise AssetNotFound(f"what the job {job.id} made was deleted; ask for it anew, under another idempotency key")
    return job.assets[0]


async def finished(orchestrator: Orchestrator, jobs: Sequence[Job], keeps: bool = False) -> list[Job]:
    """The jobs once they have delivered.

    Args:
        keeps: whether the caller has said that it will ask again, so that jobs go on without anybody who waits.

    Raises:
        VogueError: what the first one that failed failed of; the others are cancelled, unless `keeps`.
    """

    async def end(job: Job) -> Job:
        async for _ in orchestrator.events(job.id):
            pass
        over = await orchestrator.get(job.id)
        if over.status is not JobStatus.COMPLETED:
            raise failure_of(over)
        return over

    waiting = [asyncio.ensure_future(end(job)) for job in jobs]
    try:
        return list(await asyncio.gather(*waiting))
    except BaseException:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for job in () if keeps else jobs:
            with contextlib.suppress(VogueError):
                await orchestrator.cancel(job.id)
        raise


@contextlib.asynccontextmanager
async def unless_gone(request: Request) -> AsyncIterator[None]:
    """Cancel what is done inside the block once the caller has hung up. The body must have been read.

    Raises:
        JobCancelled: the caller has; nobody will read this.
    """
    doing = asyncio.current_task()
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        if doing is not None:
            doing.cancel()

    watching = asyncio.create_task(watch(), name="is the caller there")
    try:
        yield
    except asyncio.CancelledError:
        if not gone or doing is None or doing.uncancel() > 0:
            raise
        raise JobCancelled("the caller has hung up") from None
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
