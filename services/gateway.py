"""The HTTP interface: every public path, and no logic. It translates between HTTP and the orchestrator's port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from vogue.schemas.config import Preset
from vogue.schemas.errors import PlanConflict, VogueError
from vogue.schemas.jobs import Asset, Job, JobEvent
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.ports import Orchestrator
from vogue.schemas.requests import GenerationRequest

from .blobs import BlobStore
from .config import KeysConfig
from .delivery import deliver
from .doors import add_doors
from .exposition import RequestCounter, serve_metrics
from .fetching import Fetcher
from .http_errors import ERROR_RESPONSES, BoundedBody, answer_errors, describe_errors
from .keys.account import serve_account
from .keys.guard import KeyGuard
from .openai import COUNTED_HERE, Office, serve_openai
from .origins import OriginGuard
from .outbound_http import serve_outbound
from .session_http import serve_replays, serve_sessions
from .studio import serve_studio
from .submissions import once_of
from .uploads import receive_upload

__all__ = ["Readiness", "build_http"]

logger = logging.getLogger(__name__)

_KEEP_ALIVE_S = 15.0
Readiness = Callable[[], Awaitable[Mapping[str, bool]]]
"""Asks every deployment whether it can work."""

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": ["*"],
    "expose_headers": ["content-disposition", "content-range", "etag", "openai-poll-after-ms", "retry-after"],
    "max_age": 3600,
}
_NO_KEYS = KeysConfig()
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


def build_http(
    orchestrator: Orchestrator,
    readiness: Readiness,
    blobs: BlobStore,
    preset: Preset,
    hosts: Sequence[str] = (),
    media_retention_s: float | None = None,
    keys: KeysConfig = _NO_KEYS,
    fetcher: Fetcher | None = None,
) -> FastAPI:
    """The application: errors first, then jobs, assets, health, and the doors that other rooms add.

    Args:
        hosts: names under which it is reached beside this machine's own; requests for any other are refused.
        media_retention_s: at what age finished jobs and uploads are deleted, so that answers can say when.
        keys: whether keys are asked for, and which sites' pages may send them.
        fetcher: fetches inputs that are named by URL; without it they are refused.
    """
    app = FastAPI(title="VOGUE", version="1", docs_url=None, redoc_url=None, responses=ERROR_RESPONSES)
    describe_errors(app)
    answer_errors(app)
    app.add_middleware(BoundedBody, counted_elsewhere=("/v1/uploads", *COUNTED_HERE))
    app.add_middleware(KeyGuard, admit=orchestrator.admit if keys.required else None, limits=keys.limits)
    if keys.origins:
        # Outside of the guard: a browser asks without a key whether it may send one, and its page shall read refusals.
        app.add_middleware(CORSMiddleware, allow_origins=keys.origins, **_CORS)
    app.add_middleware(OriginGuard, hosts=hosts, origins=keys.origins)
    app.add_middleware(RequestCounter)
    _serve_jobs(app, orchestrator)
    _serve_assets(app, orchestrator, blobs, preset)
    serve_sessions(app, orchestrator.sessions, blobs)
    serve_replays(app, orchestrator)
    serve_account(app, orchestrator)
    serve_outbound(app, orchestrator, fetcher)
    _serve_health(app, readiness)
    serve_metrics(app)
    serve_studio(app)
    serve_openai(app, Office(orchestrator, blobs, preset, media_retention_s, fetcher))
    add_doors(app, hosts, keys.origins)
    return app


def _serve_jobs(app: FastAPI, orchestrator: Orchestrator) -> None:
    @app.post("/v1/jobs", status_code=201)
    async def submit(
        request: GenerationRequest, idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None
    ) -> Job:
        """Check, store and queue a job; the same request under the same `Idempotency-Key` gives the first one."""
        return await orchestrator.submit(request, once_of(idempotency_key, "POST /v1/jobs", request))

    @app.delete("/v1/jobs/{job_id}")
    async def delete(job_id: str) -> dict[str, Any]:
        """Forget a finished job and all it delivered."""
        await orchestrator.delete(job_id)
        return {"id": job_id, "object": "job", "deleted": True}

    @app.get("/v1/jobs")
    async def jobs(limit: Annotated[int, Query(ge=1, le=200)] = 50, before: str | None = None) -> dict[str, Any]:
        """Jobs, newest first; `before` continues below a job."""
        found = await orchestrator.list(limit, before)
        return {"object": "list", "data": [job.model_dump(mode="json") for job in found]}

    @app.get("/v1/jobs/{job_id}")
    async def job(job_id: str, wait_s: Annotated[float, Query(ge=0, le=60)] = 0.0) -> Job:
        """A job as it stands: now, or with `wait_s` once it is over, but not later than that."""
        return await orchestrator.get(job_id, wait_s)

    @app.post("/v1/jobs/{job_id}/cancel")
    async def cancel(job_id: str) -> Job:
        """Ask a job to stop."""
        return await orchestrator.cancel(job_id)

    @app.post("/v1/jobs/{job_id}/resume")
    async def resume(job_id: str) -> Job:
        """Take up a failed job at its last checkpoint."""
        return await orchestrator.resume(job_id)

    @app.get("/v1/jobs/{job_id}/plan")
    async def plan(job_id: str) -> Plan:
        """What thinking mode has decided about the job."""
        decided = (await orchestrator.get(job_id)).plan
        if decided is None:
            raise PlanConflict(f"job {job_id} has no plan, or not yet")
        return decided

    @app.post("/v1/jobs/{job_id}/plan")
    async def decide(job_id: str, decision: PlanDecision) -> Job:
        """Approve the plan of a waiting job, as it is or as edited, or reject it."""
        return await orchestrator.decide(job_id, decision)

    @app.get("/v1/jobs/{job_id}/events", response_class=StreamingResponse)
    async def events(
        job_id: str,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        last_event_id: Annotated[int | None, Header(ge=0, le=2**53)] = None,
    ) -> StreamingResponse:
        """The job's log as server-sent events, past ones first, until the final one."""
        await orchestrator.get(job_id)
        stream = orchestrator.events(job_id, after if last_event_id is None else last_event_id)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_sent(stream), media_type="text/event-stream", headers=headers)


