"""What callers say beside a request for a job: which page of a list they want, that they may ask twice, what to fetch."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, PositiveInt, StringConstraints

from .base import Message
from .references import Digest, MediaKind

__all__ = ["DeliveryStatus", "FetchRequest", "Idempotency", "PageQuery", "WebhookDelivery", "WebhookSecret"]


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


class DeliveryStatus(StrEnum):
    """How far a message has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class WebhookDelivery(Message):
    """One message to a job's webhook, and how it went. Times are seconds since the epoch.

    `attempts` counts those that were made; `answered` is the HTTP status of the last one, None where nobody answered, and `error`
    says what was wrong with it. `due_at_s` is when the next one is made.
    """

    id: str
    job_id: str
    type: str
    url: str
    status: DeliveryStatus
    attempts: Annotated[int, Field(ge=0)]
    created_at_s: float
    attempted_at_s: float | None = None
    answered: PositiveInt | None = None
    error: str | None = None
    due_at_s: float | None = None
    delivered_at_s: float | None = None


class PageQuery(Message):
    """A page of a list by age: what comes after the one called `after`, newest first or, if `ascending`, oldest first.

    `kind` keeps to pictures or clips: files of that kind, jobs that make them.
    """

    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    after: str | None = None
    ascending: bool = False
    kind: MediaKind | None = None
