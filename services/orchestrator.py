"""The `Orchestrator` port: takes requests in, keeps workers on jobs, tells listeners what happens.

It survives its own death: all it knows is in the database, and on start it takes up whatever is not finished.
"""

from __future__ import annotations

import asyncio
import builtins
import sqlite3
import time
from collections.abc import AsyncIterator, Callable

from vogue.graph.build import build_graph
from vogue.graph.state import Ports
from vogue.schemas.access import Account, Caller, Knock, MediaDeletion, TenantLimits
from vogue.schemas.config import Preset
from vogue.schemas.errors import AssetNotFound, RequestInvalid, UrlRefused, VogueError
from vogue.schemas.jobs import Asset, Job, JobEvent, JobStatus, StoredAsset
from vogue.schemas.plan import PlanDecision
from vogue.schemas.queries import Idempotency, PageQuery, WebhookDelivery, WebhookSecret
from vogue.schemas.recipes import Replay, ReplayRequest
from vogue.schemas.references import Artifact, MediaKind
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import ActionCount

from .blobs import BlobStore
from .cache import ActionCache
from .callers import current_tenant
from .config import OrchestratorConfig
from .conversing import SessionService
from .database import Database
from .dialing import Dialer, check_url
from .estimating import Estimator
from .foreman import Foreman
from .housekeeping import Housekeeper
from .intake import Intake
from .jobs import JobStore
from .keys.admission import Admission
from .leases import LeaseTable
from .metrics import SUBMITTED
from .news import News, set_within
from .pages import Pages
from .postman import Postman
from .removal import Removal
from .replaying import differences, input_ids, missing, refusal, replayed
from .sessions import SessionStore
from .stock import Stock
from .thoughts import ThoughtTable
from .webhooks import DeliveryTable, Signer
from .worker import Bench

__all__ = ["OrchestratorService"]

_CANCEL_S = 20.0
_LISTEN_S = 2.0
"""Listeners look at the database this often even without news, in case another process writes."""


