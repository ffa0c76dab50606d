"""`vogue ask`, `approve` and `reject`: what the model says in words, and a word to the plans that it waits with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from vogue.blocking import JobHandle
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import PlanConflict, VogueError
from vogue.schemas.jobs import JobStatus
from vogue.schemas.plan import Plan

from .exits import ExitCode, exit_code_of
from .session import JsonFlag, ServerOption, Session, session_of

__all__ = ["approve", "ask", "plan_lines", "reject", "show_waiting"]

_JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id of a job whose plan waits.")]


def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(help="What to know; inputs can be named as image1, video1.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="The pictures and clips to look at.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Above 0 the answer is drawn, by the seed; 0 gives the likeliest.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="How long the answer may get.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same answer.")] = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Ask about pictures and clips; the answer is written as it comes. Ctrl-C cancels."""
    session = session_of(ctx)
    with session.connect(server) as client:
        job = client.understand(question, *(files or []), temperature=temperature, max_new_tokens=max_tokens, seed=seed)
        try:
            for piece in job.pieces():
                session.tell(piece)
        except KeyboardInterrupt:
            job.cancel()
            raise typer.Exit(ExitCode.CANCELLED) from None
        except VogueError as error:
            session.complain(error)
            failed = job.status is JobStatus.FAILED
            raise typer.Exit(ExitCode.JOB_FAILED if failed else exit_code_of(error)) from error
    session.answer({"job": job.job.model_dump(mode="json"), "answer": job.answer or ""}, lines=[""])


def approve(
    ctx: typer.Context,
    job_id: _JobId,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Another dense prompt.")] = None,
    task: Annotated[Task | None, typer.Option(help="Another task.")] = None,
    role: Annotated[
        list[str] | None, typer.Option(metavar="TAG=ROLE", help="Another part of an input; may be repeated.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A whole plan as JSON, such as an edited `vogue jobs --json`.")
    ] = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Have the plan of a waiting job carried out, as it is or edited."""
    session = session_of(ctx)
    with session.connect(server) as client:
        job = client.jobs.get(job_id)
        job.approve(_edited(job, _read(plan), prompt, task, role or []))
    session.answer(job.job.model_dump(mode="json"), lines=[f"{job.id} {job.status}"])
    session.note(f"follow it with `vogue wait {job.id}`")


def reject(ctx: typer.Context, job_id: _JobId, server: ServerOption = None, json: JsonFlag = False) -> None:
    """Drop the plan of a waiting job, which ends it."""
    session = session_of(ctx)
    with session.connect(server) as client:
        job = client.jobs.get(job_id).reject()
    session.answer(job.job.model_dump(mode="json"), lines=[f"{job.id} {job.status}"])


def show_waiting(session: Session, job: JobHandle) -> None:
    """Show the plan that a job waits with, and how to go on."""
    lines = [job.id, *plan_lines(job.plan)]
    session.answer({"job": job.job.model_dump(mode="json"), "files": []}, lines=lines)
    session.note(f"it waits: `vogue approve {job.id}` (see --help for edits) or `vogue reject {job.id}`")


def plan_lines(plan: Plan | None) -> list[str]:
    """A plan in a few lines."""
    if plan is None:
        return []
    if plan.clarification is not None:
        return [f"  asks back    {plan.clarification}"]
    return [
        f"  plan         {plan.task}",
        *(f"  role         {tag} is {role}" for tag, role in plan.roles.items()),
        *(f"  step         {' '.join((step.action, *step.inputs))}" for step in plan.steps),
        f"  prompt       {plan.dense_prompt or '(the instruction)'}",
    ]


def _read(path: Path | None) -> Plan | None:
    if path is None:
        return None
    try:
        return Plan.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise typer.BadParameter(f"{path} holds no plan: {error}", param_hint="--plan") from error


def _edited(job: JobHandle, given: Plan | None, prompt: str | None, task: Task | None, roles: list[str]) -> Plan | None:
    """The plan with the options' changes, or None where there are none."""
    changes: dict[str, object] = {}
    if prompt is not None:
        changes["dense_prompt"] = prompt
    if task is not None:
        changes["task"] = task
    base = given or job.plan
    if not changes and not roles:
        return given
    if base is None:
        raise PlanConflict(f"job {job.id} is {job.status} and has no plan to edit")
    if roles:
        changes["roles"] = {**base.roles, **dict(_role(one) for one in roles)}
    return base.model_copy(update=changes)


def _role(text: str) -> tuple[str, Role]:
    tag, _, role = text.partition("=")
    if role not in list(Role):
        names = ", ".join(Role)
        raise typer.BadParameter(f"{text!r} is not TAG=ROLE with one of {names}", param_hint="--role")
    return tag, Role(role)
