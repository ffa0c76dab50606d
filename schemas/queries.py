"""What callers of the orchestrator say beside a request: which page of a list they want, and that they may ask twice."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from .base import Message
from .references import Digest, MediaKind

__all__ = ["Idempotency", "PageQuery"]


class Idempotency(Message):
    """A request that may come twice, after a broken connection: `key` is the caller's, `fingerprint` says what it asked for."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    fingerprint: Digest


class PageQuery(Message):
    """A page of a list by age: what comes after the one called `after`, newest first or, if `ascending`, oldest first.

    `kind` keeps to pictures or clips: files of that kind, jobs that make them.
    """

    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    after: str | None = None
    ascending: bool = False
    kind: MediaKind | None = None
