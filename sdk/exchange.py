"""One exchange with the server: typed answers, typed errors, and another try where that is safe.

It knows nothing about jobs or media, only how VOGUE speaks HTTP.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import IO, Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from vogue.schemas.errors import RequestInvalid, ServiceError, ServiceTimeout, VogueError, WireError, error_from_body

from .retry import Retry, asked_delay_s
from .transport import Streamed, Transport

__all__ = [
    "DEFAULT_SERVER",
    "Exchange",
    "FileOpener",
    "answer_error",
    "auth_headers",
    "read_as",
    "server_url",
    "trusts_proxies",
]

DEFAULT_SERVER = "http://127.0.0.1:8000"
# Errors of a connection that was never made: the server has not seen the request.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

M = TypeVar("M", bound=BaseModel)
FileOpener = Callable[[], AbstractContextManager[tuple[str, IO[bytes]]]]
"""Opens a file as its name and content."""


def server_url(given: str | None) -> str:
    """The server to talk to: the given URL, else `$VOGUE_SERVER`, else this machine's port 8000."""
    return (given or os.environ.get("VOGUE_SERVER") or DEFAULT_SERVER).rstrip("/")


def auth_headers(api_key: str | None) -> dict[str, str]:
    """What tells the server who asks: the given key, else `$VOGUE_API_KEY`; nothing where neither is, or it is empty.

    Raises:
        RequestInvalid: what was given cannot be a key.
    """
    key = (api_key if api_key is not None else os.environ.get("VOGUE_API_KEY", "")).strip()
    # The message keeps the key to itself, and the header would not survive such characters.
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise RequestInvalid("the API key holds characters that no key has; copy it again", param="api_key")
    return {"authorization": f"Bearer {key}"} if key else {}


def trusts_proxies(server: str) -> bool:
    """Whether `HTTP_PROXY` and its like apply: never to this very machine, where a proxy cannot reach."""
    host = httpx.URL(server).host
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


class Exchange:
    """Calls over a transport.

    Args:
        server: its URL, for messages.
        retry: how often to try what may work the next time.
    """

    def __init__(self, transport: Transport, server: str, retry: Retry) -> None:
        self.transport = transport
        self.server = server
        self.retry = retry

    async def call(
        self, method: str, path: str, *, repeatable: bool = True, file: FileOpener | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request; read an answer that is not an error.

        Args:
            repeatable: whether the server may see the request twice. If not, it is sent again only when it was surely refused.
            file: opens what goes into the multipart field `file`, anew for each try.
            options: httpx's.

        Raises:
            VogueError: what the server says, or that it cannot be reached.
        """
        tries = 0
        while True:
            tries += 1
            try:
                with nullcontext() if file is None else file() as opened:
                    files = None if opened is None else {"file": opened}
                    request = self.transport.build(method, path, files=files, **options)
                    response = await self.transport.send(request)
                if response.is_success:
                    return response
                error = answer_error(response, response.content)
                # A 503 may also come from a server that died after it had done what was asked.
                may_repeat = error.retryable and (repeatable or response.status_code == 429)
            except httpx.TransportError as fault:
                error = self.connection_error(fault)
                may_repeat = repeatable or isinstance(fault, _UNSENT)
            delay_s = self.retry.delay_s(tries, error) if may_repeat else None
            if delay_s is None:
                raise error
            await self.transport.sleep(delay_s)

    async def fetch(self, contract: type[M], method: str, path: str, **options: Any) -> M:
        """`call`, and the answer as a contract."""
        return read_as(contract, (await self.call(method, path, **options)).content)

    @asynccontextmanager
    async def stream(self, path: str, headers: dict[str, str], read_timeout_s: float | None) -> AsyncIterator[Streamed]:
        """GET an answer in pieces, without trying again: only the caller knows where to go on.

        Raises:
            VogueError: what the server says. Connection errors stay httpx's own.
        """
        timeout = httpx.Timeout(10.0, read=read_timeout_s)
        async with self.transport.stream(self.transport.build("GET", path, headers=headers, timeout=timeout)) as answer:
            if not answer.head.is_success:
                raise answer_error(answer.head, await answer.read())
            yield answer

    def connection_error(self, fault: httpx.TransportError) -> VogueError:
        """A connection's failure in words that help."""
        if isinstance(fault, _UNSENT):
            return ServiceError(
                f"no VOGUE server answers at {self.server}: start one with `vogue serve`, or name another as VOGUE_SERVER"
            )
        if isinstance(fault, httpx.TimeoutException):
            return ServiceTimeout(f"the server at {self.server} did not answer in time")
        return ServiceError(f"the connection to {self.server} broke: {fault or type(fault).__name__}")


def answer_error(response: httpx.Response, content: bytes) -> VogueError:
    """The typed error of an answer, also when something other than VOGUE wrote it."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        shown = content[:200].decode("utf-8", "replace").strip() or response.reason_phrase
        body = {"error": {"message": f"{response.request.url} answered {response.status_code}: {shown}"}}
    error = error_from_body(body, response.status_code)
    if error.retry_after_s is None:
        error.retry_after_s = asked_delay_s(response.headers)
    return error


def read_as(contract: type[M], content: bytes | str) -> M:
    """An answer as a contract.

    Raises:
        WireError: the server speaks other words than this client.
    """
    try:
        return contract.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the answer"
        raise WireError(
            f"the server's answer is not a {contract.__name__} as this client knows it ({where}: {fault['msg']});"
            " is one of the two older than the other?"
        ) from error
