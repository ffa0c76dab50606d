"""What a tenant may still do: requests per minute, open jobs, stored bytes. Counted in the database, so that all replicas count together.

It holds for callers with a tenant only: a server without keys has one user, who has the whole machine.
"""

from __future__ import annotations

import sqlite3
import time

from vogue.schemas.access import Account, Caller, Knock, TenantLimits, Usage
from vogue.schemas.errors import LimitExceeded, ScopeMissing, ServiceOverloaded

from ..callers import current_caller, current_tenant, own
from ..database import Database
from ..rows import OPEN
from .store import KeyStore, caller_of

__all__ = ["Admission", "check_job_room", "check_upload_room"]

_LARGE_BYTES = 1024 * 1024
"""A smaller body holds no file worth asking about before it comes."""
_JOB_RETRY_S = 5.0


class Admission:
    """Lets requests in, and tells a caller about itself. Calls are synchronous."""

    def __init__(self, database: Database, limits: TenantLimits, media_retention_s: float | None = None) -> None:
        self._database = database
        self._limits = limits
        self._retention_s = media_retention_s

    def admit(self, knock: Knock) -> Caller:
        """Who it is that knocks.

        Raises:
            KeyInvalid: nobody we know.
            ScopeMissing: the key is not good for this.
            ServiceOverloaded: too many requests.
            LimitExceeded: there is no room for what comes along.
        """
        # What is lost in a power cut is at most that somebody has asked.
        with self._database.transaction(durable=False) as db:
            caller = caller_of(db, knock.digest)
            if not caller.scope.covers(knock.scope):
                raise ScopeMissing(
                    f"this needs a key of the scope {knock.scope}, and yours has {caller.scope}; see `vogue keys create --scope`"
                )
            if knock.counted and caller.tenant is not None:
                _take_token(db, caller.tenant, self._limits)
            if knock.num_bytes > _LARGE_BYTES:
                _check_bytes(db, caller.tenant, knock.num_bytes, self._limits)
            return caller

    def account(self) -> Account:
        """What the caller has, and may have."""
        caller = current_caller()
        with self._database.reading() as db:
            usage = _usage(db)
        if caller is None or caller.key_id is None:
            return Account(usage=usage, media_retention_s=self._retention_s)
        key = KeyStore(self._database).get(caller.key_id)
        return Account(key=key, limits=self._limits, usage=usage, media_retention_s=self._retention_s)


def _take_token(db: sqlite3.Connection, tenant: str, limits: TenantLimits) -> None:
    """One request out of the tenant's bucket, which fills again as time goes by.

    Raises:
        ServiceOverloaded: it is empty.
    """
    now_s, per_s = time.time(), limits.requests_per_minute / 60
    row = db.execute("SELECT tokens, at_s FROM rates WHERE tenant = ?", (tenant,)).fetchone()
    # A clock that was set back fills nothing.
    tokens = (
        min(limits.burst, row["tokens"] + max(now_s - row["at_s"], 0.0) * per_s) if row is not None else limits.burst
    )
    if tokens < 1:
        raise ServiceOverloaded(
            f"this key sends more than {limits.requests_per_minute:g} requests per minute; slow down",
            retry_after_s=max((1 - tokens) / per_s, 0.001),
        )
    db.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?)", (tenant, tokens - 1, now_s))


def _usage(db: sqlite3.Connection) -> Usage:
    mine, tenant = own()
    (jobs,) = db.execute(f"SELECT COUNT(*) FROM jobs WHERE status IN (?, ?) AND {mine}", (*OPEN, *tenant)).fetchone()
    files, num_bytes = db.execute(
        f"SELECT COUNT(*), COALESCE(SUM(json_extract(asset, '$.num_bytes')), 0) FROM assets WHERE {mine}", tenant
    ).fetchone()
    return Usage(open_jobs=jobs, num_files=files, stored_bytes=num_bytes)


def check_job_room(db: sqlite3.Connection, limits: TenantLimits) -> None:
    """Refuse one more job of a tenant that has enough, in the transaction that would store it.

    Raises:
        ServiceOverloaded: too many jobs.
        LimitExceeded: the tenant's store is full, and a result would have to go there.
    """
    if (tenant := current_tenant()) is None:
        return
    (count,) = db.execute("SELECT COUNT(*) FROM jobs WHERE status IN (?, ?) AND tenant = ?", (*OPEN, tenant)).fetchone()
    if count >= limits.max_open_jobs:
        raise ServiceOverloaded(
            f"{count} jobs of this key are waiting or at work, and it may have {limits.max_open_jobs} at once; try again"
            " when one is over",
            retry_after_s=_JOB_RETRY_S,
        )
    _check_bytes(db, tenant, 1, limits)


def check_upload_room(db: sqlite3.Connection, num_bytes: int, limits: TenantLimits) -> None:
    """Refuse a file that a tenant has no room for, in the transaction that would store it.

    Raises:
        LimitExceeded: the tenant's store would hold too much.
    """
    if (tenant := current_tenant()) is not None:
        _check_bytes(db, tenant, num_bytes, limits)


def _check_bytes(db: sqlite3.Connection, tenant: str | None, num_bytes: int, limits: TenantLimits) -> None:
    (held,) = db.execute(
        "SELECT COALESCE(SUM(json_extract(asset, '$.num_bytes')), 0) FROM assets WHERE tenant = ?", (tenant,)
    ).fetchone()
    if held + num_bytes > limits.max_stored_bytes:
        raise LimitExceeded(
            f"this key's files take {held} of the {limits.max_stored_bytes} bytes that it may keep; delete what is no longer"
            " needed (DELETE /v1/assets/ID, or everything with DELETE /v1/me/media)"
        )
