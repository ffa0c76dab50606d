"""What each tool does. A coroutine takes the bench and its arguments, and answers a report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from vogue.asynchronous import AsyncVogue
from vogue.handles import AsyncJobHandle
from vogue.schemas.config import Task
from vogue.schemas.errors import ServiceTimeout, VogueError, error_from_body
from vogue.schemas.jobs import Asset, EventKind, JobEvent, JobStatus
from vogue.schemas.plan import PlanDecision
from vogue.schemas.requests import GenerationRequest, Thinking
from vogue.schemas.wire import validate

from .arguments import (
    AssetPage,
    Decision,
    Edit,
    Generation,
    JobQuery,
    JobTarget,
    Planning,
    Question,
    WaitedEdit,
    WaitedGeneration,
)
from .media import Roots, find_media
from .reports import AssetList, AssetReport, JobReport

__all__ = [
    "Bench",
    "Tell",
    "cancel_job",
    "decide_plan",
    "edit",
    "generate",
    "get_job",
    "list_assets",
    "plan",
    "submit_edit",
    "submit_generate",
    "understand",
]

Tell = Callable[[JobEvent], Awaitable[None]]
"""Hears of each event of a job that is waited for."""

_CANCEL_S = 10.0
# Of a request's fields, those that arguments name in the same way.
_SETTINGS = {
    "num_frames",
    "steps",
    "guidance",
    "image_guidance",
    "negative_prompt",
    "seed",
    "height_px",
    "width_px",
    "thinking",
}


async def _silence(_: JobEvent) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Bench:
    """What a tool works with: the server, the folders that it may read from, and who wants to hear of progress."""

    client: AsyncVogue
    roots: Roots = field(default_factory=Roots)
    tell: Tell = _silence


async def submit_generate(bench: Bench, wanted: Generation) -> JobReport:
    """Queue a generation."""
    return _report(bench, await _submit(bench, wanted))


async def submit_edit(bench: Bench, wanted: Edit) -> JobReport:
    """Queue an edit."""
    return _report(bench, await _submit(bench, wanted))


async def generate(bench: Bench, wanted: WaitedGeneration) -> JobReport:
    """Generate, and wait for the result."""
    return await _finish(bench, await _submit(bench, wanted), wanted.timeout_s)


async def edit(bench: Bench, wanted: WaitedEdit) -> JobReport:
    """Edit, and wait for the result."""
    return await _finish(bench, await _submit(bench, wanted), wanted.timeout_s)


async def understand(bench: Bench, wanted: Question) -> JobReport:
    """Answer a question about pictures and clips."""
    request: dict[str, Any] = {
        "instruction": wanted.question,
        "task": Task.UNDERSTAND,
        "max_new_tokens": wanted.max_new_tokens,
    }
    validate(GenerationRequest, request)
    visuals: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for index, one in enumerate(wanted.media):
        asset = await find_media(bench.client, bench.roots, one, f"media.{index}")
        counts[asset.kind] = counts.get(asset.kind, 0) + 1
        visuals.append({"tag": f"{asset.kind}{counts[asset.kind]}", "upload_id": asset.id})
    handle = await bench.client.submit(validate(GenerationRequest, {**request, "visuals": visuals}))
    return await _finish(bench, handle, wanted.timeout_s)


async def plan(bench: Bench, wanted: Planning) -> JobReport:
    """Have a request planned, and leave it waiting for a word."""
    handle = await _submit(bench, wanted, thinking=Thinking.REVIEW)
    async with _cancelled_with_caller(handle):
        await _until_rest(bench, handle, wanted.timeout_s)
    if handle.status is JobStatus.FAILED and handle.job.error is not None:
        error = error_from_body(handle.job.error.body())
        raise type(error)(f"job {handle.id}: {error.message}", param=error.param)
    return _report(bench, handle)


async def decide_plan(bench: Bench, wanted: Decision) -> JobReport:
    """Have a waiting plan carried out, as it is or as edited, or drop it."""
    decision = PlanDecision(approved=wanted.approved, plan=wanted.plan)
    return _report(bench, await bench.client.jobs.decide(wanted.job_id, decision))


async def get_job(bench: Bench, wanted: JobQuery) -> JobReport:
    """Ask where a job stands; how it ended is part of the answer, never an error of asking."""
    handle = await bench.client.jobs.get(wanted.job_id)
    if wanted.wait_s and not handle.status.final:
        await _until_rest(bench, handle, wanted.wait_s)
    return _report(bench, handle)


async def cancel_job(bench: Bench, wanted: JobTarget) -> JobReport:
    """Ask a job to stop."""
    return _report(bench, await bench.client.jobs.cancel(wanted.job_id))


async def list_assets(bench: Bench, wanted: AssetPage) -> AssetList:
    """Uploads and results, newest first."""
    found = [handle.asset for handle in await bench.client.assets.list(wanted.limit, wanted.before)]
    return AssetList(
        assets=tuple(AssetReport.of(asset, bench.client.server) for asset in found),
        next_before=found[-1].id if len(found) == wanted.limit else None,
    )


def _report(bench: Bench, handle: AsyncJobHandle) -> JobReport:
    return JobReport.of(handle.job, bench.client.server)


async def _submit(bench: Bench, wanted: Generation | Edit | Planning, **more: Any) -> AsyncJobHandle:
    """Find the media, then submit. Nothing is uploaded for arguments that cannot work."""
    settings: dict[str, Any] = wanted.model_dump(include=_SETTINGS, exclude_none=True) | more
    if getattr(wanted, "output", "video") == "image":
        settings.setdefault("num_frames", 1)
    validate(GenerationRequest, {"instruction": wanted.instruction, **settings})
    named: list[tuple[str, str | None]] = [(f"references.{index}", one) for index, one in enumerate(wanted.references)]
    named += [(param, getattr(wanted, param, None)) for param in ("source", "first_frame")]
    found: dict[str, Asset] = {}
    for param, one in named:
        if one is not None:
            found[param] = await find_media(bench.client, bench.roots, one, param)
    references = [asset for param, asset in found.items() if param.startswith("references.")]
    return await bench.client.generate(
        wanted.instruction,
        source=found.get("source"),
        first_frame=found.get("first_frame"),
        references=references,
        **settings,
    )


async def _until_rest(bench: Bench, handle: AsyncJobHandle, timeout_s: float) -> None:
    """Wait until a job is over, or waits for a word on its plan; a plan that was decided before is past."""
    async with aclosing(handle.events(timeout_s=timeout_s)) as events:
        async for event in events:
            await bench.tell(event)
            if event.kind is EventKind.WAITING and (await handle.refresh()).status is JobStatus.WAITING:
                return
    await handle.refresh()


async def _finish(bench: Bench, handle: AsyncJobHandle, timeout_s: float) -> JobReport:
    """Wait for the end of a job, or for the end of patience, which is no error: the job goes on.

    Raises:
        VogueError: the job failed or was cancelled; the message begins with its id.
    """
    try:
        async with _cancelled_with_caller(handle):
            await handle.wait(bench.tell, timeout_s)
    except VogueError as error:
        if isinstance(error, ServiceTimeout):
            await handle.refresh()
        if not isinstance(error, ServiceTimeout) or handle.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise type(error)(f"job {handle.id}: {error.message}", param=error.param) from error
    return _report(bench, handle)


@asynccontextmanager
async def _cancelled_with_caller(handle: AsyncJobHandle) -> AsyncIterator[None]:
    """Nobody else knows of the job: when its caller gives up, it has no use for the result."""
    try:
        yield
    except asyncio.CancelledError:
        with anyio.move_on_after(_CANCEL_S, shield=True), suppress(VogueError):
            await handle.cancel()
        raise
    except KeyboardInterrupt:
        with suppress(VogueError):
            await handle.cancel()
        raise
