"""Calls over Ray Serve handles: each goes to another process, and comes back as a value or a typed error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from vogue.schemas.errors import EngineError, ServiceError, ServiceOverloaded, VogueError

from .callers import current_caller
from .carrying import carried

__all__ = ["OwnersRemote", "Remote", "is_ready"]

_READY_S = 3.0


def _typed(error: Exception, service: str) -> Exception:
    """What a handle raised, as an error of ours."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, VogueError):
        return cause
    if isinstance(cause, TaskCancelledError | asyncio.CancelledError):
        return ServiceError(f"a call to the {service} service was cancelled")
    if isinstance(cause, BackPressureError):
        return ServiceOverloaded(f"the {service} service has too many calls waiting", retry_after_s=2.0)
    if isinstance(cause, RayActorError | DeploymentUnavailableError | RayServeException | RayError):
        return ServiceError(f"the {service} service died or cannot be reached; it is being started again")
    return EngineError(f"the {service} service failed: {type(cause).__name__}: {cause}")


class Remote:
    """Calls and streams by name."""

    def __init__(self, handle: DeploymentHandle[Any], service: str) -> None:
        self._handle = handle
        self._service = service

    async def _call(self, method: str, *args: Any, session_id: str = "") -> Any:
        try:
            return await getattr(self._handle.options(session_id=session_id), method).remote(*args, **carried())
        except Exception as error:
            raise _typed(error, self._service) from error

    async def _stream(self, method: str, *args: Any, session_id: str = "") -> AsyncIterator[Any]:
        try:
            handle = self._handle.options(stream=True, session_id=session_id)
            async for item in getattr(handle, method).remote(*args, **carried()):
                yield item
        except Exception as error:
            raise _typed(error, self._service) from error


class OwnersRemote(Remote):
    """Calls that answer what an owner may see. One that is made on nobody's behalf would show all there is, so it is not made."""

    async def _call(self, method: str, *args: Any, session_id: str = "") -> Any:
        _check_caller(method)
        return await super()._call(method, *args, session_id=session_id)

    async def _stream(self, method: str, *args: Any, session_id: str = "") -> AsyncIterator[Any]:
        _check_caller(method)
        async for item in super()._stream(method, *args, session_id=session_id):
            yield item


def _check_caller(method: str) -> None:
    if current_caller() is None:
        raise VogueError(f"{method} was called on nobody's behalf: run it within `acting_for` (services/callers.py)")


async def is_ready(handle: DeploymentHandle[Any]) -> bool:
    """Whether a replica answers soon."""
    try:
        async with asyncio.timeout(_READY_S):
            await handle.ready.remote()
    except Exception:
        return False
    return True
