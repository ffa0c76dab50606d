"""The job that a call is made for travels with it to the other process, so that logs there can name it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from .logs import JOB

__all__ = ["carried", "receiving"]

_RECEIVES = "__receives_what_is_carried__"


def carried() -> dict[str, Any]:
    """What a call takes along, by keyword."""
    return {"called_for": JOB.get()}


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
    async def call(self: Any, *args: Any, called_for: str | None = None, **named: Any) -> Any:
        # Each call is a task of its own, and so is its context.
        JOB.set(called_for)
        return await method(self, *args, **named)

    return call


def _stream(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def stream(self: Any, *args: Any, called_for: str | None = None, **named: Any) -> AsyncIterator[Any]:
        JOB.set(called_for)
        async for item in method(self, *args, **named):
            yield item

    return stream
