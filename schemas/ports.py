"""The ports: what each service promises, whoever implements it.

One contract suite per port (tests/contract) runs on every implementation: the in-memory fakes, the tiny random model,
the mini model, and what runs on a GPU. All methods raise `vogue.schemas.errors` only.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Protocol

from .access import Account, Caller, Knock, MediaDeletion
from .jobs import Asset, Job, JobEvent, StoredAsset
from .plan import Plan, PlanDecision, Review
from .queries import Idempotency, PageQuery, WebhookDelivery, WebhookSecret
from .recipes import Maker, Replay, ReplayRequest
from .references import Artifact, PreparedVisual, TensorRef
from .requests import GenerationRequest
from .sessions import (
    Comparison,
    HeadRequest,
    ReplayTurnRequest,
    Session,
    SessionRequest,
    SessionSummary,
    Turn,
    TurnRequest,
)
from .stages import (
    ActionCount,
    AnswerRequest,
    DecodedMedia,
    DecodeRequest,
    DenoiseEvent,
    DenoiseJob,
    EncodeInstructionRequest,
    EncodeVisualRequest,
    FrameComparison,
    LatentCheckpoint,
    MediaFacts,
    PassStates,
    PlanRequest,
    PrepareRequest,
    PreviewRequest,
    ProbeRequest,
    ProjectRequest,
    ReviewRequest,
)

__all__ = ["Codec", "Connector", "Denoiser", "Orchestrator", "Sessions", "Understanding"]


class Understanding(Protocol):
    """The MLLM, its processor and its prompts."""

    def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """Stream the answer's text in pieces."""
        ...

    async def plan(self, request: PlanRequest) -> Plan:
        """Turn an instruction into a plan, which is one of the request's choices, or a question back.

        Raises:
            ThinkingUnavailable: the weights have not learnt to.
        """
        ...

    async def review(self, request: ReviewRequest) -> Review:
        """Score a result.

        Raises:
            ReviewUnavailable: the weights have not learnt to.
        """
        ...

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """Hidden states [L, D] for each pass asked for."""
        ...


class Connector(Protocol):
    """The trained MLP between the MLLM and the MMDiT."""

    async def project(self, request: ProjectRequest) -> PassStates:
        """Context [L, D'] for each pass given."""
        ...


class Denoiser(Protocol):
    """The MMDiT behind an engine, the step loop, guidance, latent checkpoints.

    A job's life never hangs on a connection: `start` returns at once, `events` can be left and asked again.
    """

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        """Begin a job; starting one that runs already changes nothing."""
        ...

    def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        """Events with `seq > after`, past ones first, until the final one.

        Raises:
            JobNotFound: this process does not know the job; it may have been restarted since.
        """
        ...

    async def cancel(self, job_id: str) -> None:
        """Stop stepping within one step. A job that is over, or unknown, stays as it is."""
        ...

    async def room_bytes(self) -> int | None:
        """Memory for the rows of a step, beside the weights; None if it has no limit that can be told."""
        ...


class Codec(Protocol):
    """The VAE and ffmpeg: the only place where files become pixels and pixels files."""

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """Look at an upload before anything is made of it.

        Raises:
            MediaUnreadable: corrupt, empty or mislabelled, or there is no picture in it.
            LimitExceeded: more pixels or a longer clip than the preset takes.
        """
        ...

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """Decode an upload once into lossless frames."""
        ...

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """Normalised latents [C, T, h, w] of a prepared visual."""
        ...

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """Frames, file and poster of latents."""
        ...

    async def preview(self, request: PreviewRequest) -> Artifact:
        """A small picture of latents on the way."""
        ...

    async def maker(self) -> Maker:
        """What makes the pixels here, as recipes name it."""
        ...

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """Hold two results' frames, uint8 [T, H, W, 3], against each other."""
        ...

    async def sheet(self, original: Artifact) -> Artifact:
        """A grid of a clip's frames as one picture, in reading order."""
        ...


