"""Keys at rest. The database holds digests only: who reads it learns no key.

A key is 256 random bits, so nobody guesses one, a plain SHA-256 of it cannot be searched backwards, and looking it up by that digest
tells an attacker's stopwatch nothing of use. Slow password hashes are for secrets that people think of.
"""

from __future__ import annotations

import builtins
import hashlib
import re
import secrets
import sqlite3
import time

from vogue.schemas.access import Caller, KeyInfo, Scope
from vogue.schemas.errors import KeyInvalid, RequestInvalid

from ..database import Database, new_id

__all__ = ["KeyStore", "digest_of"]

_PREFIX = "vogue-"
_KEY = re.compile(r"vogue-[A-Za-z0-9_-]{43}")
_UNKNOWN = "the API key is unknown, revoked or expired; ask whoever runs this server for a new one"


def digest_of(key: str) -> str:
    """What is kept of a key.

    Raises:
        KeyInvalid: it does not look like one, so that nobody needs to look for it.
    """
    if _KEY.fullmatch(key) is None:
        raise KeyInvalid(_UNKNOWN)
    return hashlib.sha256(key.encode("ascii")).hexdigest()


class KeyStore:
    """The keys of one state directory. Calls are synchronous."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, scope: Scope, expires_at_s: float | None = None, like: str | None = None, adopt: bool = False
    ) -> tuple[KeyInfo, str]:
        """A new key, and its text, which is told this once.

        Args:
            like: the id of a key whose things this one shall see too, as when a key is replaced.
            adopt: give it what was made before the server asked for keys.

        Raises:
            RequestInvalid: there is no key `like`.
        """
        key_id, key = new_id("key"), _PREFIX + secrets.token_urlsafe(32)
        with self._database.transaction() as db:
            tenant = _row(db, like)["tenant"] if like is not None else new_id("tenant")
            db.execute(
                "INSERT INTO keys (id, digest, name, tenant, scope, created_at_s, expires_at_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key_id, digest_of(key), name, tenant, scope.value, time.time(), expires_at_s),
            )
            if adopt:
                for table in ("jobs", "assets", "sessions"):
                    db.execute(f"UPDATE {table} SET tenant = ? WHERE tenant IS NULL", (tenant,))
            return _info(_row(db, key_id)), key

    def list(self) -> builtins.list[KeyInfo]:
        """All keys, oldest first, revoked ones included."""
        with self._database.reading() as db:
            return [_info(row) for row in db.execute("SELECT * FROM keys ORDER BY created_at_s, id").fetchall()]

    def get(self, key_id: str) -> KeyInfo:
        """A key by its id."""
        with self._database.reading() as db:
            return _info(_row(db, key_id))

    def revoke(self, key_id: str) -> KeyInfo:
        """Make a key useless from now on. What it owns stays.

        Raises:
            RequestInvalid: there is none of that id.
        """
        with self._database.transaction() as db:
            _row(db, key_id)
            db.execute("UPDATE keys SET revoked_at_s = COALESCE(revoked_at_s, ?) WHERE id = ?", (time.time(), key_id))
            return _info(_row(db, key_id))

    def any_usable(self) -> bool:
        """Whether somebody could come in."""
        now_s = time.time()
        return any(
            one.revoked_at_s is None and (one.expires_at_s is None or one.expires_at_s > now_s) for one in self.list()
        )


def caller_of(db: sqlite3.Connection, digest: str) -> Caller:
    """Whose key has this digest.

    Raises:
        KeyInvalid: nobody's, or not any more.
    """
    row = db.execute("SELECT * FROM keys WHERE digest = ?", (digest,)).fetchone()
    if row is None or row["revoked_at_s"] is not None:
        raise KeyInvalid(_UNKNOWN)
    if row["expires_at_s"] is not None and row["expires_at_s"] <= time.time():
        raise KeyInvalid(_UNKNOWN)
    return Caller(tenant=row["tenant"], key_id=row["id"], scope=Scope(row["scope"]))


def _row(db: sqlite3.Connection, key_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM keys WHERE id = ?", (key_id,)).fetchone()
    if row is None:
        raise RequestInvalid(f"no key has the id {key_id!r}; `vogue keys list` shows them", param="key")
    return row


def _info(row: sqlite3.Row) -> KeyInfo:
    return KeyInfo(
        id=row["id"],
        name=row["name"],
        tenant=row["tenant"],
        scope=Scope(row["scope"]),
        created_at_s=row["created_at_s"],
        expires_at_s=row["expires_at_s"],
        revoked_at_s=row["revoked_at_s"],
    )
