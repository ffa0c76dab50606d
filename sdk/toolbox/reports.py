"""What a tool answers: small, typed, and with a word on what to do next. Also how an error is told to a model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from vogue.schemas.config import Task
from vogue.schemas.errors import (
    AssetNotFound,
    JobCancelled,
    JobNotFound,
    ServiceOverloaded,
    SessionNotFound,
    TurnNotFound,
    VogueError,
)
from vogue.schemas.jobs import Asset, ErrorInfo, Job, JobStatus, Stage
from vogue.schemas.plan import Plan
from vogue.schemas.references import MediaKind
from vogue.schemas.sessions import Session, Turn

__all__ = [
    "AssetList",
    "AssetReport",
    "JobReport",
    "Report",
    "SessionLine",
    "SessionList",
    "SessionReport",
    "TagLine",
    "TurnLine",
    "TurnReport",
    "explain",
]


class Report(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AssetReport(Report):
    """A picture or clip on the server."""

    asset_id: Annotated[str, Field(description="Give this id wherever a tool takes media.")]
    kind: MediaKind
    media_type: str
    filename: str
    height_px: int
    width_px: int
    num_frames: int
    fps: Annotated[float, Field(description="Frames per second; 0 for a picture.")]
    num_bytes: int
    url: Annotated[str, Field(description="Where the file itself can be downloaded.")]

    @classmethod
    def of(cls, asset: Asset, server: str) -> AssetReport:
        """An asset of the server at a URL."""
        shared = asset.model_dump(include=set(cls.model_fields) & set(Asset.model_fields))
        return cls(asset_id=asset.id, url=f"{server}/v1/assets/{asset.id}/content", **shared)


class JobReport(Report):
    """Where a job stands, and what it has delivered."""

    job_id: str
    status: JobStatus
    task: Annotated[Task, Field(description="What the server took the request for.")]
    seed: int
    stage: Stage | None = None
    steps_done: int
    steps_total: int
    results: Annotated[
        tuple[AssetReport, ...], Field(description="The file first; a clip's poster picture follows it.")
    ] = ()
    answer: Annotated[str | None, Field(description="What understand says, as far as it is told.")] = None
    plan: Annotated[Plan | None, Field(description="What thinking has decided, or asks back in `clarification`.")] = (
        None
    )
    notices: Annotated[
        tuple[str, ...], Field(description="What the server changed about the request, such as a cut.")
    ] = ()
    error: ErrorInfo | None = None
    advice: Annotated[str, Field(description="What can be done next.")]

    @classmethod
    def of(cls, job: Job, server: str) -> JobReport:
        """A job of the server at a URL."""
        return cls(
            job_id=job.id,
            status=job.status,
            task=job.spec.task,
            seed=job.spec.seed,
            stage=job.stage,
            steps_done=job.steps_done,
            steps_total=job.steps_total,
            results=tuple(AssetReport.of(asset, server) for asset in job.assets),
            answer=job.answer,
            plan=job.plan,
            notices=job.notices,
            error=job.error,
            advice=_advice(job),
        )


class TurnReport(JobReport):
    """A turn of a conversation, which is a job."""

    session_id: str
    turn: Annotated[int, Field(description="Its number; the words `turn 2` mean the result of the second turn.")]
    parent: Annotated[int | None, Field(description="The turn it followed; null if it began anew.")] = None
    instruction: str
    looked_at: Annotated[
        tuple[str, ...], Field(description="What of the session it looked at, and as what, such as `turn1 as source`.")
    ] = ()

    @classmethod
    def of_turn(cls, turn: Turn, job: Job, server: str) -> TurnReport:
        """A turn of the server at a URL, and its job as it stands."""
        report = JobReport.of(job, server)
        fields: dict[str, Any] = {name: getattr(report, name) for name in JobReport.model_fields}
        if job.status is JobStatus.COMPLETED and job.assets:
            fields["advice"] = (
                f"Call take_turn with session_id {turn.session_id} to go on: `it` is this result now, and turn {turn.number} later."
            )
        return cls(
            **fields,
            session_id=turn.session_id,
            turn=turn.number,
            parent=turn.parent,
            instruction=turn.instruction,
            looked_at=tuple(f"{one.tag} as {one.role}" for one in turn.inputs),
        )


class TurnLine(Report):
    """A turn in the list of a session's turns."""

    turn: int
    parent: int | None
    instruction: str
    job_id: str
    status: Annotated[JobStatus | None, Field(description="Null once its job was deleted.")] = None
    asset_id: Annotated[str | None, Field(description="Its result.")] = None
    error: ErrorInfo | None = None


