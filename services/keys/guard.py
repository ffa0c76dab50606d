"""The door of the gateway: who comes in, and on whose behalf everything behind it runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from vogue.schemas.access import Caller, Knock, Scope, TenantLimits
from vogue.schemas.errors import KeyInvalid, ServiceOverloaded, VogueError

from ..callers import ANYBODY, NOBODY, acting_for
from ..http_errors import error_response
from .store import digest_of

__all__ = ["Admit", "KeyGuard", "needs"]

Admit = Callable[[Knock], Awaitable[Caller]]

_OPEN = re.compile(r"/healthz|/readyz|/studio(/.*)?")
"""What probes and a browser ask for before anybody could give them a key. None of it says what anybody owns."""
_ADMIN = ("/v1/counters", "/metrics")
"""About the server as a whole, all tenants together."""
_CARRIERS = ("/mcp",)
"""Requests there become others to the same gateway, with the same key: those are counted, and need the scope for what they do."""
_POLICY_VIOLATION = 1008
_READING = ("GET", "HEAD", "OPTIONS")
_NO_KEY = (
    "this server asks for an API key: send the header `Authorization: Bearer KEY`, set VOGUE_API_KEY for VOGUE's own clients,"
    " or api_key for OpenAI's; whoever runs the server makes keys with `vogue keys create`"
)


def needs(method: str, path: str) -> Scope | None:
    """The scope that a request needs; None if no key is asked for."""
    if method in ("GET", "HEAD") and _OPEN.fullmatch(path):
        return None
    if path in _ADMIN:
        return Scope.ADMIN
    return Scope.READ if method in _READING or path in _CARRIERS else Scope.WRITE


class KeyGuard:
    """Lets requests with a good key in, and runs what follows on behalf of its tenant.

    Args:
        admit: knows the keys; without it, anybody may come in and sees all there is.
    """

    def __init__(self, app: ASGIApp, admit: Admit | None, limits: TenantLimits) -> None:
        self._app = app
        self._admit = admit
        # Per replica and in memory, unlike all other limits: a connection lives and dies with the process that holds it, and so
        # must the count, which a database would keep after a crash. With n replicas a tenant has n times as many.
        self._open: Counter[str] = Counter()
        self._most_open = limits.max_connections

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self._admit is not None:
            # No route speaks it. One that will has to say here how it sends a key.
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
            tenant = caller.tenant or ""
            if caller.key_id is not None and self._open[tenant] >= self._most_open:
                raise ServiceOverloaded(
                    f"{self._most_open} requests with this key are being answered already; wait for one of them, or use one"
                    " event stream in place of many",
                    retry_after_s=1.0,
                )
        except VogueError as error:
            await error_response(error)(scope, receive, send)
            return
        self._open[tenant] += 1
        try:
            with acting_for(caller):
                await self._app(scope, receive, send)
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]

    async def _caller(self, scope: Connection) -> Caller:
        if self._admit is None:
            return ANYBODY
        # Below a prefix, as the router reads it.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        wanted = needs(scope["method"], path)
        if wanted is None:
            return NOBODY
        headers = Headers(scope=scope)
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise KeyInvalid(_NO_KEY)
        length = headers.get("content-length", "")
        return await self._admit(
            Knock(
                digest=digest_of(key.strip()),
                scope=wanted,
                num_bytes=int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0,
                counted=path not in _CARRIERS,
            )
        )
