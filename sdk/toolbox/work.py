"""What each tool does. A coroutine takes the bench and its arguments, and answers a report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
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
    TurnAsk,
    WaitedEdit,
    WaitedGeneration,
)
from .media import Roots, find_media
from .reports import AssetList, AssetReport, JobReport

__all__ = [
    "Bench",
    "Tell",
    "by_part",
    "cancel_job",
    "decide_plan",
    "edit",
    "generate",
    "get_job",
    "list_assets",
    "media_of",
    "plan",
    "settings_of",
    "submit_edit",
    "submit_generate",
    "understand",
    "wait_for",
]

Tell = Callable[[JobEvent], Awaitable[None]]
"""Hears of each event of a job that is waited for."""

_CANCEL_S = 10.0
# Of a request's fields, those that arguments name in the same way.
_SETTINGS = {
    "num_frames",
    "steps",
    "tier",
    "guidance",
    "image_guidance",
    "negative_prompt",
    "seed",
    "height_px",
    "width_px",
    "thinking",
    "preview_every_steps",
}
# Arguments that name media: several in one, or one each.
_LISTED = ("references", "visual_prompts")
_SINGLE = ("source", "first_frame")


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
    settings = settings_of(wanted) | more
    validate(GenerationRequest, {"instruction": wanted.instruction, **settings})
    found: dict[str, Asset] = {}
    for param, one in media_of(wanted):
        found[param] = await find_media(bench.client, bench.roots, one, param)
    return await bench.client.generate(wanted.instruction, **by_part(found), **settings)


def settings_of(wanted: Generation | Edit | Planning | TurnAsk) -> dict[str, Any]:
    """What the arguments say beside words and media, as a request's fields."""
    settings: dict[str, Any] = wanted.model_dump(include=_SETTINGS, exclude_none=True)
    if getattr(wanted, "output", "video") == "image":
        settings.setdefault("num_frames", 1)
    return settings


def media_of(wanted: Generation | Edit | Planning | TurnAsk) -> list[tuple[str, str]]:
    """The media that arguments name, by the argument's name."""
    named = [(f"{many}.{n}", one) for many in _LISTED for n, one in enumerate(getattr(wanted, many))]
    return named + [(param, one) for param in _SINGLE if (one := getattr(wanted, param, None)) is not None]


def by_part(found: Mapping[str, Any]) -> dict[str, Any]:
    """Media under the names of `media_of`, as the client's methods take them."""
    listed = {many: [one for param, one in found.items() if param.startswith(f"{many}.")] for many in _LISTED}
    return listed | {param: found[param] for param in _SINGLE if param in found}


async def _until_rest(bench: Bench, handle: AsyncJobHandle, timeout_s: float) -> None:
    """Wait until a job is over, or waits for a word on its plan; a plan that was decided before is past."""
    async with aclosing(handle.events(timeout_s=timeout_s)) as events:
        async for event in events:
            await bench.tell(event)
            if event.kind is EventKind.WAITING and (await handle.refresh()).status is JobStatus.WAITING:
                return
    await handle.refresh()


async def _finish(bench: Bench, handle: AsyncJobHandle, timeout_s: float) -> JobReport:
    """Wait for the end of a job, and report it."""
    await wait_for(bench, handle, timeout_s)
    return _report(bench, handle)


async def wait_for(bench: Bench, handle: AsyncJobHandle, timeout_s: float) -> None:
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
