"""LangGraph's checkpoints under a lease: the flow's own progress is fenced as all else that a worker writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from .database import Database, connect
from .leases import Lease, check_lease

__all__ = ["FencedSaver"]


class FencedSaver(SqliteSaver):
    """LangGraph's SQLite checkpoints for one lease, in the file that holds the jobs.

    The stock saver writes for whoever asks. This one checks the lease inside each writing transaction, restores nothing but
    plain values, and runs its calls on threads.
    """

    def __init__(self, database: Database, lease: Lease) -> None:
        super().__init__(connect(database.path), serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._lease = lease

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor; a writing one is a transaction of its own, open only to the present lease."""
        with self.lock:
            self.setup()
            cursor = self.conn.cursor()
            try:
                if transaction:
                    cursor.execute("BEGIN IMMEDIATE")
                    # The flow's own last checkpoint comes after the end that it tells of.
                    check_lease(self.conn, self._lease, also_over=True)
                yield cursor
                if transaction:
                    cursor.execute("COMMIT")
            finally:
                if self.conn.in_transaction:
                    cursor.execute("ROLLBACK")
                cursor.close()

    def close(self) -> None:
        """Release the file."""
        with self.lock:
            self.conn.close()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`."""
        for found in await asyncio.to_thread(
            lambda: list(self.list(config, filter=filter, before=before, limit=limit))
        ):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`."""
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)
