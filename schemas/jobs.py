"""Jobs, the assets they deliver, and the event stream that every interface shows."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from .base import Contract, Message
from .errors import VogueError
from .plan import Plan, Trial
from .references import Artifact, Lossless, MediaKind
from .requests import AssetId, GenerationRequest, JobSpec

__all__ = ["Asset", "ErrorInfo", "EventKind", "Job", "JobEvent", "JobStatus", "Stage", "StoredAsset"]

_Count = Annotated[int, Field(ge=0)]


class JobStatus(StrEnum):
    """Where a job stands; the last three are final. One that is `waiting` has a plan that its owner shall approve."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more can happen."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Stage(StrEnum):
    """The node of the flow that is at work."""

    INGEST = "ingest"
    PLAN = "plan"
    ROUTE = "route"
    ANSWER = "answer"
    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    REVIEW = "review"
    DELIVER = "deliver"


class EventKind(StrEnum):
    """What an event tells. `plan` and `waiting` carry the plan, `text` a piece of an answer, `trial` the scores of a
    seed, `preview` a small picture of what is on its way. `queued` comes again whenever the job moves up."""

    QUEUED = "queued"
    STAGE = "stage"
    STEP = "step"
    NOTICE = "notice"
    RESUMED = "resumed"
    PLAN = "plan"
    WAITING = "waiting"
    TEXT = "text"
    TRIAL = "trial"
    PREVIEW = "preview"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether none can follow."""
        return self in (EventKind.COMPLETED, EventKind.FAILED, EventKind.CANCELLED)


class Asset(Contract):
    """A file the user owns: an upload or a result. `frame_rate` is in frames per second, 0 for a picture."""

    id: AssetId
    kind: MediaKind
    media_type: str
    num_bytes: _Count
    filename: str
    height_px: PositiveInt
    width_px: PositiveInt
    num_frames: PositiveInt = 1
    fps: Annotated[float, Field(ge=0)] = 0.0
    has_audio: bool = False

    @property
    def is_result(self) -> bool:
        """Whether VOGUE made it, so that it has a size and length which the preset makes."""
        return self.id.startswith("asset_")


class StoredAsset(Message):
    """An asset and the bytes behind it, which stay inside the server; since when it is there, and the job that made it."""

    asset: Asset
    artifact: Artifact
    lossless: Lossless | None = None
    created_at_s: float = 0.0
    job_id: str | None = None


class ErrorInfo(Contract):
    """A typed error at rest, as in the HTTP error body."""

    code: str
    message: str
    type: str = "server_error"
    param: str | None = None

    @classmethod
    def of(cls, error: VogueError) -> ErrorInfo:
        """An error, to be kept."""
        fields = error.body()["error"]
        return cls(code=fields["code"], message=fields["message"], type=fields["type"], param=fields["param"])

    def body(self) -> dict[str, Any]:
        """As `error_from_body` reads it."""
        return {"error": self.model_dump()}


class JobEvent(Message):
    """One entry of a job's log. `seq` counts from 1 without gaps, so a listener can ask for what it missed.

    `queue_position` counts from 1, the next to be taken; `eta_s` is the estimated time left: until it is taken while it waits, until
    its last step while it is stepped.
    """

    job_id: str
    seq: PositiveInt
    kind: EventKind
    time_s: float
    stage: Stage | None = None
    steps_done: _Count = 0
    steps_total: _Count = 0
    queue_position: PositiveInt | None = None
    eta_s: Annotated[float, Field(ge=0)] | None = None
    message: str = ""
    text: str = ""
    plan: Plan | None = None
    trial: Trial | None = None
    assets: tuple[Asset, ...] = ()
    error: ErrorInfo | None = None


class Job(Message):
    """A job as its owner sees it. Times are seconds since the epoch.

    `answer` is the text of the task `understand`, as far as it is told. `plan` is there once thinking mode has decided, and
    `trials` once a result was scored; `spec` follows the plan. `estimate_s` is what it will take of the machine in seconds, as foretold
    when it was submitted.
    """

    id: str
    status: JobStatus
    request: GenerationRequest
    spec: JobSpec
    created_at_s: float
    started_at_s: float | None = None
    finished_at_s: float | None = None
    stage: Stage | None = None
    steps_done: _Count = 0
    steps_total: _Count = 0
    estimate_s: Annotated[float, Field(ge=0)] | None = None
    notices: tuple[str, ...] = ()
    plan: Plan | None = None
    trials: tuple[Trial, ...] = ()
    answer: str | None = None
    assets: tuple[Asset, ...] = ()
    error: ErrorInfo | None = None
