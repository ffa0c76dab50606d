"""What travels with a call to the other process: on whose behalf it is made, and for which job, so that logs there can name it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from vogue.schemas.access import Caller

from .callers import become, current_caller
from .logs import JOB

__all__ = ["carried", "receiving"]

_RECEIVES = "__receives_what_is_carried__"


def carried() -> dict[str, Any]:
    """What a call takes along, by keyword."""
    return {"called_for": JOB.get(), "called_by": current_caller()}


def receiving(shell: type) -> None:
    """Let all public calls of a deployment take what is carried, before they begin."""
    for name in dir(shell):
        method = getattr(shell, name)
        # A base class has done its own part already.
        if not name.startswith("_") and inspect.isfunction(method) and not hasattr(method, _RECEIVES):
            if inspect.isasyncgenfunction(method):
                method = _stream(method)
            elif inspect.iscoroutinefunction(method):
                method = _call(method)
            else:
                continue
            setattr(method, _RECEIVES, True)
            setattr(shell, name, method)


def _call(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(
        self: Any, *args: Any, called_for: str | None = None, called_by: Caller | None = None, **named: Any
    ) -> Any:
        # Each call is a task of its own, and so is its context.
        JOB.set(called_for)
        become(called_by)
        return await method(self, *args, **named)

    return call


def _stream(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def stream(
        self: Any, *args: Any, called_for: str | None = None, called_by: Caller | None = None, **named: Any
    ) -> AsyncIterator[Any]:
        JOB.set(called_for)
        become(called_by)
        async for item in method(self, *args, **named):
            yield item

    return stream
