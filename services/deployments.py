"""The six Ray Serve deployments: thin shells that put each service into a process of its own.

Nothing is decided here. Constructors run in the replica's process, so weights are loaded where they are used.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from vogue.graph.state import Ports
from vogue.schemas.access import Account, Caller, Knock, MediaDeletion
from vogue.schemas.errors import ServiceError
from vogue.schemas.jobs import Asset, Job, JobEvent, StoredAsset
from vogue.schemas.plan import Plan, PlanDecision, Review
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

from .batching import batches
from .blobs import BlobStore
from .carrying import receiving
from .config import AppConfig, DeploymentConfig
from .logs import set_up_logs
from .metrics import METERS
from .remote import (
    RemoteCodec,
    RemoteConnector,
    RemoteDenoiser,
    RemoteOrchestrator,
    RemoteUnderstanding,
    is_ready,
)
from .remote_sessions import SessionCalls
from .weights import served_preset

__all__ = [
    "CodecDeployment",
    "ConnectorDeployment",
    "DenoiserDeployment",
    "GatewayDeployment",
    "OrchestratorDeployment",
    "UnderstandingDeployment",
]

logger = logging.getLogger(__name__)


class _Shell:
    """What every deployment has: a process of its own, a sign of life, logs and metrics."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        receiving(cls)

    def __init__(self, config: AppConfig) -> None:
        # In Serve's local testing mode all six would share the driver's process, and one crash would take all of them.
        if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
            raise ServiceError("VOGUE's services run as processes of their own; Serve's local testing mode is refused")
        from .ray_metrics import RayMirror

        set_up_logs(type(self).__name__.removesuffix("Deployment").lower(), config.logs)
        METERS.mirrors = [RayMirror()]
        METERS.keep_in(config.state_dir / "metrics.sqlite")
        atexit.register(METERS.close)

    async def ready(self) -> int:
        """The id of the process that answers."""
        return os.getpid()


class _EngineShell(_Shell):
    """A deployment with networks: threads are set by hand, since Ray gives a fractional claim one."""

    def __init__(self, config: AppConfig, own: DeploymentConfig) -> None:
        super().__init__(config)
        from .workplace import Workplace

        self.place = Workplace(config, own.threads)


class UnderstandingDeployment(_EngineShell):
    """The MLLM."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.understanding)
        from .understanding import UnderstandingService

        self._service = self.place.torch.call(UnderstandingService.load, self.place)

    async def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """See `Understanding.answer`."""
        async for piece in self._service.answer(request):
            yield piece

    async def plan(self, request: PlanRequest) -> Plan:
        """See `Understanding.plan`."""
        return await self._service.plan(request)

    async def review(self, request: ReviewRequest) -> Review:
        """See `Understanding.review`."""
        return await self._service.review(request)

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """See `Understanding.encode`."""
        return await self._service.encode(request)


class ConnectorDeployment(_EngineShell):
    """The connector."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.connector)
        from .connector import ConnectorService

        self._service = self.place.torch.call(ConnectorService.load, self.place)

    async def project(self, request: ProjectRequest) -> PassStates:
        """See `Connector.project`."""
        return await self._service.project(request)


