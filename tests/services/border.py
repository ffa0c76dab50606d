"""A border between two processes, without processes: what crosses is pickled, and nothing else does, least of all context variables."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
from collections.abc import AsyncIterator
from typing import Any

from vogue.services.orchestrator import OrchestratorService

__all__ = ["remote_orchestrator"]


def _crossed(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


class _Method:
    """A deployment's method as a handle offers it."""

    def __init__(self, method: Any, stream: bool) -> None:
        self._method, self._stream = method, stream

    def remote(self, *args: Any, **named: Any) -> Any:
        """Call it over there."""
        args, named = _crossed((args, named))
        there = contextvars.Context()  # another process knows nothing of this one's
        return self._items(there, args, named) if self._stream else self._answer(there, args, named)

    async def _answer(self, there: contextvars.Context, args: Any, named: Any) -> Any:
        try:
            return _crossed(await asyncio.get_running_loop().create_task(self._method(*args, **named), context=there))
        except Exception as error:
            raise _crossed(error) from None

    async def _items(self, there: contextvars.Context, args: Any, named: Any) -> AsyncIterator[Any]:
        items = there.run(self._method, *args, **named)
        while True:
            try:
                item = await asyncio.get_running_loop().create_task(_next(items), context=there)
            except Exception as error:
                raise _crossed(error) from None
            if item is None:
                return
            yield _crossed(item)


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, None)


class _Handle:
    def __init__(self, replica: Any, stream: bool = False) -> None:
        self._replica, self._stream = replica, stream

    def options(self, *, stream: bool = False, session_id: str = "") -> _Handle:
        """As Serve's."""
        return _Handle(self._replica, stream)

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self._replica, name), self._stream)


def remote_orchestrator(service: OrchestratorService) -> Any:
    """The gateway's end of the port, and at the other end the deployment's own methods over a service."""
    from vogue.services.deployments import OrchestratorDeployment
    from vogue.services.remote_orchestrator import RemoteOrchestrator

    class Replica(OrchestratorDeployment):
        """The deployment without its start, which builds a service of its own, and its end."""

        def __init__(self) -> None:
            self._service, self._sessions = service, service.sessions

        def __del__(self) -> None:  # type: ignore[override]
            """The service is somebody else's."""

    handle: Any = _Handle(Replica())
    return RemoteOrchestrator(handle, "orchestrator")
