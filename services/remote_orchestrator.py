"""The `Orchestrator` port over a Ray Serve handle."""

from __future__ import annotations

import asyncio
import builtins
import logging
from collections.abc import AsyncIterator

from vogue.schemas.access import Account, Caller, Knock, MediaDeletion
from vogue.schemas.errors import ServiceError
from vogue.schemas.jobs import Asset, Job, JobEvent, StoredAsset
from vogue.schemas.plan import PlanDecision
from vogue.schemas.ports import Sessions
from vogue.schemas.queries import Idempotency, PageQuery, WebhookDelivery, WebhookSecret
from vogue.schemas.recipes import Replay, ReplayRequest
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import ActionCount

from .remote import OwnersRemote, Remote
from .remote_sessions import RemoteSessions

__all__ = ["RemoteOrchestrator"]

logger = logging.getLogger(__name__)


class RemoteOrchestrator(OwnersRemote):
    """`Orchestrator` in another process."""

    @property
    def sessions(self) -> Sessions:
        """Conversations over its jobs."""
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

    async def deliveries(self, job_id: str) -> builtins.list[WebhookDelivery]:
        """What was told about a job by webhook, or is to be."""
        deliveries: builtins.list[WebhookDelivery] = await self._call("deliveries", job_id)
        return deliveries

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
