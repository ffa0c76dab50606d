"""Who asks, and what they may: scopes, what a key comes to the server with, and what its owner sees of the account.

A tenant owns jobs, files and sessions. Every key has a tenant of its own, unless it was made to see what another key sees.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from .base import Contract, Message
from .references import Digest

__all__ = ["Account", "Caller", "KeyInfo", "Knock", "MediaDeletion", "Scope", "TenantLimits", "Usage"]

_Count = Annotated[int, Field(ge=0)]


class Scope(StrEnum):
    """What a key is good for. `write` includes `read`, `admin` includes both."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    """The server's own affairs: counters and metrics. It does not open what other keys own."""

    def covers(self, wanted: Scope) -> bool:
        """Whether this one is enough where `wanted` is asked for."""
        order = tuple(Scope)
        return order.index(self) >= order.index(wanted)


class Caller(Message):
    """Who a request comes from. Without a tenant it is anybody: the server asks for no keys, and shows all there is."""

    tenant: str | None = None
    key_id: str | None = None
    scope: Scope = Scope.ADMIN


class Knock(Message):
    """A request at the door: the digest of its key (the key itself goes no further than the gateway), and what it wants.

    `num_bytes` is the announced length of the body. A request that only carries others, which are counted themselves, is not `counted`.
    """

    digest: Digest
    scope: Scope
    num_bytes: _Count = 0
    counted: bool = True


class KeyInfo(Contract):
    """A key as it can be shown. Times are seconds since the epoch."""

    id: str
    name: str
    tenant: str
    scope: Scope
    created_at_s: float
    expires_at_s: float | None = None
    revoked_at_s: float | None = None


class TenantLimits(Contract):
    """What a tenant may have at once."""

    max_open_jobs: PositiveInt = 8
    """Jobs waiting or at work; those whose plan waits for a word do not count."""
    max_stored_bytes: PositiveInt = 20 * 1024**3
    """Of uploads, results and previews together. Beyond it nothing is taken in until something is deleted."""
    requests_per_minute: PositiveFloat = 600.0
    burst: PositiveInt = 120
    """Requests that may come at once, after a while of silence."""
    max_connections: PositiveInt = 64
    """Requests that one gateway replica answers at the same time, event streams included."""


class Usage(Contract):
    """What a tenant has now: jobs waiting or at work, files (uploads, results, previews) and their bytes."""

    open_jobs: _Count
    num_files: _Count
    stored_bytes: _Count


class Account(Message):
    """What a caller may know of itself. On a server that asks for no keys there is neither key nor limits."""

    key: KeyInfo | None = None
    limits: TenantLimits | None = None
    usage: Usage
    media_retention_s: float | None = None


class MediaDeletion(Message):
    """What was deleted. `unfinished` are jobs that were told to stop and had not yet; what they read stays with them."""

    num_jobs: _Count
    num_files: _Count
    num_sessions: _Count
    unfinished: tuple[str, ...] = ()
