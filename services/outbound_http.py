"""Over HTTP, what has to do with other servers: files of theirs that shall be taken in, and webhooks to them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from vogue.schemas.errors import UrlRefused
from vogue.schemas.jobs import Asset
from vogue.schemas.ports import Orchestrator
from vogue.schemas.queries import FetchRequest, WebhookSecret

from .fetching import Fetcher

__all__ = ["serve_outbound"]


def serve_outbound(app: FastAPI, orchestrator: Orchestrator, fetcher: Fetcher | None) -> None:
    """Add the paths.

    Args:
        fetcher: fetches URLs; without it they are refused.
    """

    @app.post("/v1/fetches", status_code=201)
    async def fetch(request: FetchRequest) -> Asset:
        """Take a picture or clip in that another server has, as if it were uploaded."""
        if fetcher is None:
            raise UrlRefused(
                f"this server does not fetch {request.url[:80]!r}: upload the file itself to /v1/uploads", param="url"
            )
        received = await fetcher.fetch(request.url, "url")
        return await orchestrator.add_upload(received.original, received.filename)

    # Who knows it can write messages that look like ours, so reading it takes a key that may write.
    @app.post("/v1/webhooks/secret")
    async def secret() -> WebhookSecret:
        """What the signatures of the caller's webhooks are checked with."""
        return await orchestrator.webhook_secret()

    @app.get("/v1/jobs/{job_id}/deliveries")
    async def deliveries(job_id: str) -> dict[str, Any]:
        """What was told about a job by webhook, or is to be: to whom, when, how often, and what came of it."""
        found = await orchestrator.deliveries(job_id)
        return {"object": "list", "data": [one.model_dump(mode="json") for one in found]}
