"""Over HTTP, what has to do with other servers: files of theirs that shall be taken in, and the secret of webhooks to them."""

from __future__ import annotations

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
