"""Pages of the jobs and files of one state directory, in either direction, and what was told about a job."""

from __future__ import annotations

import json
import sqlite3

from vogue.schemas.config import Task
from vogue.schemas.errors import AssetNotFound
from vogue.schemas.jobs import Job, StoredAsset
from vogue.schemas.queries import DeliveryStatus, PageQuery, WebhookDelivery
from vogue.schemas.references import MediaKind

from .callers import own
from .database import Database
from .rows import asset_row, job_row, load_job, stored_asset

__all__ = ["Pages"]

_TASKS = {
    MediaKind.VIDEO: tuple(task.value for task in Task if task.makes_video),
    MediaKind.IMAGE: tuple(task.value for task in Task if not task.makes_video),
}


class Pages:
    """Reads; see `JobStore` for what is written. Calls are synchronous."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def jobs(self, query: PageQuery) -> list[Job]:
        """A page of jobs.

        Raises:
            JobNotFound: there is none called `query.after`.
        """
        with self._database.reading() as db:
            number = job_row(db, query.after)["number"] if query.after is not None else None
            clause, values = _beyond(query, number)
            if query.kind is not None:
                tasks = _TASKS[query.kind]
                clause += f" AND json_extract(spec, '$.task') IN ({', '.join('?' * len(tasks))})"
                values += tasks
            return [load_job(db, row["id"]) for row in _select(db, "id", "jobs", clause, values, query)]

    def files(self, query: PageQuery) -> list[StoredAsset]:
        """A page of uploads.

        Raises:
            AssetNotFound: there is none called `query.after`.
        """
        with self._database.reading() as db:
            number = None
            if query.after is not None:
                found = asset_row(db, query.after)
                if found is None:
                    raise AssetNotFound(f"no file has the id {query.after!r}", param="after")
                number = found["number"]
            clause, values = _beyond(query, number)
            clause += " AND job_id IS NULL"
            if query.kind is not None:
                clause += " AND json_extract(asset, '$.kind') = ?"
                values += (query.kind.value,)
            return [stored_asset(row) for row in _select(db, "*", "assets", clause, values, query)]

    def deliveries(self, job_id: str) -> list[WebhookDelivery]:
        """What the owner of a job was told about it by webhook, or is to be, oldest first.

        Raises:
            JobNotFound: there is none of that id.
        """
        with self._database.reading() as db:
            job_row(db, job_id)
            rows = db.execute("SELECT * FROM deliveries WHERE job_id = ? ORDER BY number", (job_id,)).fetchall()
        return [_delivery(row) for row in rows]


def _delivery(row: sqlite3.Row) -> WebhookDelivery:
    arrived = row["delivered_at_s"] is not None
    status = DeliveryStatus.PENDING if row["due_at_s"] is not None else DeliveryStatus.GIVEN_UP
    return WebhookDelivery(
        id=row["id"],
        job_id=row["job_id"],
        type=json.loads(row["body"])["type"],
        url=row["url"],
        status=DeliveryStatus.DELIVERED if arrived else status,
        # The table counts those that failed.
        attempts=row["attempts"] + arrived,
        created_at_s=row["created_at_s"],
        attempted_at_s=row["attempted_at_s"],
        answered=row["answered"],
        error=row["error"],
        due_at_s=row["due_at_s"],
        delivered_at_s=row["delivered_at_s"],
    )


def _beyond(query: PageQuery, number: int | None) -> tuple[str, tuple[object, ...]]:
    mine, tenant = own()
    if number is None:
        return mine, tenant
    return f"{mine} AND number {'>' if query.ascending else '<'} ?", (*tenant, number)


def _select(
    db: sqlite3.Connection, what: str, table: str, clause: str, values: tuple[object, ...], query: PageQuery
) -> list[sqlite3.Row]:
    order = "ASC" if query.ascending else "DESC"
    statement = f"SELECT {what} FROM {table} WHERE {clause} ORDER BY number {order} LIMIT ?"
    return db.execute(statement, (*values, query.limit)).fetchall()