class Sessions(Protocol):
    """Conversations: trees of turns, each of which is a job."""

    async def create(self, request: SessionRequest) -> Session:
        """A new session without turns."""
        ...

    async def get(self, session_id: str) -> Session:
        """The whole session."""
        ...

    async def list(self, limit: int = 50, before: str | None = None) -> builtins.list[SessionSummary]:
        """Newest first, starting below the session `before`."""
        ...

    async def delete(self, session_id: str) -> None:
        """Forget a session and its turns. What they made stays, for as long as anything that jobs make.

        Raises:
            TurnConflict: a turn is still at work.
        """
        ...

    async def turn(self, session_id: str, request: TurnRequest, once: Idempotency | None = None) -> Turn:
        """Work out what the instruction looks at, and submit it as the next turn. What came `once` is not done again.

        Raises:
            TagUnresolved: the instruction speaks of something that is not there, or unclearly.
            TurnConflict: the head's turn is still at work, or another turn came first.
        """
        ...

    async def replay(
        self, session_id: str, number: int, request: ReplayTurnRequest, once: Idempotency | None = None
    ) -> Turn:
        """Do a turn again beside itself, with another seed. What came `once` is not done again."""
        ...

    async def undo(self, session_id: str, expected_head: int | None = None) -> Session:
        """Move the head to its parent; a turn at work is cancelled."""
        ...

    async def move_head(self, session_id: str, request: HeadRequest) -> Session:
        """Go on from any turn."""
        ...

    async def compare(self, session_id: str, a: int, b: int) -> tuple[Comparison, Artifact | None]:
        """What differs between two turns, and a picture of both."""
        ...

    async def frames(self, asset_id: str) -> TensorRef:
        """The lossless frames of a result, uint8 [T, H, W, 3]."""
        ...


class Orchestrator(Protocol):
    """The jobs table, leases, assets and the flow."""

    @property
    def sessions(self) -> Sessions:
        """Conversations over its jobs."""
        ...

    async def admit(self, knock: Knock) -> Caller:
        """Who it is that knocks; everything else is then called on behalf of that caller.

        Raises:
            KeyInvalid: nobody we know.
            ScopeMissing: the key is not good for this.
            ServiceOverloaded: too many requests.
        """
        ...

    async def account(self) -> Account:
        """What the caller has, and may have."""
        ...

    async def delete_media(self) -> MediaDeletion:
        """Stop the caller's jobs, and forget them with all files and sessions."""
        ...

    async def counts(self) -> builtins.list[ActionCount]:
        """How often each operation of the services was computed, and how often looked up."""
        ...

    async def webhook_secret(self) -> WebhookSecret:
        """What the caller checks signatures of its webhooks with.

        Raises:
            UrlRefused: this server sends none.
        """
        ...

    async def deliveries(self, job_id: str) -> builtins.list[WebhookDelivery]:
        """What was told about a job by webhook, or is to be, oldest first."""
        ...

    async def add_upload(self, original: Artifact, filename: str) -> Asset:
        """Probe a stored file and give its owner an id for it."""
        ...

    async def asset(self, asset_id: str) -> StoredAsset:
        """An upload or a result, and where its bytes are."""
        ...

    async def assets(self, limit: int = 50, before: str | None = None) -> builtins.list[Asset]:
        """Uploads and results, newest first, starting below the asset `before`."""
        ...

    async def submit(self, request: GenerationRequest, once: Idempotency | None = None) -> Job:
        """Check, store and queue a job; it is stored before this returns. What came `once` is not done again.

        Raises:
            IdempotencyConflict: the key belongs to another request.
        """
        ...

    async def replay(self, request: ReplayRequest) -> Replay:
        """Make a file again from its recipe.

        Raises:
            ReplayMismatch: this server would make other pixels.
            AssetNotFound: an input is not here, and nothing replaces it.
        """
        ...

    async def submitted(self, once: Idempotency) -> Job | None:
        """The job that a key already stands for."""
        ...

    async def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        """The job as it stands: now, or with `wait_s` once it is over, but not later than that."""
        ...

    async def list(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """Newest first, starting below the job `before`."""
        ...

    async def job_page(self, query: PageQuery) -> builtins.list[Job]:
        """A page of jobs."""
        ...

    async def file_page(self, query: PageQuery) -> builtins.list[StoredAsset]:
        """A page of uploads."""
        ...

    async def delete(self, job_id: str) -> None:
        """Forget a finished job and all it delivered.

        Raises:
            JobUnfinished: it is not over.
            AssetInUse: an unfinished job reads one of its results.
        """
        ...

    async def delete_asset(self, asset_id: str) -> None:
        """Forget an upload or a result.

        Raises:
            AssetInUse: an unfinished job reads it.
        """
        ...

    async def sheet(self, asset_id: str) -> Artifact:
        """A grid of a clip's frames as one picture."""
        ...

    def events(self, job_id: str, after: int = 0) -> AsyncIterator[JobEvent]:
        """Events with `seq > after`, past ones first, until the final one."""
        ...

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; a job that is over stays as it is."""
        ...

    async def resume(self, job_id: str) -> Job:
        """Take up a failed or interrupted job at its last checkpoint."""
        ...

    async def decide(self, job_id: str, decision: PlanDecision) -> Job:
        """Approve the plan of a waiting job, as it is or as edited, or reject it.

        Raises:
            PlanConflict: the job does not wait; its plan may have been decided before.
            PlanInvalid: the edited plan cannot be carried out; the job waits on.
        """
        ...
