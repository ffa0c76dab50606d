"""The `Orchestrator` port: takes requests in, keeps workers on jobs, tells listeners what happens.

It survives its own death: all it knows is in the database, and on start it takes up whatever is not finished.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable

from vogue.graph.build import build_graph
from vogue.graph.resolve import resolve, settle
from vogue.graph.state import Ports
from vogue.schemas.access import Account, Caller, Knock, MediaDeletion, TenantLimits
from vogue.schemas.config import Preset
from vogue.schemas.errors import AssetNotFound, PlanInvalid, RequestInvalid, UrlRefused, VogueError
from vogue.schemas.jobs import Asset, Job, JobEvent, JobStatus, StoredAsset
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.queries import Idempotency, PageQuery, WebhookDelivery, WebhookSecret
from vogue.schemas.recipes import Replay, ReplayRequest
from vogue.schemas.references import Artifact, MediaKind
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import ActionCount, ProbeRequest

from .blobs import BlobStore
from .cache import ActionCache
from .callers import current_tenant
from .config import OrchestratorConfig
from .conversing import SessionService
from .costing import check_fits
from .database import Database, new_id
from .dialing import Dialer, check_url
from .estimating import Estimator
from .housekeeping import Housekeeper
from .jobs import JobStore
from .keys.admission import Admission
from .leases import Lease, LeaseTable
from .metrics import SUBMITTED, UPLOADED
from .news import News
from .pages import Pages
from .postman import Postman
from .removal import Removal
from .replaying import differences, input_ids, missing, refusal, replayed
from .sessions import SessionStore
from .stock import Stock
from .thoughts import ThoughtTable
from .webhooks import DeliveryTable, Signer
from .worker import Bench, work_on

__all__ = ["OrchestratorService"]

logger = logging.getLogger(__name__)

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
        self._bench = Bench(
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
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._workers: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.sessions = SessionService(SessionStore(database), self, ports.codec)
        # The engines' memory lies beside the jobs; here it is only counted.
        self._actions = ActionCache(database.path.with_name("actions.sqlite"), blobs)
        self._estimator = Estimator(self._jobs, preset, weight_bytes)
        self._learnt_all = False
        self._room_bytes: int | None = None
        self._stock = Stock(database, blobs, preset)
        self._signer: Signer | None = None
        self._postman: Postman | None = None
        if (webhooks := config.webhooks).enabled:
            self._signer = Signer(webhooks.secret_file or database.path.with_name("webhook-secret"))
            self._postman = Postman(DeliveryTable(database), webhooks, self._signer, dialer)

    async def start(self) -> None:
        """Begin to work: waiting jobs, those whose worker died, and whatever is submitted from now on."""
        self._tasks = [
            asyncio.create_task(self._hand_out(), name="hand out jobs"),
            asyncio.create_task(self._housekeeper.run(), name="keep house"),
            asyncio.create_task(self._stock.run(), name="take stock"),
        ]
        if self._postman is not None:
            self._tasks.append(asyncio.create_task(self._postman.run(), name="deliver webhooks"))

    async def close(self) -> None:
        """Stop in order: unfinished jobs are given back and can be taken at once."""
        tasks = [*self._tasks, *(task for task, _ in self._workers.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
            return await self._take_in(original, filename)
        except VogueError:
            # Otherwise files that are refused would fill the disk until the next sweep.
            self._housekeeper.drop(original.sha256)
            raise

    async def _take_in(self, original: Artifact, filename: str) -> Asset:
        facts = await self._ports.codec.probe(ProbeRequest(original=original, filename=filename))
        asset = Asset(
            id=new_id("upload"),
            kind=facts.kind,
            media_type=facts.media_type,
            num_bytes=original.num_bytes,
            filename=filename,
            height_px=facts.height_px,
            width_px=facts.width_px,
            num_frames=facts.num_frames,
            fps=facts.fps,
            has_audio=facts.has_audio,
        )
        UPLOADED.add(asset.num_bytes, kind=asset.kind)
        stored = StoredAsset(asset=asset, artifact=original.model_copy(update={"media_type": facts.media_type}))
        return await asyncio.to_thread(self._jobs.add_asset, stored)

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
        assets = {}
        for index, visual in enumerate(request.visuals):
            try:
                assets[visual.upload_id] = (await self.asset(visual.upload_id)).asset
            except VogueError as error:
                raise type(error)(error.message, param=f"visuals.{index}.upload_id") from error
        spec, notices = resolve(request, self._preset, assets, secrets.randbelow(2**31))
        cost = self._estimator.cost(spec, request)
        check_fits(cost, await self._room())
        most = (self._config.max_open_jobs, self._config.max_waiting_plans)
        seconds = self._estimator.seconds(cost)
        job = await asyncio.to_thread(self._jobs.add, request, spec, notices, most[0], once, also, most[1], seconds)
        SUBMITTED.add(task=job.spec.task)
        self._wake.set()
        return job

    async def _room(self) -> int | None:
        """Memory of the denoiser for one row, asked for once; None while it cannot be told."""
        if self._room_bytes is None:
            try:
                self._room_bytes = await self._ports.denoiser.room_bytes()
            except VogueError as error:
                logger.warning("the denoiser does not say how much memory it has: %s", error)
        return self._room_bytes

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
                await _set_within(listener, min(left_s, _LISTEN_S))
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
                await _set_within(listener, _LISTEN_S)
        finally:
            self._news.leave(job_id, listener)

    async def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; a job that is over stays as it is."""
        job = await asyncio.to_thread(self._jobs.request_cancel, job_id)
        self._news.tell(job_id, over=job.status.final)
        if job.status.final:
            self._news.tell_everybody()  # whoever waited behind it has moved up
        if job_id in self._workers:
            self._workers[job_id][1].set()
        return job

    async def resume(self, job_id: str) -> Job:
        """Take up a failed job at its last checkpoint; one that is not over goes on anyway."""
        job = await asyncio.to_thread(self._jobs.reopen, job_id)
        self._wake.set()
        return job

    async def decide(self, job_id: str, decision: PlanDecision) -> Job:
        """Approve the plan of a waiting job, as it is or as edited, or reject it."""
        job = await self.get(job_id)
        if job.status is JobStatus.WAITING and decision.approved and decision.plan is not None:
            await self._check_plan(job, decision.plan)
        job = await asyncio.to_thread(self._thoughts.decide, job_id, decision)
        self._news.tell(job_id, over=job.status.final)
        self._wake.set()
        return job

    async def _check_plan(self, job: Job, plan: Plan) -> None:
        """Refuse an edited plan that cannot be carried out.

        Raises:
            PlanInvalid: it cannot.
        """
        if plan.task is None or plan.clarification is not None:
            raise PlanInvalid("an approved plan names its task and asks nothing back", param="plan.clarification")
        assets = {visual.upload_id: (await self.asset(visual.upload_id)).asset for visual in job.request.visuals}
        try:
            settle(job.request, plan, self._preset, assets, job.spec.seed)
        except RequestInvalid as error:
            raise PlanInvalid(f"the plan cannot be carried out: {error.message}", param="plan") from error

    # Work.

    async def _hand_out(self) -> None:
        """Put workers on jobs, at most so many at once."""
        while True:
            self._wake.clear()
            try:
                await self._end_overdue()
                if await self._hand_out_one():
                    continue
                if not self._learnt_all:
                    self._learnt_all = True
                    await asyncio.to_thread(self._estimator.learn)
            except Exception:
                # A disk that is full now may have room in a moment: jobs wait for that, and not for a restart.
                logger.exception("no job could be handed out; trying again")
            # Leases of dead workers run out without anybody saying so.
            await _set_within(self._wake, min(1.0, self._config.lease_ttl_s / 2))

    async def _end_overdue(self) -> None:
        """Jobs at work are ended by their workers; nobody else looks after those that wait."""
        ended = await asyncio.to_thread(self._leases.end_overdue)
        for job_id in ended:
            self._news.tell(job_id, over=True)
        if ended:
            self._news.tell_everybody()

    async def _hand_out_one(self) -> bool:
        """Put a worker on the next job, if there is one and room for it."""
        if len(self._workers) >= self._config.max_running_jobs:
            return False
        lease = await asyncio.to_thread(self._leases.take, self._owner, self._config.lease_ttl_s)
        if lease is None:
            return False
        self._put_to_work(lease)
        self._news.tell_everybody()  # whoever waits has moved up
        return True

    def _put_to_work(self, lease: Lease) -> None:
        nudge = asyncio.Event()
        task = asyncio.create_task(work_on(self._bench, lease, nudge), name=f"job {lease.job_id}")
        self._workers[lease.job_id] = (task, nudge)
        task.add_done_callback(lambda done: self._worker_left(lease.job_id, done))

    def _worker_left(self, job_id: str, task: asyncio.Task[None]) -> None:
        if self._workers.get(job_id, (None,))[0] is task:
            del self._workers[job_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the worker of job %s died", job_id, exc_info=error)
        self._learnt_all = False
        self._wake.set()


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until an event is set, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