class DenoiserDeployment(_EngineShell):
    """The MMDiT and its step loop."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.denoiser)
        from .denoiser import DenoiserService
        from .stepping import free_bytes, load_loop, straight_on
        from .turns import Turns

        own = config.denoiser
        loop = self.place.torch.call(load_loop, self.place)
        self._service = DenoiserService(
            loop,
            self.place.blobs,
            foresee=straight_on(self.place.preset.schedule),
            worker=self.place.torch.executor,
            turns=Turns(own.max_rows, own.max_bytes or free_bytes(self.place.device)),
        )

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        """See `Denoiser.start`."""
        await self._service.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[tuple[DenoiseEvent, ...]]:
        """See `Denoiser.events`. Latents to go on from must not wait: what is done after them is done again."""
        events = self._service.events(job_id, after)
        async for batch in batches(events, lambda event: event.kind != "step"):
            yield batch

    async def cancel(self, job_id: str) -> None:
        """See `Denoiser.cancel`."""
        await self._service.cancel(job_id)

    async def room_bytes(self) -> int | None:
        """See `Denoiser.room_bytes`."""
        return await self._service.room_bytes()

    async def __del__(self) -> None:
        await self._service.close()


class CodecDeployment(_EngineShell):
    """The VAE and ffmpeg."""

    def __init__(self, config: AppConfig) -> None:
        super().__init__(config, config.codec)
        from .codec import CodecService

        self._service = self.place.torch.call(CodecService.load, self.place)

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """See `Codec.probe`."""
        return await self._service.probe(request)

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """See `Codec.prepare`."""
        return await self._service.prepare(request)

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """See `Codec.encode`."""
        return await self._service.encode(request)

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """See `Codec.decode`."""
        return await self._service.decode(request)

    async def preview(self, request: PreviewRequest) -> Artifact:
        """See `Codec.preview`."""
        return await self._service.preview(request)

    async def maker(self) -> Maker:
        """See `Codec.maker`."""
        return await self._service.maker()

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """See `Codec.compare`."""
        return await self._service.compare(a, b)

    async def sheet(self, original: Artifact) -> Artifact:
        """See `Codec.sheet`."""
        return await self._service.sheet(original)


class OrchestratorDeployment(SessionCalls, _Shell):
    """The jobs table and the flow. On start it takes up what is not finished."""

    def __init__(
        self,
        config: AppConfig,
        understanding: DeploymentHandle[Any],
        connector: DeploymentHandle[Any],
        denoiser: DeploymentHandle[Any],
        codec: DeploymentHandle[Any],
    ) -> None:
        super().__init__(config)
        # Read when LangGraph is imported: checkpoints may restore plain values only.
        os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
        from .database import Database
        from .orchestrator import OrchestratorService

        ports = Ports(
            understanding=RemoteUnderstanding(understanding, "understanding"),
            connector=RemoteConnector(connector, "connector"),
            denoiser=RemoteDenoiser(denoiser, "denoiser"),
            codec=RemoteCodec(codec, "codec"),
        )
        self._service = OrchestratorService(
            Database(config.state_dir / "jobs.sqlite"),
            BlobStore(config.state_dir / "store"),
            ports,
            served_preset(config),
            config.jobs,
            config.keys.limits,
            weight_bytes=4 if config.device == "cpu" else 2,
        )
        self._sessions = self._service.sessions
        self._starting = asyncio.get_running_loop().create_task(self._service.start())

    async def add_upload(self, original: Artifact, filename: str) -> Asset:
        """See `Orchestrator.add_upload`."""
        return await self._service.add_upload(original, filename)

    async def asset(self, asset_id: str) -> StoredAsset:
        """See `Orchestrator.asset`."""
        return await self._service.asset(asset_id)

    async def assets(self, limit: int = 50, before: str | None = None) -> builtins.list[Asset]:
        """See `Orchestrator.assets`."""
        return await self._service.assets(limit, before)

    async def submit(self, request: GenerationRequest, once: Idempotency | None = None) -> Job:
        """See `Orchestrator.submit`."""
        return await self._service.submit(request, once)

    async def submitted(self, once: Idempotency) -> Job | None:
        """See `Orchestrator.submitted`."""
        return await self._service.submitted(once)

    async def job_page(self, query: PageQuery) -> builtins.list[Job]:
        """See `Orchestrator.job_page`."""
        return await self._service.job_page(query)

    async def file_page(self, query: PageQuery) -> builtins.list[StoredAsset]:
        """See `Orchestrator.file_page`."""
        return await self._service.file_page(query)

    async def delete(self, job_id: str) -> None:
        """See `Orchestrator.delete`."""
        await self._service.delete(job_id)

    async def delete_asset(self, asset_id: str) -> None:
        """See `Orchestrator.delete_asset`."""
        await self._service.delete_asset(asset_id)

    async def sheet(self, asset_id: str) -> Artifact:
        """See `Orchestrator.sheet`."""
        return await self._service.sheet(asset_id)

    async def replay(self, request: ReplayRequest) -> Replay:
        """See `Orchestrator.replay`."""
        return await self._service.replay(request)

    async def admit(self, knock: Knock) -> Caller:
        """See `Orchestrator.admit`."""
        return await self._service.admit(knock)

    async def account(self) -> Account:
        """See `Orchestrator.account`."""
        return await self._service.account()

    async def delete_media(self) -> MediaDeletion:
        """See `Orchestrator.delete_media`."""
        return await self._service.delete_media()

    async def counts(self) -> builtins.list[ActionCount]:
        """See `Orchestrator.counts`."""
        return await self._service.counts()

    async def webhook_secret(self) -> WebhookSecret:
        """See `Orchestrator.webhook_secret`."""
        return await self._service.webhook_secret()

    async def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        """See `Orchestrator.get`."""
        return await self._service.get(job_id, wait_s)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[tuple[JobEvent, ...]]:
        """See `Orchestrator.events`."""
        async for batch in batches(self._service.events(job_id, after), lambda event: event.kind.final):
            yield batch

    async def cancel(self, job_id: str) -> Job:
        """See `Orchestrator.cancel`."""
        return await self._service.cancel(job_id)

    async def resume(self, job_id: str) -> Job:
        """See `Orchestrator.resume`."""
        return await self._service.resume(job_id)

    async def decide(self, job_id: str, decision: PlanDecision) -> Job:
        """See `Orchestrator.decide`."""
        return await self._service.decide(job_id, decision)

    async def list(self, limit: int = 50, before: str | None = None) -> list[Job]:
        """See `Orchestrator.list`."""
        return await self._service.list(limit, before)

    async def __del__(self) -> None:
        await self._service.close()


@serve.ingress()
class GatewayDeployment(_Shell):
    """The HTTP interface."""

    def __init__(
        self, config: AppConfig, orchestrator: DeploymentHandle[Any], others: dict[str, DeploymentHandle[Any]]
    ) -> None:
        super().__init__(config)
        self._config = config
        self._orchestrator = orchestrator
        self._services = {"orchestrator": orchestrator, **others}

    def __serve_build_asgi_app__(self) -> FastAPI:
        from .fetching import Fetcher
        from .gateway import build_http
        from .keys.exposure import bound_host, guarded

        # Again, and here at last for certain: what `build` saw may have been a cluster on which nothing listened yet.
        if guarded(self._config, bound_host()) and not self._config.keys.required:
            raise ServiceError("the server came to listen where others reach it after it was built; build it again")
        preset, blobs = served_preset(self._config), BlobStore(self._config.state_dir / "store")
        urls = self._config.url_inputs
        return build_http(
            RemoteOrchestrator(self._orchestrator, "orchestrator"),
            self._readiness,
            blobs,
            preset,
            self._config.hosts,
            self._config.jobs.media_retention_s,
            self._config.keys,
            Fetcher(blobs, urls, preset.limits.max_upload_bytes) if urls.enabled else None,
        )

    async def _readiness(self) -> dict[str, bool]:
        states = await asyncio.gather(*(is_ready(handle) for handle in self._services.values()))
        return dict(zip(self._services, states, strict=True))