async def _sent(events: AsyncIterator[JobEvent]) -> AsyncIterator[bytes]:
    """Events in the wire format of server-sent events, with a comment now and then while nothing happens."""
    pending = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=_KEEP_ALIVE_S)
            if not done:
                yield b": still here\n\n"
                continue
            event = pending.result()
            if event is None:
                return
            yield f"id: {event.seq}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n".encode()
            pending = asyncio.ensure_future(anext(events, None))
    except VogueError as error:
        # The head of the answer is long sent. The listener comes back with the last id it saw.
        logger.warning("an event stream broke off: %s", error)
    finally:
        pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await pending


def _serve_assets(app: FastAPI, orchestrator: Orchestrator, blobs: BlobStore, preset: Preset) -> None:
    @app.post("/v1/uploads", status_code=201, openapi_extra=_UPLOAD)
    async def upload(request: Request) -> Asset:
        """Take a picture or clip in, and look at it."""
        received = await receive_upload(
            request.headers.get("content-type", ""),
            request.headers.get("content-length"),
            request.stream(),
            blobs,
            preset.limits.max_upload_bytes,
        )
        return await orchestrator.add_upload(received.original, received.filename)

    @app.get("/v1/assets")
    async def assets(limit: Annotated[int, Query(ge=1, le=200)] = 50, before: str | None = None) -> dict[str, Any]:
        """Uploads and results, newest first; `before` continues below an asset."""
        found = await orchestrator.assets(limit, before)
        return {"object": "list", "data": [asset.model_dump(mode="json") for asset in found]}

    @app.get("/v1/assets/{asset_id}")
    async def asset(asset_id: str) -> Asset:
        """What an upload or a result is."""
        return (await orchestrator.asset(asset_id)).asset

    @app.delete("/v1/assets/{asset_id}")
    async def delete(asset_id: str) -> dict[str, Any]:
        """Forget an upload or a result, unless a job at work reads it."""
        await orchestrator.delete_asset(asset_id)
        return {"id": asset_id, "object": "asset", "deleted": True}

    @app.head("/v1/assets/{asset_id}/content", include_in_schema=False)
    @app.get("/v1/assets/{asset_id}/content", response_class=FileResponse, name="asset_content")
    async def content(asset_id: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The bytes of an upload or a result, or a range of them."""
        stored = await orchestrator.asset(asset_id)
        return deliver(blobs, stored.artifact, asset_id, stored.asset.filename, if_none_match)


def _serve_health(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether this process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether every service can work."""
        states = await readiness()
        ready = all(states.values())
        return JSONResponse({"ready": ready, "services": dict(states)}, status_code=200 if ready else 503)
