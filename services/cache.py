"""The action cache: what an operation made of its inputs, so that asking again is a lookup.

A key names everything that decides the result. The first writer wins, so that all readers see one result. An entry
whose blobs were swept counts as absent and is replaced.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from vogue.schemas.base import Contract
from vogue.schemas.references import Artifact, TensorRef
from vogue.schemas.stages import ActionCount

from .blobs import BlobStore
from .metrics import CACHE_LOOKUPS, operation

__all__ = ["ActionCache", "ActionKey", "code_version", "digests"]

M = TypeVar("M", bound=BaseModel)


class ActionKey(Contract):
    """Everything that decides an operation's result. `parameters` is JSON; `inputs` are digests in order."""

    operation: str
    code: str
    weights: str
    engine: str
    dtype: str
    parameters: dict[str, Any]
    inputs: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class ActionCache:
    """Results by key, in one SQLite file that several processes share."""

    def __init__(self, path: Path, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        # A lost entry costs a second computation, nothing else, so commits need not reach the disk.
        self._db.executescript(
            """
            PRAGMA journal_mode=WAL;
            PRAGMA synchronous=OFF;
            CREATE TABLE IF NOT EXISTS actions (key TEXT PRIMARY KEY, result TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS counts (
                operation TEXT PRIMARY KEY, computed INTEGER NOT NULL DEFAULT 0, reused INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            """
        )

    async def run(self, key: ActionKey, contract: type[M], compute: Callable[[], Awaitable[M]]) -> M:
        """The stored result of `key`, else what `compute` gives, stored for the next one who asks. Either is counted."""
        found = self.get(key, contract)
        self._count(key.operation, reused=found is not None)
        if found is not None:
            return found
        with operation(key.operation):
            return self.put(key, await compute())

    def run_here(self, key: ActionKey, contract: type[M], compute: Callable[[], M]) -> M:
        """As `run`, for a caller that is on a thread of its own."""
        found = self.get(key, contract)
        self._count(key.operation, reused=found is not None)
        if found is not None:
            return found
        with operation(key.operation):
            return self.put(key, compute())

    def counts(self) -> list[ActionCount]:
        """How often each operation was computed and how often looked up, since the state directory was made."""
        with self._lock:
            rows = self._db.execute("SELECT operation, computed, reused FROM counts ORDER BY operation").fetchall()
        return [ActionCount(operation=name, computed=computed, reused=reused) for name, computed, reused in rows]

    def _count(self, operation_name: str, *, reused: bool) -> None:
        column = "reused" if reused else "computed"
        CACHE_LOOKUPS.add(operation=operation_name, outcome=column)
        with self._lock:
            self._db.execute(
                f"INSERT INTO counts (operation, {column}) VALUES (?, 1)"
                f" ON CONFLICT (operation) DO UPDATE SET {column} = {column} + 1",
                (operation_name,),
            )

    def get(self, key: ActionKey, contract: type[M]) -> M | None:
        """The stored result, if all its blobs are still there."""
        with self._lock:
            row = self._db.execute("SELECT result FROM actions WHERE key = ?", (key.digest(),)).fetchone()
        if row is None:
            return None
        result = contract.model_validate_json(row[0])
        if all(self._blobs.has(sha256) for sha256 in digests(result)):
            return result
        with self._lock:
            # Only the entry that was read: somebody else may have replaced it meanwhile.
            self._db.execute("DELETE FROM actions WHERE key = ? AND result = ?", (key.digest(), row[0]))
        return None

    def put(self, key: ActionKey, result: M) -> M:
        """Store a result unless another is there already; returns the one that stays."""
        with self._lock:
            self._db.execute(
                "INSERT INTO actions VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
                (key.digest(), result.model_dump_json()),
            )
        return self.get(key, type(result)) or result

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


def digests(value: Any) -> Iterator[str]:
    """Every digest that a contract refers to, however deep."""
    if isinstance(value, TensorRef | Artifact):
        yield value.sha256
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from digests(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from digests(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from digests(item)


@cache
def code_version() -> str:
    """SHA-256 over the sources of the engines: results of other code are not ours."""
    total = hashlib.sha256()
    for path in sorted(Path(str(resources.files("vogue.engines"))).rglob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
