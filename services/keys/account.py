"""`/v1/me`: what a caller has here, and the end of all of it."""

from __future__ import annotations

from fastapi import FastAPI

from vogue.schemas.access import Account, MediaDeletion
from vogue.schemas.ports import Orchestrator

__all__ = ["serve_account"]


def serve_account(app: FastAPI, orchestrator: Orchestrator) -> None:
    """Add the paths."""

    @app.get("/v1/me")
    async def account() -> Account:
        """The caller's key, its limits, and how much of them is used."""
        return await orchestrator.account()

    @app.delete("/v1/me/media")
    async def delete_media() -> MediaDeletion:
        """Stop all of the caller's jobs, and forget them with every file and session."""
        return await orchestrator.delete_media()
