"""The MCP server as a part of the gateway. The gateway finds it by the entry-point group `vogue.doors` and imports nothing of it.

The tools speak to the gateway's own application inside the process, with the `authorization` header of whoever called: the gateway
checks its key again for each of them, and they see what that key sees. Each HTTP request gets a session manager of its own: nothing
is shared between requests, so there is nothing to start, to stop or to share among replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings

from vogue.asgi import App, AppTransport, Receive, Scope, Send
from vogue.asynchronous import AsyncVogue
from vogue.retry import Retry
from vogue.schemas.errors import ServiceError

from .server import Caller, build_server

__all__ = ["open_door"]

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MAX_BODY_BYTES = 1024 * 1024
# Of a caller's headers, what its inner calls are made with.
_PASSED_ON = ("authorization",)


def open_door(app: App, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> App:
    """The ASGI application for one path of the gateway.

    Args:
        app: the gateway, whose HTTP interface the tools use.
        hosts: names under which it is reached beside this machine's own. Requests for any other name are refused, and so are
            requests that a browser sends on behalf of another site: a page must not reach a local server by DNS rebinding.
        origins: other sites whose pages may use it all the same.
    """
    names = (*_LOOPBACK, *hosts)
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[form for name in names for form in (name, f"{name}:*")],
        allowed_origins=[
            f"{scheme}://{form}" for scheme in ("http", "https") for name in names for form in (name, f"{name}:*")
        ]
        + list(origins),
    )

    def connect(caller: Caller | None) -> AsyncVogue:
        if caller is None:
            raise ServiceError("a request came without its HTTP headers")
        passed_on = {name: caller.headers[name] for name in _PASSED_ON if name in caller.headers}
        # No key but the caller's: what the server's own environment holds is nobody's to use.
        # The name the caller knows us by is checked by now, and goes into the links of the answer.
        url = f"{caller.url.scheme}://{caller.url.netloc}"
        return AsyncVogue(url, api_key="", transport=AppTransport(app, passed_on), retry=Retry(attempts=1))

    server = build_server(connect)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        manager = StreamableHTTPSessionManager(server, stateless=True, security_settings=security)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    return RequestBodyLimitMiddleware(answer, _MAX_BODY_BYTES)
