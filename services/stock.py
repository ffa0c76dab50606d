"""What can only be measured: how many jobs wait, for how long, and how much lies in the store."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from importlib.metadata import version
from pathlib import Path

from vogue.schemas.config import Preset
from vogue.schemas.jobs import JobStatus

from .blobs import BlobStore
from .database import Database
from .metrics import INFO, JOBS, QUEUE_OLDEST, STORE_BYTES

__all__ = ["Stock"]

logger = logging.getLogger(__name__)

_EVERY_S = 5.0
_STORE_EVERY_S = 30.0
"""Counting files costs more than counting rows. Gauges that are older than a minute are taken for a dead process's."""
_OPEN = tuple(status for status in JobStatus if not status.final)


class Stock:
    """Sets the gauges of one state directory."""

    def __init__(self, database: Database, blobs: BlobStore, preset: Preset) -> None:
        self._database, self._blobs, self._preset = database, blobs, preset

    async def run(self) -> None:
        """Take stock for ever."""
        stored_s = -_STORE_EVERY_S
        while True:
            try:
                await asyncio.to_thread(self.count_jobs)
                if time.monotonic() - stored_s >= _STORE_EVERY_S:
                    stored_s = time.monotonic()
                    await asyncio.to_thread(self.weigh)
            except Exception:
                logger.exception("stock could not be taken; trying again")
            await asyncio.sleep(_EVERY_S)

    def count_jobs(self) -> None:
        """How many jobs are not over, and since when the first of them waits."""
        with self._database.reading() as db:
            found = dict(db.execute("SELECT status, COUNT(*) FROM jobs GROUP BY status").fetchall())
            (oldest_s,) = db.execute(
                "SELECT MIN(created_at_s) FROM jobs WHERE status = ?", (JobStatus.QUEUED.value,)
            ).fetchone()
        for status in _OPEN:
            JOBS.set(found.get(status.value, 0), status=status)
        QUEUE_OLDEST.set(max(0.0, time.time() - oldest_s) if oldest_s is not None else 0.0)
        INFO.set(1, version=version("vogue-video"), preset=self._preset.name)

    def weigh(self) -> None:
        """How much lies in the store."""
        STORE_BYTES.set(_bytes_below(self._blobs.root))


def _bytes_below(folder: Path) -> int:
    total, left = 0, [folder]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # swept, or put in its place, meanwhile
    return total
