"""`vogue jobs`, `wait`, `cancel`, `resume` and `deliveries`: what became of what was asked for."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vogue.blocking import JobHandle
from vogue.schemas.queries import WebhookDelivery

from .options import PreviewOption, kept_previews
from .plans import plan_lines
from .run import follow
from .session import JsonFlag, ServerOption, session_of

__all__ = ["cancel", "deliveries", "jobs", "resume", "wait"]

JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, as `vogue jobs` lists it.")]


def jobs(
    ctx: typer.Context,
    job_id: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Show this one only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many to list.")] = 20,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """List the newest jobs, or show one."""
    session = session_of(ctx)
    with session.connect(server) as client:
        found = [client.jobs.get(job_id)] if job_id is not None else client.jobs.list(limit)
    dumped = [handle.job.model_dump(mode="json") for handle in found]
    if job_id is not None:
        session.answer(dumped[0], lines=_describe(found[0]))
    elif session.as_json or not found:
        session.answer({"jobs": dumped}, lines=["no jobs yet"])
    else:
        session.out.print(_table(found))


def wait(
    ctx: typer.Context,
    job_id: JobId,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write its file.")
    ] = None,
    preview: PreviewOption = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Follow a job to its end and save its file. Ctrl-C leaves it running."""
    session = session_of(ctx)
    with session.connect(server) as client:
        also = kept_previews(session, client, preview)
        follow(session, client.jobs.get(job_id), output, cancel_on_interrupt=False, also=also)


def deliveries(ctx: typer.Context, job_id: JobId, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Show what a job's webhook was told, or is to be: when, how often, and what came of it."""
    session = session_of(ctx)
    with session.connect(server) as client:
        found = client.jobs.deliveries(job_id)
    document = {"deliveries": [one.model_dump(mode="json") for one in found]}
    session.answer(document, lines=[_delivery(one) for one in found] or ["its webhook was told nothing yet"])


def cancel(ctx: typer.Context, job_id: JobId, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Stop a job. One that is over stays as it is."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.jobs.cancel(job_id)
    session.answer(handle.job.model_dump(mode="json"), lines=[f"{handle.id} {handle.status}"])


def resume(ctx: typer.Context, job_id: JobId, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Take up a failed or interrupted job at its last checkpoint."""
    session = session_of(ctx)
    with session.connect(server) as client:
        handle = client.jobs.resume(job_id)
    session.answer(handle.job.model_dump(mode="json"), lines=[f"{handle.id} {handle.status}"])
    session.note(f"follow it with `vogue wait {handle.id}`")


def _delivery(one: WebhookDelivery) -> str:
    when = one.attempted_at_s if one.attempted_at_s is not None else one.created_at_s
    ended = f"answered {one.answered}" if one.answered is not None else ""
    words = [_clock(when), one.status, one.type, one.url, f"{one.attempts} attempts", one.error or ended]
    return "  ".join(word for word in words if word)


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s).astimezone().strftime("%d %b %H:%M:%S")


def _progress(handle: JobHandle) -> str:
    job = handle.job
    return f"{job.steps_done}/{job.steps_total}" if job.steps_total else ""


def _table(found: list[JobHandle]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("job", "status", "steps", "task", "submitted", "instruction"):
        table.add_column(column, no_wrap=column != "instruction", overflow="ellipsis")
    for handle in found:
        job = handle.job
        when = _clock(job.created_at_s)
        words = job.request.instruction.replace("[", "\\[")
        table.add_row(job.id, str(job.status), _progress(handle), str(job.spec.task), when, words)
    return table


def _describe(handle: JobHandle) -> list[str]:
    """One job in a few lines."""
    job, spec = handle.job, handle.job.spec
    lines = [
        f"{job.id}  {job.status}  {_progress(handle)}".rstrip(),
        f"  instruction  {job.request.instruction}",
        f"  task         {spec.task}, {spec.width_px}×{spec.height_px}, {spec.num_frames} frames, {spec.steps} steps",
        f"  seed         {spec.seed}",
        *plan_lines(job.plan),
        *(f"  trial        seed {trial.seed}: {trial.review.score} of 10" for trial in job.trials),
        *([f"  answer       {job.answer}"] if job.answer is not None else []),
        *(f"  note         {notice}" for notice in job.notices),
        *(f"  file         {asset.filename} ({asset.id}, {asset.num_bytes} bytes)" for asset in job.assets),
    ]
    return [*lines, f"  error        {job.error.message}"] if job.error is not None else lines
