"""Bytes to and from the server, over httpx: one interface, a blocking and an asynchronous form.

The client is written once, as coroutines over `Transport`. `BlockingTransport` never suspends, so `run` can carry such a coroutine
to its end without an event loop; that is all it takes to offer the same client to programs that know nothing of asyncio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

import httpx

__all__ = ["AsyncTransport", "BlockingTransport", "Streamed", "Transport", "iterate", "run"]

T = TypeVar("T")


class Streamed(Protocol):
    """An answer whose body has not been read yet."""

    @property
    def head(self) -> httpx.Response:
        """Status and headers."""
        ...

    async def read(self) -> bytes:
        """The whole body."""
        ...

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives."""
        ...


class Transport(Protocol):
    """What the client needs of a connection. All methods raise httpx's transport errors as they are."""

    def build(self, method: str, path: str, **options: Any) -> httpx.Request:
        """A request to the server; `options` are httpx's."""
        ...

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the answer."""
        ...

    def stream(self, request: httpx.Request) -> AbstractAsyncContextManager[Streamed]:
        """Send a request and leave the body to be read in pieces."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class _BlockingStream:
    def __init__(self, head: httpx.Response) -> None:
        self.head = head

    async def read(self) -> bytes:
        return self.head.read()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for chunk in self.head.iter_bytes():
            yield chunk


class BlockingTransport:
    """A transport whose coroutines never suspend."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def build(self, method: str, path: str, **options: Any) -> httpx.Request:
        """See `Transport`."""
        return self._client.build_request(method, path, **options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `Transport`."""
        return self._client.send(request)

    @asynccontextmanager
    async def stream(self, request: httpx.Request) -> AsyncIterator[Streamed]:
        """See `Transport`."""
        response = self._client.send(request, stream=True)
        try:
            yield _BlockingStream(response)
        finally:
            response.close()

    async def sleep(self, delay_s: float) -> None:
        """See `Transport`."""
        time.sleep(delay_s)

    async def close(self) -> None:
        """See `Transport`."""
        self._client.close()


class _AsyncStream:
    def __init__(self, head: httpx.Response) -> None:
        self.head = head

    async def read(self) -> bytes:
        return await self.head.aread()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self.head.aiter_bytes():
            yield chunk


class AsyncTransport:
    """A transport for programs with an event loop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    def build(self, method: str, path: str, **options: Any) -> httpx.Request:
        """See `Transport`."""
        return self._client.build_request(method, path, **options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """See `Transport`."""
        return await self._client.send(request)

    @asynccontextmanager
    async def stream(self, request: httpx.Request) -> AsyncIterator[Streamed]:
        """See `Transport`."""
        response = await self._client.send(request, stream=True)
        try:
            yield _AsyncStream(response)
        finally:
            await response.aclose()

    async def sleep(self, delay_s: float) -> None:
        """See `Transport`."""
        await asyncio.sleep(delay_s)

    async def close(self) -> None:
        """See `Transport`."""
        await self._client.aclose()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry a coroutine over a `BlockingTransport` to its end.

    Raises:
        RuntimeError: the coroutine waits for an event loop.
    """
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("this coroutine suspends, so it needs AsyncVogue and an event loop")


def iterate(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an asynchronous generator over a `BlockingTransport`, one by one."""

    async def following() -> T:
        return await anext(items)

    try:
        while True:
            try:
                item = run(following())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
