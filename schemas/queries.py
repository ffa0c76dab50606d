"""What callers say beside a request for a job: which page of a list they want, that they may ask twice, what to fetch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from .base import Message
from .references import Digest, MediaKind

__all__ = ["FetchRequest", "Idempotency", "PageQuery", "WebhookSecret"]


class Idempotency(Message):
    """A request that may come twice, after a broken connection: `key` is the caller's, `fingerprint` says what it asked for."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    fingerprint: Digest


class FetchRequest(Message):
    """A file of another server that shall be taken in as an upload."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class WebhookSecret(Message):
    """What a receiver checks signatures of webhooks with: `whsec_` and base64."""

    secret: str


class PageQuery(Message):
    """A page of a list by age: what comes after the one called `after`, newest first or, if `ascending`, oldest first.

    `kind` keeps to pictures or clips: files of that kind, jobs that make them.
    """

    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    after: str | None = None
    ascending: bool = False
    kind: MediaKind | None = None
