"""A web server of this machine, and connections that may lead there: by an address policy that is injected, and by nothing else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from vogue.services.addresses import IPAddress, public_only
from vogue.services.dialing import Dialer
from vogue.services.outbound import OutboundConfig

HERE = ip_address("127.0.0.1")


class Call(NamedTuple):
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """What is answered: the head, then pieces of a body, then silence or the end of the connection."""

    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    pieces: Sequence[bytes] = ()
    hangs: bool = False


@dataclass
class Web:
    """A server, what it answers at each path, and what it was asked."""

    url: str = ""
    port: int = 0
    replies: dict[str, Reply | list[Reply]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """The names that TLS was asked for."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ", 2)
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name != ""
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.calls.append(Call(method, target, headers, body))
            found = self.replies.get(target.partition("?")[0], Reply(404))
            reply = (found.pop(0) if len(found) > 1 else found[0]) if isinstance(found, list) else found
            lines = [f"HTTP/1.1 {reply.status} as told", *(f"{name}: {value}" for name, value in reply.headers.items())]
            writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))
            for piece in reply.pieces:
                writer.write(piece)
                await writer.drain()
            self.heard.set()
            if reply.hangs:
                await reader.read()  # until the caller gives up
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """Plain HTTP on a port of 127.0.0.1, whose name is media.test."""
    served = Web()
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    served.url = f"http://media.test:{served.port}"
    async with server:
        yield served


def allows_here(address: IPAddress) -> bool:
    """The test-only policy: 127.0.0.1 beside the public internet, and no other address of this machine."""
    return address == HERE or public_only(address)


def names(known: dict[str, list[str]]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A resolver that knows these names; of a literal address it says the address."""

    async def resolve(host: str, _: int) -> list[str]:
        if host in known:
            return known[host]
        try:
            return [str(ip_address(host))]
        except ValueError as error:
            raise OSError(f"no such name: {host}") from error

    return resolve


@pytest.fixture
def dial() -> Callable[..., Dialer]:
    """A dialer for which media.test is 127.0.0.1."""

    def made(rules: OutboundConfig, **options: Any) -> Dialer:
        defaults = {"allows": allows_here, "resolve": names({"media.test": ["127.0.0.1"]}), "calls_itself": True}
        return Dialer(rules, **(defaults | options))

    return made


@pytest.fixture
def resolving() -> Callable[..., Any]:
    """Makes resolvers."""
    return names


@pytest.fixture
def reply() -> type[Reply]:
    """Makes answers."""
    return Reply
