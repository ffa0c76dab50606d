"""Webhooks at rest: what is still to be told to whom. `postman.py` carries it there.

A message is written down in the transaction that it tells of, so none is lost when a process dies, and it keeps its id however
often it is sent: a receiver that sees an id again has been told already. Form and signature follow the Standard Webhooks
specification, as OpenAI's do, and their clients can check them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from vogue.schemas.config import Task
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.jobs import ErrorInfo, JobStatus

from .database import Database

__all__ = ["Delivery", "DeliveryTable", "Signer", "announce"]

_PREFIX = "whsec_"
_MIN_SECRET_BYTES = 24
_KEPT_S = 7 * 86_400.0
"""What was delivered, or given up, is remembered for so long."""


class Delivery(NamedTuple):
    """A message and how far it has come; `attempts` are those that failed."""

    id: str
    url: str
    body: str
    tenant: str | None
    attempts: int


def announce(db: sqlite3.Connection, job_id: str, status: JobStatus, error: ErrorInfo | None = None) -> None:
    """Write down what a job's owner wants to be told, if anything, in the transaction that it happens in."""
    row = db.execute("SELECT request, spec, tenant FROM jobs WHERE id = ?", (job_id,)).fetchone()
    url = json.loads(row["request"]).get("webhook_url")
    if url is None:
        return
    event_id, now_s = f"evt_{secrets.token_urlsafe(18)}", time.time()
    task = Task(json.loads(row["spec"])["task"])
    # As in OpenAI's API, one that was cancelled has failed, and its error says how.
    happened = "failed" if status is JobStatus.CANCELLED else status.value
    what = "video" if task.makes_video else "image" if task.makes_media else "answer"
    told = error.model_dump(mode="json") if error is not None else None
    if status is JobStatus.CANCELLED:
        told = {"code": "cancelled", "message": "the job was cancelled"}
    body = {
        "id": event_id,
        "object": "event",
        "type": f"{what}.{happened}",
        "created_at": int(now_s),
        "data": {"id": job_id, "status": status.value, "error": told},
    }
    db.execute(
        "INSERT INTO deliveries (id, job_id, tenant, url, body, created_at_s, due_at_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event_id, job_id, row["tenant"], url, json.dumps(body, separators=(",", ":")), now_s, now_s),
    )


class DeliveryTable:
    """What is due, and how it went. Calls are synchronous."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int) -> list[Delivery]:
        """Messages whose time has come, those that wait longest first."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT * FROM deliveries WHERE due_at_s <= ? ORDER BY due_at_s LIMIT ?", (time.time(), limit)
            ).fetchall()
        return [Delivery(row["id"], row["url"], row["body"], row["tenant"], row["attempts"]) for row in rows]

    def delivered(self, event_id: str, answered: int) -> None:
        """It has arrived."""
        now_s = time.time()
        with self._database.transaction() as db:
            db.execute(
                "UPDATE deliveries SET due_at_s = NULL, error = NULL, delivered_at_s = ?, attempted_at_s = ?, answered = ? WHERE id = ?",
                (now_s, now_s, answered, event_id),
            )

    def failed(self, event_id: str, error: str, delay_s: float | None, answered: int | None = None) -> None:
        """It has not; try again after a while, or never."""
        now_s = time.time()
        due_at_s = now_s + delay_s if delay_s is not None else None
        with self._database.transaction() as db:
            db.execute(
                "UPDATE deliveries SET due_at_s = ?, error = ?, attempts = attempts + 1, attempted_at_s = ?, answered = ? WHERE id = ?",
                (due_at_s, error, now_s, answered, event_id),
            )

    def forget_old(self) -> None:
        """Drop what was settled long ago."""
        with self._database.transaction(durable=False) as db:
            db.execute("DELETE FROM deliveries WHERE due_at_s IS NULL AND created_at_s < ?", (time.time() - _KEPT_S,))


class Signer:
    """Signs messages. The secret is the server's; each tenant has one of its own that is made from it.

    Args:
        path: the file that holds the secret, `whsec_` and base64; it is made if it is missing.

    Raises:
        RequestInvalid: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._secret = _read_secret(path) if path.is_file() else _new_secret(path)

    def secret(self, tenant: str | None) -> str:
        """What a tenant checks signatures with; without keys, the server's own secret."""
        return _PREFIX + base64.b64encode(self._key(tenant)).decode("ascii")

    def headers(self, delivery: Delivery) -> dict[str, str]:
        """Id, time and signature of an attempt that is made now."""
        at_s = int(time.time())
        signed = f"{delivery.id}.{at_s}.{delivery.body}".encode()
        signature = base64.b64encode(hmac.digest(self._key(delivery.tenant), signed, hashlib.sha256)).decode("ascii")
        return {
            "content-type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": f"v1,{signature}",
        }

    def _key(self, tenant: str | None) -> bytes:
        # Who knows one tenant's secret can forge no message to another.
        return (
            self._secret if tenant is None else hmac.digest(self._secret, f"webhooks {tenant}".encode(), hashlib.sha256)
        )


def _read_secret(path: Path) -> bytes:
    text = path.read_text(encoding="utf-8").strip()
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(_PREFIX) or len(secret) < _MIN_SECRET_BYTES:
        raise RequestInvalid(
            f"{path} holds no secret for webhooks: write {_PREFIX} and the base64 of {_MIN_SECRET_BYTES} random bytes or more",
            param="jobs.webhooks.secret_file",
        )
    return secret


def _new_secret(path: Path) -> bytes:
    secret = secrets.token_bytes(32)
    scratch = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_PREFIX.encode() + base64.b64encode(secret) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    return secret
