"""Housekeeping of a state directory: what is deleted or too old leaves the disk, and nothing that a job at work may need.

A blob may go when no row refers to it and nobody has written or asked for it since the oldest unfinished job was
submitted: whatever a job makes or finds on its way is younger than the job.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from vogue.schemas.access import MediaDeletion
from vogue.schemas.errors import SessionError

from .blobs import BlobStore
from .config import OrchestratorConfig
from .jobs import JobStore
from .removal import Removal

__all__ = ["Housekeeper"]

logger = logging.getLogger(__name__)

_ROUND_S = 60.0
_UPLOAD_S = 300.0
"""So long may a file lie in the store before the row that keeps it is written: it is looked at first."""


class Housekeeper:
    """Deletes rows when told to or when they expire, and blobs after them."""

    def __init__(self, jobs: JobStore, removal: Removal, blobs: BlobStore, config: OrchestratorConfig) -> None:
        self._jobs, self._removal, self._blobs, self._config = jobs, removal, blobs, config
        self._doomed: set[str] = set()
        self._lock = threading.Lock()
        """Held by whoever reads or changes `_doomed`: requests to delete come on several threads."""

    async def run(self) -> None:
        """Keep house for ever."""
        swept_s = time.monotonic()
        while True:
            await asyncio.sleep(min(_ROUND_S, self._config.sweep_every_s))
            try:
                await asyncio.to_thread(self.expire)
                await asyncio.to_thread(self.clear)
                if time.monotonic() - swept_s >= self._config.sweep_every_s:
                    freed = await asyncio.to_thread(self.sweep)
                    logger.info("swept %d bytes", freed)
                    swept_s = time.monotonic()
            except Exception:
                logger.exception("a round of housekeeping failed; the next one tries again")

    def delete(self, remove: Callable[[str], set[str]], what: str) -> None:
        """Delete a job or a file now, and what it held as soon as nothing needs it."""
        self._doom(remove(what))
        self.clear()

    def _doom(self, sha256s: set[str]) -> None:
        with self._lock:
            self._doomed |= sha256s

    def delete_job(self, job_id: str) -> None:
        """See `Removal.delete_job`."""
        self.delete(self._removal.delete_job, job_id)

    def delete_asset(self, asset_id: str) -> None:
        """See `Removal.delete_asset`."""
        self.delete(self._removal.delete_asset, asset_id)

    def delete_everything(self) -> MediaDeletion:
        """See `Removal.delete_everything`."""
        deletion, gone = self._removal.delete_everything()
        self._doom(gone)
        self.clear()
        return deletion

    def drop(self, sha256: str) -> None:
        """Free what was stored for a request that was refused, unless somebody has it as well."""
        self._doom({sha256})

    def expire(self) -> None:
        """Delete finished jobs, plans nobody came back for, uploads, and what is left of sessions, once older than they may get."""
        if self._config.media_retention_s is None:
            return
        before_s = time.time() - self._config.media_retention_s
        forsaken = self._removal.forsaken(before_s)
        for job_id in forsaken:
            self._jobs.request_cancel(job_id)
        jobs, uploads = self._removal.expired(before_s)
        for remove, ids in ((self._removal.delete_job, [*forsaken, *jobs]), (self._removal.delete_asset, uploads)):
            for one in ids:
                try:
                    self._doom(remove(one))
                except SessionError as error:
                    logger.info("%s does not expire yet: %s", one, error)
        self._removal.delete_empty_sessions(before_s)

    def clear(self) -> int:
        """Free the blobs of what was deleted; those that are too young, or needed, wait for the next round."""
        with self._lock:
            if not self._doomed:
                return 0
            freed, kept = self._free(_UPLOAD_S, frozenset(self._doomed))
            self._doomed = {one for one in self._doomed - kept if self._blobs.path_of(one).exists()}
            return freed

    def sweep(self) -> int:
        """Free whatever nobody refers to; returns how many bytes that were."""
        return self._free(self._config.blob_retention_s)[0]

    def _free(self, least_s: float, only: frozenset[str] | None = None) -> tuple[int, set[str]]:
        """How many bytes became free, and the digests of what is kept."""
        # In this order: what a job that ends between the two lines has made is either too young or kept already.
        age_s = self._age_s(least_s)
        kept = self._jobs.kept_digests()
        return self._blobs.sweep(kept, age_s, only=only), kept

    def _age_s(self, least_s: float) -> float:
        oldest = self._jobs.oldest_open_s()
        return max(least_s, time.time() - oldest + 60.0 if oldest is not None else 0.0)
