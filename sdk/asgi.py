"""A transport to an ASGI application in this very process. Answers arrive as they are made, event streams included.

httpx brings one too, but hands an answer over only when it is complete; a job's events would all come at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

__all__ = ["App", "AppTransport", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PIECES = 16
"""How far an application may run ahead of whoever reads its answer."""


class AppTransport(httpx.AsyncBaseTransport):
    """Calls an application instead of a server.

    Args:
        headers: sent with every request, in place of what the request says.
    """

    def __init__(self, app: App, headers: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._headers = dict(headers or {})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`.

        Raises:
            httpx.ReadError: the application fell over before it answered.
            httpx.ReadTimeout: it did not begin to answer within the request's read timeout.
        """
        request.headers.update(self._headers)
        exchange = _Exchange(request)

        async def answer() -> None:
            await self._app(_scope(request), exchange.receive, exchange.send)

        exchange.task = asyncio.create_task(answer())
        exchange.task.add_done_callback(exchange.ended)
        try:
            async with exchange.patience():
                await exchange.started.wait()
        except (asyncio.CancelledError, httpx.ReadTimeout):
            await exchange.aclose()
            raise
        if exchange.status is None:
            await exchange.aclose()
            raise httpx.ReadError(f"{request.url.path}: the application ended without an answer")
        return httpx.Response(exchange.status, headers=exchange.headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request on its way in and its answer on its way out."""

    task: asyncio.Task[None]

    def __init__(self, request: httpx.Request) -> None:
        self._body = aiter(request.stream) if isinstance(request.stream, httpx.AsyncByteStream) else None
        self._read_timeout_s: float | None = request.extensions.get("timeout", {}).get("read")
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_PIECES)
        self._left = asyncio.Event()
        self._complete = False
        self.started = asyncio.Event()
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []

    @asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """Wait within the block no longer than the request's read timeout.

        Raises:
            httpx.ReadTimeout: it is over.
        """
        try:
            async with asyncio.timeout(self._read_timeout_s):
                yield
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"nothing came for {self._read_timeout_s:g} s") from error

    async def receive(self) -> Message:
        """The next piece of the request, then word that the client has left."""
        if self._body is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        piece = await anext(self._body, None)
        if piece is None:
            self._body = None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(self, message: Message) -> None:
        """The next piece of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
            self.started.set()
        elif message["type"] == "http.response.body":
            if message.get("body"):
                await self._pieces.put(message["body"])
            if not message.get("more_body", False):
                self._complete = True
                await self._pieces.put(None)

    def ended(self, task: asyncio.Task[None]) -> None:
        """The application is through; whoever waits for more must not wait forever."""
        if not task.cancelled():
            task.exception()  # it is the application's to report
        self.started.set()
        if not self._complete:
            with suppress(asyncio.QueueFull):
                self._pieces.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not (self.task.done() and self._pieces.empty()):
            async with self.patience():
                piece = await self._pieces.get()
            if piece is None:
                break
            yield piece
        if not self._complete:
            raise httpx.ReadError("the application broke off in the middle of its answer")

    async def aclose(self) -> None:
        """Leave; an application that is still at work is stopped."""
        self._left.set()
        while not self._pieces.empty():
            self._pieces.get_nowait()
        if not self._complete:
            self.task.cancel()
        await asyncio.wait({self.task})


def _scope(request: httpx.Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 0),
        "server": (request.url.host, request.url.port or 80),
    }
