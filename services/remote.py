"""The ports over Ray Serve handles: each call goes to another process, and comes back as a value or a typed error."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from vogue.schemas.access import Account, Caller, Knock, MediaDeletion
from vogue.schemas.errors import EngineError, ServiceError, ServiceOverloaded, VogueError
from vogue.schemas.jobs import Asset, Job, JobEvent, StoredAsset
from vogue.schemas.plan import Plan, PlanDecision, Review
from vogue.schemas.ports import Sessions
from vogue.schemas.queries import Idempotency, PageQuery, WebhookSecret
from vogue.schemas.recipes import Maker, Replay, ReplayRequest
from vogue.schemas.references import Artifact, PreparedVisual, TensorRef
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import (
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

from .callers import current_caller
from .carrying import carried

__all__ = [
    "OwnersRemote",
    "Remote",
    "RemoteCodec",
    "RemoteConnector",
    "RemoteDenoiser",
    "RemoteOrchestrator",
    "RemoteUnderstanding",
    "is_ready",
]

logger = logging.getLogger(__name__)

_READY_S = 3.0


def typed(error: Exception, service: str) -> Exception:
    """What a handle raised, as an error of ours."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, VogueError):
        return cause
    if isinstance(cause, TaskCancelledError | asyncio.CancelledError):
        return ServiceError(f"a call to the {service} service was cancelled")
    if isinstance(cause, BackPressureError):
        return ServiceOverloaded(f"the {service} service has too many calls waiting", retry_after_s=2.0)
    if isinstance(cause, RayActorError | DeploymentUnavailableError | RayServeException | RayError):
        return ServiceError(f"the {service} service died or cannot be reached; it is being started again")
    return EngineError(f"the {service} service failed: {type(cause).__name__}: {cause}")


class Remote:
    """Calls and streams by name."""

    def __init__(self, handle: DeploymentHandle[Any], service: str) -> None:
        self._handle = handle
        self._service = service

    async def _call(self, method: str, *args: Any, session_id: str = "") -> Any:
        try:
            return await getattr(self._handle.options(session_id=session_id), method).remote(*args, **carried())
        except Exception as error:
            raise typed(error, self._service) from error

    async def _stream(self, method: str, *args: Any, session_id: str = "") -> AsyncIterator[Any]:
        try:
            handle = self._handle.options(stream=True, session_id=session_id)
            async for item in getattr(handle, method).remote(*args, **carried()):
                yield item
        except Exception as error:
            raise typed(error, self._service) from error


class RemoteUnderstanding(Remote):
    """`Understanding` in another process."""

    def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """Stream the answer's text in pieces."""
        return self._stream("answer", request)

    async def plan(self, request: PlanRequest) -> Plan:
        """Turn an instruction into a plan."""
        plan: Plan = await self._call("plan", request)
        return plan

    async def review(self, request: ReviewRequest) -> Review:
        """Score a result."""
        review: Review = await self._call("review", request)
        return review

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """Hidden states [L, D] for each pass asked for."""
        states: PassStates = await self._call("encode", request)
        return states


class RemoteConnector(Remote):
    """`Connector` in another process."""

    async def project(self, request: ProjectRequest) -> PassStates:
        """Context [L, D'] for each pass given."""
        states: PassStates = await self._call("project", request)
        return states


class RemoteDenoiser(Remote):
    """`Denoiser` in another process; each job has one replica (see `routing.py`)."""

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        """Begin a job."""
        await self._call("start", job, resume_from, session_id=job.job_id)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        """Events with `seq > after`, until the final one."""
        async for batch in self._stream("events", job_id, after, session_id=job_id):
            for event in batch:
                yield event

    async def cancel(self, job_id: str) -> None:
        """Stop stepping within one step."""
        await self._call("cancel", job_id, session_id=job_id)

    async def room_bytes(self) -> int | None:
        """Memory for rows beside the weights."""
        room: int | None = await self._call("room_bytes")
        return room


class RemoteCodec(Remote):
    """`Codec` in another process."""

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """Look at an upload."""
        facts: MediaFacts = await self._call("probe", request)
        return facts

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """Decode an upload once."""
        prepared: PreparedVisual = await self._call("prepare", request)
        return prepared

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """Latents of a prepared visual."""
        ref: TensorRef = await self._call("encode", request)
        return ref

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """Frames, file and poster of latents."""
        decoded: DecodedMedia = await self._call("decode", request)
        return decoded

    async def preview(self, request: PreviewRequest) -> Artifact:
        """A small picture of latents on the way."""
        artifact: Artifact = await self._call("preview", request)
        return artifact

    async def maker(self) -> Maker:
        """What makes the pixels."""
        maker: Maker = await self._call("maker")
        return maker

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """Hold two results' frames against each other."""
        seen: FrameComparison = await self._call("compare", a, b)
        return seen

    async def sheet(self, original: Artifact) -> Artifact:
        """A grid of a clip's frames."""
        artifact: Artifact = await self._call("sheet", original)
        return artifact


