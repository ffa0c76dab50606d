"""On whose behalf the code runs: the gateway says it once for each request, and every query of an owner's things asks it here.

It is a context variable and no argument, so that a new route or a new method cannot forget to pass it on: the queries themselves
look. Code that nobody called, such as a worker with its lease or the housekeeper, has no caller and is held to nothing. Threads
started by `asyncio.to_thread` and tasks started within a request inherit it; other processes get it with each call (`remote.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from vogue.schemas.access import Caller

__all__ = ["ANYBODY", "NOBODY", "acting_for", "become", "current_caller", "current_tenant", "own"]

ANYBODY = Caller()
"""Who asks a server without keys."""
NOBODY = Caller(tenant="nobody")
"""Who asks for what needs no key on a server with keys: no row has this tenant, for ids of tenants are random."""

_CALLER: ContextVar[Caller | None] = ContextVar("vogue_caller", default=None)


@contextmanager
def acting_for(caller: Caller | None) -> Iterator[None]:
    """Run the block on behalf of somebody."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)


def become(caller: Caller | None) -> None:
    """Act on behalf of somebody from now on, in a task that does nothing else."""
    _CALLER.set(caller)


def current_caller() -> Caller | None:
    """Who is being served; None outside of requests."""
    return _CALLER.get()


def current_tenant() -> str | None:
    """Whose things are being asked for, and to whom new ones will belong; None where everything is."""
    caller = _CALLER.get()
    return caller.tenant if caller is not None else None


def own(column: str = "tenant") -> tuple[str, tuple[str, ...]]:
    """A clause for WHERE that keeps to what the caller owns, and its values."""
    tenant = current_tenant()
    return ("1", ()) if tenant is None else (f"{column} = ?", (tenant,))
