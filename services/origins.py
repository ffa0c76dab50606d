"""Whose requests are answered: those of programs, and of pages that belong here.

A local server asks for no key, so what a browser can be made to send would be done. A page of another site may reach a local server
by DNS rebinding, which shows in `Host`, or by a plain form, which shows in `Origin` and `Sec-Fetch-Site`. Programs send neither of
the latter two. Pages of listed origins may; their browser is told so (CORS) by Starlette's own middleware.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from vogue.schemas.errors import RequestInvalid

__all__ = ["LOOPBACK", "OriginGuard"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_READING = ("GET", "HEAD", "OPTIONS")
# Probes of a cluster call a server by an address that nobody can list, and learn nothing here.
_PROBED = ("/healthz", "/readyz")
_NETLOC = re.compile(r"(\[[0-9a-f:.]+\]|[^:/@\[\]]+)(?::\d{1,5})?")


class OriginGuard:
    """Refuses requests for a name that is not ours (421) and those sent for another site (403), before anything reads them.

    Args:
        hosts: names under which the server is reached beside this machine's own.
        origins: other sites whose pages may use it.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._names = frozenset(name.lower() for name in (*LOOPBACK, *hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refused is None else refused)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if scope["path"] not in _PROBED and not self._is_ours(host):
            return _answer(
                421, f"this server is not called {host[:80]!r}; list the name as hosts in serve_config.yaml", "host"
            )
        if origin in self._origins:
            return None
        if origin is not None:
            scheme, _, netloc = origin.partition("://")
            if scheme not in ("http", "https") or not self._is_ours(netloc):
                return _answer(403, f"pages of {origin[:80]!r} may not use this server", "origin")
        elif headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in _READING:
            return _answer(403, "pages of other sites may not use this server", "sec-fetch-site")
        return None

    def _is_ours(self, netloc: str) -> bool:
        parts = _NETLOC.fullmatch(netloc.lower())
        return parts is not None and parts[1] in self._names


def _answer(status: int, why: str, header: str) -> JSONResponse:
    error = RequestInvalid(why, param=header)
    return JSONResponse(error.body(), status_code=status, headers={"x-should-retry": "false"})