class OwnersRemote(Remote):
    """Calls that answer what an owner may see. One that is made on nobody's behalf would show all there is, so it is not made."""

    async def _call(self, method: str, *args: Any, session_id: str = "") -> Any:
        _check_caller(method)
        return await super()._call(method, *args, session_id=session_id)

    async def _stream(self, method: str, *args: Any, session_id: str = "") -> AsyncIterator[Any]:
        _check_caller(method)
        async for item in super()._stream(method, *args, session_id=session_id):
            yield item


def _check_caller(method: str) -> None:
    if current_caller() is None:
        raise VogueError(f"{method} was called on nobody's behalf: run it within `acting_for` (services/callers.py)")


class RemoteOrchestrator(OwnersRemote):
    """`Orchestrator` in another process."""

    @property
    def sessions(self) -> Sessions:
        """Conversations over its jobs."""
        # Here, because that module needs this one.
        from .remote_sessions import RemoteSessions

        return RemoteSessions(self._handle, self._service)

    async def replay(self, request: ReplayRequest) -> Replay:
        """Make a file again from its recipe."""
        replay: Replay = await self._call("replay", request)
        return replay

    async def admit(self, knock: Knock) -> Caller:
        """Who it is that knocks."""
        # The one call that is made before anybody is known.
        caller: Caller = await Remote._call(self, "admit", knock)
        return caller

    async def account(self) -> Account:
        """What the caller has, and may have."""
        account: Account = await self._call("account")
        return account

    async def delete_media(self) -> MediaDeletion:
        """Stop the caller's jobs, and forget them with all files and sessions."""
        deletion: MediaDeletion = await self._call("delete_media")
        return deletion

    async def counts(self) -> builtins.list[ActionCount]:
        """How often each operation was computed, and how often looked up."""
        counts: builtins.list[ActionCount] = await self._call("counts")
        return counts

    async def webhook_secret(self) -> WebhookSecret:
        """What the caller checks signatures of its webhooks with."""
        secret: WebhookSecret = await self._call("webhook_secret")
        return secret

    async def add_upload(self, original: Artifact, filename: str) -> Asset:
        """Probe a stored file and give its owner an id for it."""
        asset: Asset = await self._call("add_upload", original, filename)
        return asset

    async def asset(self, asset_id: str) -> StoredAsset:
        """An upload or a result."""
        stored: StoredAsset = await self._call("asset", asset_id)
        return stored

    async def assets(self, limit: int = 50, before: str | None = None) -> builtins.list[Asset]:
        """Uploads and results, newest first."""
        assets: builtins.list[Asset] = await self._call("assets", limit, before)
        return assets

    async def submit(self, request: GenerationRequest, once: Idempotency | None = None) -> Job:
        """Check, store and queue a job."""
        job: Job = await self._call("submit", request, once)
        return job

    async def submitted(self, once: Idempotency) -> Job | None:
        """The job that a key already stands for."""
        job: Job | None = await self._call("submitted", once)
        return job

    async def job_page(self, query: PageQuery) -> builtins.list[Job]:
        """A page of jobs."""
        jobs: builtins.list[Job] = await self._call("job_page", query)
        return jobs

    async def file_page(self, query: PageQuery) -> builtins.list[StoredAsset]:
        """A page of uploads."""
        files: builtins.list[StoredAsset] = await self._call("file_page", query)
        return files

    async def delete(self, job_id: str) -> None:
        """Forget a finished job and all it delivered."""
        await self._call("delete", job_id)

    async def delete_asset(self, asset_id: str) -> None:
        """Forget an upload or a result."""
        await self._call("delete_asset", asset_id)

    async def sheet(self, asset_id: str) -> Artifact:
        """A grid of a clip's frames."""
        artifact: Artifact = await self._call("sheet", asset_id)
        return artifact

    async def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        """The job as it stands, or once it is over."""
        job: Job = await self._call("get", job_id, wait_s)
        return job

    async def list(self, limit: int = 50, before: str | None = None) -> builtins.list[Job]:
        """Newest first."""
        jobs: builtins.list[Job] = await self._call("list", limit, before)
        return jobs

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[JobEvent]:
        """Events with `seq > after`. A restarted orchestrator is asked again for what is missing."""
        while True:
            try:
                async for batch in self._stream("events", job_id, after):
                    for event in batch:
                        after = event.seq
                        yield event
                return
            except ServiceError as error:
                logger.warning("asking again for the events of %s: %s", job_id, error)
                await asyncio.sleep(0.2)

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to stop."""
        job: Job = await self._call("cancel", job_id)
        return job

    async def resume(self, job_id: str) -> Job:
        """Take up a failed job at its last checkpoint."""
        job: Job = await self._call("resume", job_id)
        return job

    async def decide(self, job_id: str, decision: PlanDecision) -> Job:
        """Approve the plan of a waiting job, or reject it."""
        job: Job = await self._call("decide", job_id, decision)
        return job


async def is_ready(handle: DeploymentHandle[Any]) -> bool:
    """Whether a replica answers soon."""
    try:
        async with asyncio.timeout(_READY_S):
            await handle.ready.remote()
    except Exception:
        return False
    return True