class TagLine(Report):
    """A file of a session, and what it is called there."""

    tag: Annotated[str, Field(description="What instructions call it: turn1, image2, video1.")]
    asset_id: str
    kind: MediaKind


class SessionReport(Report):
    """A conversation: the tree of its turns, where it stands, and what its files are called."""

    session_id: str
    title: str
    head: Annotated[int | None, Field(description="The turn that the next one follows; null at the start.")]
    turns: tuple[TurnLine, ...]
    tags: tuple[TagLine, ...]
    advice: Annotated[str, Field(description="What can be done next.")]

    @classmethod
    def of(cls, session: Session) -> SessionReport:
        """A session."""
        where = f"follows turn {session.head}" if session.head is not None else "begins anew"
        return cls(
            session_id=session.id,
            title=session.title,
            head=session.head,
            turns=tuple(_turn_line(turn) for turn in session.turns),
            tags=tuple(TagLine(tag=one.tag, asset_id=one.asset.id, kind=one.asset.kind) for one in session.assets),
            advice=f"The next take_turn with session_id {session.id} {where}; its parent or go_to_turn choose another place.",
        )


class SessionLine(Report):
    """A session in a list."""

    session_id: str
    title: str
    num_turns: int
    head: int | None


class SessionList(Report):
    """One page of the conversations."""

    sessions: tuple[SessionLine, ...]
    next_before: Annotated[
        str | None, Field(description="Give this as `before` for the next page; null at the end.")
    ] = None


def _turn_line(turn: Turn) -> TurnLine:
    return TurnLine(
        turn=turn.number,
        parent=turn.parent,
        instruction=turn.instruction,
        job_id=turn.job_id,
        status=turn.job.status if turn.job is not None else None,
        asset_id=turn.result.id if turn.result is not None else None,
        error=turn.job.error if turn.job is not None else None,
    )


class AssetList(Report):
    """One page of what the server holds."""

    assets: tuple[AssetReport, ...]
    next_before: Annotated[
        str | None, Field(description="Give this as `before` for the next page; null at the end.")
    ] = None


def _advice(job: Job) -> str:
    if job.status is JobStatus.COMPLETED:
        return (
            f"To change the result, call edit with source {job.assets[0].id}."
            if job.assets
            else "Nothing is left to do."
        )
    if job.status is JobStatus.WAITING:
        return f"Its plan waits. Call decide_plan with job_id {job.id} to have it carried out, changed or dropped."
    if job.status is JobStatus.FAILED:
        return "Change what the error names and submit it again."
    if job.status is JobStatus.CANCELLED:
        return "It was cancelled; submit it again if it is still wanted."
    return f"It goes on. Call get_job with job_id {job.id} and wait_s to wait for its end."


def explain(error: VogueError) -> str:
    """An error as a model can act on it: the code, the argument at fault, what was wrong, what to do."""
    where = f" ({error.param})" if error.param and not error.message.startswith(f"{error.param}:") else ""
    told = f"{error.code}{where}: {error.message}"
    if isinstance(error, AssetNotFound):
        return f"{told}. list_assets tells what there is"
    if isinstance(error, SessionNotFound | TurnNotFound):
        return f"{told}. {'list_sessions' if isinstance(error, SessionNotFound) else 'list_turns'} tells what there is"
    if isinstance(error, JobNotFound):
        return f"{told}. Only ids answered by submit_generate, submit_edit, generate or edit are known"
    if isinstance(error, JobCancelled):
        return f"{told}. Submit it again if it is still wanted"
    if isinstance(error, ServiceOverloaded) and error.retry_after_s is not None:
        return f"{told}. Try again in {error.retry_after_s:g} s"
    return f"{told}. Trying again later may help" if error.retryable else told
