"""`vogue run`: one instruction in, one file out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from vogue.blocking import JobHandle, Vogue
from vogue.schemas.config import Task
from vogue.schemas.errors import ClarificationNeeded, JobCancelled, RequestInvalid, ServiceError, VogueError
from vogue.schemas.jobs import JobEvent, JobStatus
from vogue.schemas.requests import Thinking

from .exits import ExitCode
from .options import (
    DeadlineOption,
    PreviewEveryOption,
    PreviewOption,
    TierOption,
    WebhookOption,
    kept_previews,
)
from .plans import show_waiting
from .session import JsonFlag, ServerOption, Session, session_of

__all__ = ["follow", "run"]


def run(
    ctx: typer.Context,
    instruction: Annotated[str, typer.Argument(help='What to make or change; name inputs as "image1", "video1".')],
    source: Annotated[Path | None, typer.Option(metavar="FILE", help="The picture or clip to edit.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A picture of whom or what shall appear; may be repeated.")
    ] = None,
    first_frame: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture a clip shall start from.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to write it; by default here, named by the server."),
    ] = None,
    task: Annotated[Task | None, typer.Option(help="By default inferred from the inputs.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Width and height in pixels, as 64x48.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of the clip, 4k + 1; 1 makes a picture.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the text.")] = None,
    image_guidance: Annotated[float | None, typer.Option(help="How closely to follow the inputs.")] = None,
    negative: Annotated[str | None, typer.Option(metavar="TEXT", help="What to keep away from.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same result.")] = None,
    tier: TierOption = None,
    visual_prompt: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A picture with marks that say what to do; may be repeated."),
    ] = None,
    given: Annotated[
        list[Path] | None,
        typer.Option(
            "--input", metavar="FILE", help="A picture or clip whose part shall be found out; may be repeated."
        ),
    ] = None,
    thinking: Annotated[
        Thinking | None, typer.Option(help="Plan first: review waits until `vogue approve`. By default only if needed.")
    ] = None,
    min_score: Annotated[
        int | None, typer.Option(min=0, max=10, help="Let the model score its result, and try other seeds below this.")
    ] = None,
    max_trials: Annotated[int | None, typer.Option(min=1, max=8, help="How many seeds to try at most.")] = None,
    preview: PreviewOption = None,
    preview_every: PreviewEveryOption = 4,
    deadline_s: DeadlineOption = None,
    webhook_url: WebhookOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit only, and say the job's id.")] = False,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Generate or edit: upload the inputs, follow the job, save its file. Ctrl-C cancels the job."""
    session = session_of(ctx)
    width_px, height_px = _sides(size)
    with session.connect(server) as client:
        _require_server(client)
        job = client.generate(
            instruction,
            source=source,
            first_frame=first_frame,
            references=reference or [],
            visual_prompts=visual_prompt or [],
            inputs=given or [],
            task=task,
            height_px=height_px,
            width_px=width_px,
            num_frames=frames,
            steps=steps,
            guidance=guidance,
            image_guidance=image_guidance,
            negative_prompt=negative,
            seed=seed,
            tier=tier,
            thinking=thinking,
            self_review=_self_review(min_score, max_trials),
            preview_every_steps=preview_every if preview is not None else 0,
            deadline_s=deadline_s,
            webhook_url=webhook_url,
        )
        if detach:
            session.answer({"job": job.job.model_dump(mode="json")}, lines=[job.id])
            session.note(f"follow it with `vogue wait {job.id}`")
        else:
            follow(session, job, output, also=kept_previews(session, client, preview))


def follow(
    session: Session,
    job: JobHandle,
    output: Path | None,
    *,
    cancel_on_interrupt: bool = True,
    also: Callable[[JobEvent], None] | None = None,
) -> None:
    """Wait for a job with a progress bar and save what it delivers; a plan that waits to be approved is shown instead.

    Args:
        also: who else hears of its events.

    Raises:
        Exit: 6 if the job failed, 3 if it asks back, 130 if it was cancelled.
        ServiceError: the server stayed away; the job is there when it is back.
    """
    try:
        with session.progress() as show:

            def tell(event: JobEvent) -> None:
                show(event)
                if also is not None:
                    also(event)

            job.wait(tell, until_plan=True)
    except KeyboardInterrupt:
        if cancel_on_interrupt:
            session.note(f"cancelling {job.id}")
            job.cancel()
        session.answer(_document(job, []), lines=[])
        raise typer.Exit(ExitCode.CANCELLED) from None
    except JobCancelled as error:
        session.complain(error)
        raise typer.Exit(ExitCode.CANCELLED) from error
    except VogueError as error:
        if job.status is JobStatus.FAILED:
            session.complain(error)
            asks = isinstance(error, ClarificationNeeded)
            raise typer.Exit(ExitCode.REQUEST_INVALID if asks else ExitCode.JOB_FAILED) from error
        if isinstance(error, ServiceError):
            session.note(f"job {job.id} is kept: once the server is back, `vogue wait {job.id}` follows it again")
        raise
    if job.status is JobStatus.WAITING:
        show_waiting(session, job)
        return
    files = _save(session, job, output)
    said = [job.answer] if job.answer is not None else []
    session.answer(_document(job, files), lines=[*said, *(str(file) for file in files)])


def _self_review(min_score: int | None, max_trials: int | None) -> dict[str, int] | None:
    """How the model shall score its result, if either number was named."""
    given = {"min_score": min_score, "max_trials": max_trials}
    return {name: value for name, value in given.items() if value is not None} or None


def _save(session: Session, job: JobHandle, output: Path | None) -> list[Path]:
    try:
        files = [job.save(output or Path())] if job.results else []
    except OSError as error:
        raise RequestInvalid(
            f"cannot write {output or Path().absolute()}: {error.strerror}; the result is kept: `vogue wait {job.id} -o FILE`",
            param="output",
        ) from error
    if files and output is not None and not output.is_dir():
        made = Path(job.results[0].asset.filename).suffix
        if made and output.suffix.lower() != made.lower():
            session.note(f"note: {output} holds a {made} file")
    return files


def _document(job: JobHandle, files: list[Path]) -> dict[str, Any]:
    return {"job": job.job.model_dump(mode="json"), "files": [str(file) for file in files]}


def _require_server(client: Vogue) -> None:
    """Fail at once where no server answers, rather than after every retry.

    Raises:
        ServiceError: no server answers; the message says how to start one.
    """
    client.is_ready()


def _sides(size: str | None) -> tuple[int | None, int | None]:
    if size is None:
        return None, None
    sides = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", size.strip().lower())
    if sides is None:
        raise typer.BadParameter(f"{size!r} is not a size: write width x height, as 64x48", param_hint="--size")
    return int(sides[1]), int(sides[2])
