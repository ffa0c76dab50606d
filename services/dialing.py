"""Calls to other servers that users name by URL: only URLs of allowed kinds, and only addresses that a policy allows.

A name is resolved once for each connection, what came out is checked, and the connection goes to just that address; TLS and the
`Host` header still speak of the name. So a name that answers differently the second time (DNS re-binding) gains nothing, and a
literal address, in whichever spelling, is checked as what it comes to. Proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, NamedTuple

import httpcore
import httpx

from vogue.schemas.errors import UrlRefused, UrlUnreachable

from .addresses import AddressPolicy, IPAddress, outside, public_only
from .outbound import OutboundConfig

__all__ = ["Answer", "Dialer", "Resolver", "check_url"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a host name, as text."""

_HOST = re.compile(rb"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
"""A name, in its ASCII form, or an address."""
_MAX_URL_CHARS = 4096
_MAX_ADDRESSES = 4
_CONNECT_S = 5.0
_NAMES = ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolve")
"""Of their own, so that names which take long to resolve keep no other work waiting."""


def check_url(text: str, rules: OutboundConfig, param: str | None = None) -> httpx.URL:
    """A URL of a kind that may be called. Its address is checked when it is connected to.

    Raises:
        UrlRefused: another scheme or port than is allowed, a host that is not listed, a name or password in it, or no URL at all.
    """
    shown = repr(text[:80])
    try:
        url = httpx.URL(text) if len(text) <= _MAX_URL_CHARS else None
    except (httpx.InvalidURL, ValueError):
        url = None
    if url is None or not _HOST.fullmatch(url.raw_host):
        raise UrlRefused(f"{shown} is not a URL that can be called", param=param)
    if url.scheme not in rules.schemes:
        raise UrlRefused(
            f"{url.scheme[:20]!r} is no scheme of URLs that this server calls: {' and '.join(rules.schemes)} only",
            param=param,
        )
    if url.userinfo:
        raise UrlRefused(f"the URL of {url.host!r} has a name or password in it, which is not sent", param=param)
    if _port_of(url) not in rules.ports:
        ports = ", ".join(map(str, rules.ports))
        raise UrlRefused(f"{shown} has port {_port_of(url)}; this server calls {ports} only", param=param)
    if rules.hosts and not any(_is_named(url.host, pattern) for pattern in rules.hosts):
        raise UrlRefused(f"{url.host[:80]!r} is not one of the hosts that this server calls", param=param)
    return url


def _port_of(url: httpx.URL) -> int:
    return url.port or {"http": 80, "https": 443}[url.scheme]


def _is_named(host: str, pattern: str) -> bool:
    host, pattern = host.lower().rstrip("."), pattern.lower()
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


class Answer(NamedTuple):
    """An answer whose body has not been read yet. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


class Dialer:
    """Makes connections that are checked.

    Args:
        rules: which URLs may be called, and which networks never.
        allows: which addresses may be connected to.
        resolve: finds the addresses of a name; by default the system does.
        tls: what certificates are checked against; by default those of well-known authorities.
        calls_itself: whether an address of this very machine may be connected to, if it is allowed; for tests.
    """

    def __init__(
        self,
        rules: OutboundConfig,
        allows: AddressPolicy = public_only,
        resolve: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        calls_itself: bool = False,
    ) -> None:
        self.rules = rules
        self._tls = tls or httpcore.default_ssl_context()
        self._backend = _CheckedBackend(
            outside(rules.blocked_networks, allows), resolve or _system_addresses, calls_itself
        )

    @asynccontextmanager
    async def call(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[Answer]:
        """Send one request over a connection of its own; redirects are not followed.

        Args:
            url: as `check_url` gave it.

        Raises:
            UrlRefused: the host leads to an address that is not allowed.
            UrlUnreachable: nobody answers, or not in HTTP.
        """
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=_port_of(url), target=url.raw_path or b"/")
        sent = [(b"host", url.netloc), *((name.encode(), value.encode()) for name, value in headers.items())]
        timeouts = {"connect": _CONNECT_S, "read": self.rules.timeout_s, "write": self.rules.timeout_s}
        try:
            async with (
                httpcore.AsyncConnectionPool(
                    ssl_context=self._tls, network_backend=self._backend, max_keepalive_connections=0
                ) as pool,
                pool.stream(method, target, headers=sent, content=content, extensions={"timeout": timeouts}) as answer,
            ):
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
                yield Answer(answer.status, told, answer.aiter_stream())
        except httpcore.TimeoutException as error:
            raise UrlUnreachable(f"{url.host!r} did not answer in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise UrlUnreachable(f"{url.host!r} could not be read: {error or type(error).__name__}") from error


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to the addresses of a name, once all of them have been found to be allowed."""

    def __init__(self, allows: AddressPolicy, resolve: Resolver, calls_itself: bool) -> None:
        self._allows = allows
        self._resolve = resolve
        self._calls_itself = calls_itself
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to an address that was checked.

        Raises:
            UrlRefused: one of the host's addresses is not allowed.
            UrlUnreachable: it has none.
        """
        last: Exception | None = None
        for address in (await self._checked(host, port))[:_MAX_ADDRESSES]:
            try:
                stream = await self._plain.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
                continue
            if not self._calls_itself and _is_this_machine(stream):
                await stream.aclose()
                raise _not_allowed(host)
            return stream
        raise last or UrlUnreachable(f"{host!r} has no address")

    async def _checked(self, host: str, port: int) -> list[IPAddress]:
        try:
            found = [ip_address(one) for one in dict.fromkeys(await self._resolve(host, port))]
        except (OSError, UnicodeError) as error:
            raise UrlUnreachable(f"the name {host[:80]!r} could not be resolved") from error
        # One bad address among good ones is how a name is made to lead inside at the second look.
        if not all(self._allows(address) for address in found):
            raise _not_allowed(host)
        return found


def _is_this_machine(stream: httpcore.AsyncNetworkStream) -> bool:
    """Whether both ends are here: a public address can be this machine's own, where more listens than is meant for strangers."""
    here, there = (stream.get_extra_info(end) for end in ("client_addr", "server_addr"))
    return bool(here[0] == there[0])


def _not_allowed(host: str) -> UrlRefused:
    # Which address it is would tell about names that only this server's network knows.
    return UrlRefused(f"{host[:80]!r} leads to an address that is not public; this server does not call it")


async def _system_addresses(host: str, port: int) -> Sequence[str]:
    """What the system's resolver answers, which also reads `127.1`, `0x7f000001` and `2130706433` as addresses."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_NAMES, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return [str(sockaddr[0]) for *_, sockaddr in found]
