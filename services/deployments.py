"""The two Ray Serve deployments without networks: thin shells around the orchestrator and the HTTP interface.

Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import builtins
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from vogue.graph.state import Ports
from vogue.schemas.access import Account, Caller, Knock, MediaDeletion
from vogue.schemas.errors import ServiceError
from vogue.schemas.jobs import Asset, Job, JobEvent, StoredAsset
from vogue.schemas.plan import PlanDecision
from vogue.schemas.queries import Idempotency, PageQuery, WebhookDelivery, WebhookSecret
from vogue.schemas.recipes import Replay, ReplayRequest
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import ActionCount

from .batching import batches
from .blobs import BlobStore
from .config import AppConfig
from .remote import is_ready
from .remote_engines import RemoteCodec, RemoteConnector, RemoteDenoiser, RemoteUnderstanding
from .remote_orchestrator import RemoteOrchestrator
from .remote_sessions import SessionCalls
from .shells import Shell
from .weights import served_preset

__all__ = ["GatewayDeployment", "OrchestratorDeployment"]


class OrchestratorDeployment(SessionCalls, Shell):
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

    async def deliveries(self, job_id: str) -> builtins.list[WebhookDelivery]:
        """See `Orchestrator.deliveries`."""
        return await self._service.deliveries(job_id)

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
class GatewayDeployment(Shell):
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
