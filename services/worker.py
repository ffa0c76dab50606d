"""One worker on one job: holds its lease, runs its flow, listens for its owner's cancel, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from vogue.graph.state import Flow, FlowState, Ports, denoise_id, dump, initial_state, prepared_of
from vogue.schemas.config import Preset
from vogue.schemas.errors import ServiceError, VogueError

from .cache import digests
from .database import Database
from .jobs import JobStore
from .journal import JobJournal
from .leases import JobOver, Lease, LeaseLost, LeaseTable, too_late
from .logs import JOB
from .news import News
from .saver import FencedSaver
from .thoughts import ThoughtTable

__all__ = ["Bench", "work_on"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every worker of an orchestrator shares."""

    database: Database
    jobs: JobStore
    leases: LeaseTable
    thoughts: ThoughtTable
    ports: Ports
    preset: Preset
    graph: CompiledStateGraph[FlowState, Flow, FlowState, FlowState]
    news: News
    lease_ttl_s: float
    max_attempts: int


async def work_on(bench: Bench, lease: Lease, nudge: asyncio.Event) -> None:
    """Bring a job to its end, or leave it to whoever takes it next.

    Args:
        nudge: set when the job's owner may have asked to cancel, so that the answer need not wait for the next renewal.
    """
    JOB.set(lease.job_id)  # this task's, and that of all which it starts
    logger.info("taken, for the %d. time", lease.attempts)
    flow = asyncio.create_task(_run_flow(bench, lease), name=f"flow {lease.job_id}")
    watch = asyncio.create_task(_until_stopped(bench, lease, nudge), name=f"lease {lease.job_id}")
    try:
        await asyncio.wait({flow, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not flow.done() and isinstance(watch.exception(), JobOver):
            await asyncio.wait({flow})  # it has delivered, and writes its last checkpoint
        if not flow.done():
            await _stop(bench, lease, flow, watch)
        else:
            await _end(bench, lease, flow)
    except JobOver as over:
        logger.debug("%s", over)
    except LeaseLost as lost:
        logger.warning("%s; leaving it alone", lost)
    except asyncio.CancelledError:
        # An orderly shutdown: whoever starts next may take the job at once. The denoiser goes on until it is told otherwise.
        flow.cancel()
        await asyncio.gather(flow, return_exceptions=True)
        with contextlib.suppress(LeaseLost):
            bench.leases.release(lease)
        raise
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        bench.news.tell(lease.job_id, over=True)


async def _until_stopped(bench: Bench, lease: Lease, nudge: asyncio.Event) -> VogueError | None:
    """Renew the lease until the owner asks to cancel, which gives None, or until the deadline, which gives the error.

    Raises:
        JobOver: the job has ended meanwhile.
        LeaseLost: somebody else has the job.
    """
    while not await asyncio.to_thread(bench.leases.renew, lease, bench.lease_ttl_s):
        rest_s = bench.lease_ttl_s / 3
        if lease.deadline_at_s is not None:
            rest_s = min(rest_s, lease.deadline_at_s - time.time())
        if rest_s <= 0:
            return too_late()
        try:
            async with asyncio.timeout(rest_s):
                await nudge.wait()
            nudge.clear()
        except TimeoutError:
            continue
    return None


async def _stop(bench: Bench, lease: Lease, flow: asyncio.Task[None], watch: asyncio.Task[VogueError | None]) -> None:
    """The owner asked to cancel, or it is too late, or the lease is gone: stop the flow, and say so but in the last case."""
    lost = watch.exception()
    if lost is None:
        try:
            await _stop_stepping(bench, lease.job_id)
        except Exception:
            # The job ends all the same; the denoiser at worst steps on for nobody.
            logger.exception("the denoiser could not be told to stop job %s", lease.job_id)
    flow.cancel()
    await asyncio.gather(flow, return_exceptions=True)
    if lost is not None:
        raise lost
    late = watch.result()
    if late is None:
        await asyncio.to_thread(bench.leases.cancel, lease)
    else:
        await _fail(bench, lease, late)


async def _stop_stepping(bench: Bench, job_id: str) -> None:
    settings = (await asyncio.to_thread(bench.jobs.get, job_id)).spec.self_review
    for trial in range(settings.max_trials if settings is not None else 1):
        await bench.ports.denoiser.cancel(denoise_id(job_id, trial))


async def _end(bench: Bench, lease: Lease, flow: asyncio.Task[None]) -> None:
    """Record how the flow ended, unless it delivered, which is a record of its own."""
    error = flow.exception()
    if error is None:
        return
    if isinstance(error, LeaseLost):
        raise error
    if not isinstance(error, VogueError):
        logger.error("job %s failed", lease.job_id, exc_info=error)
        error = VogueError(f"an internal error ended the job: {type(error).__name__}: {error}")
    await _fail(bench, lease, error)


async def _fail(bench: Bench, lease: Lease, error: VogueError) -> None:
    """End the job with its error, and keep what it goes on from once it is resumed."""
    held: set[str] = set()
    try:
        held = await _reached(bench, lease)
    except Exception:
        # A checkpoint that cannot be read may be why the job failed.
        logger.exception("what job %s had come to cannot be read, and is not kept", lease.job_id)
    await asyncio.to_thread(bench.leases.fail, lease, error, held)


async def _reached(bench: Bench, lease: Lease) -> set[str]:
    """Digests of all that the flow had come to, also of what a node had finished while another one failed."""
    saver = FencedSaver(bench.database, lease)
    try:
        found = await saver.aget_tuple({"configurable": {"thread_id": lease.job_id}})
    finally:
        saver.close()
    return set() if found is None else set(_plain_digests([found.checkpoint["channel_values"], found.pending_writes]))


def _plain_digests(value: Any) -> Iterator[str]:
    """As `digests`, of contracts as plain values."""
    if isinstance(value, dict):
        if isinstance(sha256 := value.get("sha256"), str):
            yield sha256
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _plain_digests(item)


async def _run_flow(bench: Bench, lease: Lease) -> None:
    """Run the flow from its last checkpoint, or from the start."""
    if lease.attempts > bench.max_attempts:
        raise ServiceError(
            f"the job was started {bench.max_attempts} times and each time its worker died; look into the logs, then resume it"
        )
    saver = FencedSaver(bench.database, lease)
    try:
        graph = bench.graph.copy({"checkpointer": saver})
        config: RunnableConfig = {"configurable": {"thread_id": lease.job_id}}
        flow = Flow(bench.preset, bench.ports, JobJournal(bench.leases, bench.thoughts, bench.news, lease))
        state: FlowState | Command[Any] | None = None
        if await saver.aget_tuple(config) is None:
            job = await asyncio.to_thread(bench.jobs.get, lease.job_id)
            ids = dict.fromkeys(visual.upload_id for visual in job.request.visuals)
            uploads = [await asyncio.to_thread(bench.jobs.asset, upload_id) for upload_id in ids]
            state = initial_state(job.id, job.request, job.spec, uploads)
        elif (await graph.aget_state(config)).interrupts:
            decision = await asyncio.to_thread(bench.thoughts.decision, lease.job_id)
            # Without a decision the interrupt is just met again.
            state = Command(resume=dump(decision)) if decision is not None else None
        await graph.ainvoke(state, config, context=flow, durability="sync")
        stopped = await graph.aget_state(config)
        if stopped.interrupts:
            held = digests(prepared_of(cast("FlowState", stopped.values)))
            await asyncio.to_thread(bench.thoughts.park, lease, held)
        elif not (await asyncio.to_thread(bench.jobs.get, lease.job_id)).status.final:
            raise ServiceError("the flow came to rest before it delivered anything")
    finally:
        saver.close()