class OrchestratorService:
    """The jobs table, the flow, and one worker for each job at work."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        ports: Ports,
        preset: Preset,
        config: OrchestratorConfig,
        limits: TenantLimits | None = None,
        dialer: Dialer | None = None,
        weight_bytes: int = 4,
    ) -> None:
        self._config = config
        self._preset = preset
        self._ports = ports
        self._database = database
        limits = limits or TenantLimits()
        self._admission = Admission(database, limits, config.media_retention_s)
        self._jobs = JobStore(database, limits)
        self._removal = Removal(database)
        self._pages = Pages(database)
        self._leases = LeaseTable(database)
        self._thoughts = ThoughtTable(database, self._leases)
        self._housekeeper = Housekeeper(self._jobs, self._removal, blobs, config)
        self._news = News()
        self._estimator = Estimator(self._jobs, preset, weight_bytes)
        self._intake = Intake(self._jobs, ports, preset, self._estimator)
        bench = Bench(
            database=database,
            jobs=self._jobs,
            leases=self._leases,
            thoughts=self._thoughts,
            ports=ports,
            preset=preset,
            graph=build_graph(),
            news=self._news,
            lease_ttl_s=config.lease_ttl_s,
            max_attempts=config.max_attempts,
        )
        self._foreman = Foreman(bench, config.max_running_jobs, self._estimator.learn)
        self._tasks: list[asyncio.Task[None]] = []
        self.sessions = SessionService(SessionStore(database), self, ports.codec)
        # The engines' memory lies beside the jobs; here it is only counted.
        self._actions = ActionCache(database.path.with_name("actions.sqlite"), blobs)
        self._stock = Stock(database, blobs, preset)
        self._signer: Signer | None = None
        self._postman: Postman | None = None
        if (webhooks := config.webhooks).enabled:
            self._signer = Signer(webhooks.secret_file or database.path.with_name("webhook-secret"))
            self._postman = Postman(DeliveryTable(database), webhooks, self._signer, dialer)

    async def start(self) -> None:
        """Begin to work: waiting jobs, those whose worker died, and whatever is submitted from now on."""
        self._tasks = [
            asyncio.create_task(self._foreman.run(), name="hand out jobs"),
            asyncio.create_task(self._housekeeper.run(), name="keep house"),
            asyncio.create_task(self._stock.run(), name="take stock"),
        ]
        if self._postman is not None:
            self._tasks.append(asyncio.create_task(self._postman.run(), name="deliver webhooks"))

    async def close(self) -> None:
        """Stop in order: unfinished jobs are given back and can be taken at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._foreman.dismiss(), return_exceptions=True)
        self._database.close()
        self._actions.close()

    # The port.

    async def admit(self, knock: Knock) -> Caller:
        """Who it is that knocks; everything else is then called on behalf of that caller (`callers.py`)."""
        return await asyncio.to_thread(self._admission.admit, knock)

    async def account(self) -> Account:
        """What the caller has, and may have."""
        return await asyncio.to_thread(self._admission.account)

    async def delete_media(self) -> MediaDeletion:
        """Stop the caller's jobs, and forget them with all files and sessions."""
        unfinished = await asyncio.to_thread(self._removal.unfinished)
        for job_id in unfinished:
            await self.cancel(job_id)
        # A job at work ends within one step; one whose step takes longer is named in the answer.
        await asyncio.gather(*(self.get(job_id, _CANCEL_S) for job_id in unfinished))
        return await asyncio.to_thread(self._housekeeper.delete_everything)

    async def add_upload(self, original: Artifact, filename: str) -> Asset:
        """Probe a stored file and give its owner an id for it."""
        try:
            return await self._intake.upload(original, filename)
        except VogueError:
            # Otherwise files that are refused would fill the disk until the next sweep.
            self._housekeeper.drop(original.sha256)
            raise

    async def asset(self, asset_id: str) -> StoredAsset:
        """An upload or a result, and where its bytes are."""
        return await asyncio.to_thread(self._jobs.asset, asset_id)

    async def assets(self, limit: int = 50, before: str | None = None) -> builtins.list[Asset]:
        """Uploads and results, newest first, starting below the asset `before`."""
        if not 1 <= limit <= 200:
            raise RequestInvalid(f"limit is {limit}; ask for 1 to 200 assets", param="limit")
        return await asyncio.to_thread(self._jobs.newest_assets, limit, before)

    async def replay(self, request: ReplayRequest) -> Replay:
        """Make a file again from its recipe, if it will have the same pixels here, or `anyway`."""
        ids, assets = input_ids(request), {}
        for one in request.recipe.inputs:
            try:
                assets[ids[one.tag]] = (await self.asset(ids[one.tag])).asset
            except AssetNotFound as error:
                raise missing(one) from error
        wanted = replayed(request.recipe, ids, assets)
        maker = await self._ports.codec.maker()
        found = differences(request.recipe, wanted, assets, self._preset, maker)
        if found and not request.anyway:
            raise refusal(found)
        return Replay(job=await self.submit(wanted), differences=found)

    async def counts(self) -> builtins.list[ActionCount]:
        """How often each operation of the services was computed, and how often looked up."""
        return await asyncio.to_thread(self._actions.counts)

    async def submitted(self, once: Idempotency) -> Job | None:
        """The job that a key already stands for."""
        return await asyncio.to_thread(self._jobs.submitted, once)

    async def submit(
        self,
        request: GenerationRequest,
        once: Idempotency | None = None,
        *,
        also: Callable[[sqlite3.Connection, str], None] | None = None,
    ) -> Job:
        """Check, store and queue a job; it is on disk before this returns. What came `once` is not done again.

        Args:
            also: see `JobStore.add`.
        """
        if once is not None and (first := await self.submitted(once)) is not None:
            return first
        if request.webhook_url is not None:
            self._check_webhook(request.webhook_url)
        spec, notices, seconds = await self._intake.request(request)
        job = await asyncio.to_thread(
            self._jobs.add,
            request,
            spec,
            notices,
            self._config.max_open_jobs,
            once,
            also,
            max_waiting=self._config.max_waiting_plans,
            cost_s=seconds,
        )
        SUBMITTED.add(task=job.spec.task)
        self._foreman.wake()
        return job

    def _check_webhook(self, url: str) -> None:
        """Refuse a URL that no message will be sent to. Where its name leads is checked when one is.

        Raises:
            UrlRefused: it is of a kind that is not called, or none is.
        """
        if self._postman is None:
            raise UrlRefused(
                "this server sends no webhooks: leave webhook_url out and wait for the job, or follow its events",
                param="webhook_url",
            )
        check_url(url, self._config.webhooks, "webhook_url")

    async def webhook_secret(self) -> WebhookSecret:
        """What the caller checks signatures of its webhooks with."""
        if self._signer is None:
            raise UrlRefused("this server sends no webhooks; see webhooks in docs/http.md")
        return WebhookSecret(secret=self._signer.secret(current_tenant()))

    async def deliveries(self, job_id: str) -> builtins.list[WebhookDelivery]:
        """What was told about a job by webhook, or is to be."""
        return await asyncio.to_thread(self._pages.deliveries, job_id)

    async def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        """The job as it stands: now, or with `wait_s` once it is over, but not later than that."""
        end_s = time.monotonic() + wait_s
        listener = self._news.listen(job_id, end_only=True)
        try:
            while True:
                listener.clear()
                job = await asyncio.to_thread(self._jobs.get, job_id)
                left_s = end_s - time.monotonic()
                if job.status.final or left_s <= 0:
                    return job
                await set_within(listener, min(left_s, _LISTEN_S))
        finally:
            self._news.leave(job_id, listener)

    async def list(self, limit: int = 50, before: str | None = None) -> builtins.list[Job]:
        """Newest first, starting below the job `before`."""
        if not 1 <= limit <= 200:
            raise RequestInvalid(f"limit is {limit}; ask for 1 to 200 jobs", param="limit")
        return await asyncio.to_thread(self._jobs.newest, limit, before)

    async def job_page(self, query: PageQuery) -> builtins.list[Job]:
        """A page of jobs."""
        return await asyncio.to_thread(self._pages.jobs, query)

    async def file_page(self, query: PageQuery) -> builtins.list[StoredAsset]:
        """A page of uploads."""
        return await asyncio.to_thread(self._pages.files, query)

    async def delete(self, job_id: str) -> None:
        """Forget a finished job and all it delivered."""
        await asyncio.to_thread(self._housekeeper.delete_job, job_id)

    async def delete_asset(self, asset_id: str) -> None:
        """Forget an upload or a result."""
        await asyncio.to_thread(self._housekeeper.delete_asset, asset_id)

    async def sheet(self, asset_id: str) -> Artifact:
        """A grid of a clip's frames as one picture."""
        stored = await self.asset(asset_id)
        if stored.asset.kind is not MediaKind.VIDEO:
            raise RequestInvalid(f"{asset_id} is a picture; only clips have sheets of frames")
        return await self._ports.codec.sheet(stored.artifact)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[JobEvent]:
        """Events with `seq > after`, past ones first, until the final one."""
        listener = self._news.listen(job_id)
        try:
            while True:
                listener.clear()
                fresh, over = await asyncio.to_thread(self._jobs.events, job_id, after)
                for event in fresh:
                    yield event
                    after = event.seq
                if over:
                    return
                await set_within(listener, _LISTEN_S)
        finally:
            self._news.leave(job_id, listener)

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; a job that is over stays as it is."""
        job = await asyncio.to_thread(self._jobs.request_cancel, job_id)
        self._news.tell(job_id, over=job.status.final)
        if job.status.final:
            self._news.tell_everybody()  # whoever waited behind it has moved up
        self._foreman.nudge(job_id)
        return job

    async def resume(self, job_id: str) -> Job:
        """Take up a failed job at its last checkpoint; one that is not over goes on anyway."""
        job = await asyncio.to_thread(self._jobs.reopen, job_id)
        self._foreman.wake()
        return job

    async def decide(self, job_id: str, decision: PlanDecision) -> Job:
        """Approve the plan of a waiting job, as it is or as edited, or reject it."""
        job = await self.get(job_id)
        if job.status is JobStatus.WAITING and decision.approved and decision.plan is not None:
            await self._intake.plan(job, decision.plan)
        job = await asyncio.to_thread(self._thoughts.decide, job_id, decision)
        self._news.tell(job_id, over=job.status.final)
        self._foreman.wake()
        return job
