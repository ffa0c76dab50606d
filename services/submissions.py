"""Requests that may come twice: the key each came under, what it asked for, and the job it became."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection

from vogue.schemas.base import Message
from vogue.schemas.errors import AssetNotFound, IdempotencyConflict
from vogue.schemas.queries import Idempotency

from .callers import current_tenant
from .rows import asset_row

__all__ = ["check_assets", "first_job", "once_of", "remember"]


def once_of(key: str | None, asked: str, request: Message) -> Idempotency | None:
    """What an `Idempotency-Key` says, if there is one: that this request, which `asked` for this, may come twice."""
    if key is None:
        return None
    said = f"{asked}\0{request.model_dump_json()}".encode()
    return Idempotency(key=key, fingerprint=hashlib.sha256(said).hexdigest())


def first_job(db: sqlite3.Connection, once: Idempotency) -> str | None:
    """The job that the key stands for.

    Raises:
        IdempotencyConflict: it belongs to another request.
    """
    row = db.execute("SELECT fingerprint, job_id FROM submissions WHERE key = ?", (_owned(once.key),)).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != once.fingerprint:
        raise IdempotencyConflict(
            f"the idempotency key {once.key[:80]!r} came with another request before; take a new key for a new request"
        )
    job_id: str = row["job_id"]
    return job_id


def remember(db: sqlite3.Connection, once: Idempotency, job_id: str) -> None:
    """Let the key stand for a job, in the transaction that stores the job."""
    db.execute("INSERT INTO submissions VALUES (?, ?, ?)", (_owned(once.key), once.fingerprint, job_id))


def _owned(key: str) -> str:
    """The key as it is stored: two tenants may well choose the same one. What comes in a header has no line break."""
    tenant = current_tenant()
    return key if tenant is None else f"{tenant}\n{key}"


def check_assets(db: sqlite3.Connection, asset_ids: Collection[str]) -> None:
    """See that inputs were not deleted since the request was checked.

    Raises:
        AssetNotFound: one was.
    """
    for asset_id in asset_ids:
        if asset_row(db, asset_id) is None:
            raise AssetNotFound(f"no upload or asset has the id {asset_id!r}; it was deleted")
