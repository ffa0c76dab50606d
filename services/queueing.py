"""Who is next, and when the turn of a waiting job comes."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Sequence

from vogue.schemas.jobs import EventKind, JobStatus

from .rows import append_event

__all__ = ["QUEUE_ORDER", "place_of", "room_in", "starts_in", "tell_queue"]

QUEUE_ORDER = "created_at_s + COALESCE(cost_s, 0), number"
"""Who is next: who came first, but for each second that a job will take others may come a second later and still go before it."""

_ROOM_S = 5.0
"""What is said while nothing was measured yet."""


def starts_in(running: Iterable[float], waiting: Sequence[float], places: int) -> list[float]:
    """Seconds until each waiting job is taken, in order, if `places` jobs are at work at once and share the machine evenly.

    Args:
        running: seconds that each job at work still takes of the machine.
        waiting: seconds that each job that waits will take of it.
    """
    now = served = 0.0
    ends = list(running)
    heapq.heapify(ends)
    begins = []
    for needs in waiting:
        while len(ends) >= places:
            first = heapq.heappop(ends)
            now += max(0.0, first - served) * (len(ends) + 1)
            served = max(served, first)
        begins.append(now)
        heapq.heappush(ends, served + needs)
    return begins


def place_of(db: sqlite3.Connection, job_id: str) -> int:
    """The place of a waiting job, from 1."""
    queue = db.execute(f"SELECT id FROM jobs WHERE status = ? ORDER BY {QUEUE_ORDER}", (JobStatus.QUEUED.value,))
    return [row["id"] for row in queue].index(job_id) + 1


def tell_queue(db: sqlite3.Connection) -> None:
    """Tell every waiting job its place and for how long it may wait, from what it and those before it cost."""
    waiting = db.execute(
        f"SELECT id, steps_total, cost_s FROM jobs WHERE status = ? ORDER BY {QUEUE_ORDER}", (JobStatus.QUEUED.value,)
    ).fetchall()
    if not waiting:
        return
    running, each_s = _left_of_running(db), _usual_s(db)
    costs = [row["cost_s"] if row["cost_s"] is not None else each_s for row in waiting]
    known = [cost for cost in costs if cost is not None]
    begins: Sequence[float | None] = [None] * len(waiting)
    if running is not None and len(known) == len(waiting):
        begins = starts_in(running, known, max(len(running), 1))
    for place, (row, eta_s) in enumerate(zip(waiting, begins, strict=True), 1):
        append_event(
            db,
            row["id"],
            EventKind.QUEUED,
            steps_total=row["steps_total"],
            queue_position=place,
            eta_s=eta_s,
        )


def room_in(db: sqlite3.Connection) -> float:
    """Seconds until one of the jobs at work ends, if it is known what they take; they share the machine."""
    left = _left_of_running(db)
    return max(1.0, min(left) * len(left)) if left else _ROOM_S


def _left_of_running(db: sqlite3.Connection) -> list[float] | None:
    """Seconds that each job at work still takes of the machine, by its steps; None if that is not known of all."""
    rows = db.execute(
        "SELECT cost_s, steps_done, steps_total FROM jobs WHERE status = ?", (JobStatus.IN_PROGRESS.value,)
    ).fetchall()
    each_s = _usual_s(db)
    costs = [row["cost_s"] if row["cost_s"] is not None else each_s for row in rows]
    if any(cost is None for cost in costs):
        return None
    shares = (1 - row["steps_done"] / max(row["steps_total"], 1) for row in rows)
    return [cost * share for cost, share in zip(costs, shares, strict=True)]


def _usual_s(db: sqlite3.Connection) -> float | None:
    """How long the last jobs took: for those that came before anything was known."""
    (each_s,) = db.execute(
        "SELECT AVG(took) FROM (SELECT finished_at_s - started_at_s AS took FROM jobs WHERE status = ?"
        " ORDER BY number DESC LIMIT 8)",
        (JobStatus.COMPLETED.value,),
    ).fetchone()
    return None if each_s is None else max(float(each_s), 0.0)
