"""A handler of httpx requests behind a real port of this machine, for programs under test that run in a process of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

__all__ = ["listening"]

Handle = Callable[[httpx.Request], httpx.Response]


@contextmanager
def listening(handle: Handle) -> Iterator[str]:
    """Answer requests on a free port of 127.0.0.1 while the block lasts; yields the URL."""

    class Bridge(BaseHTTPRequestHandler):
        """One request: over to `handle`, and its answer back as it comes. A transport error breaks the connection."""

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = httpx.Request(self.command, f"{url}{self.path}", headers=list(self.headers.items()), content=body)
            try:
                response = handle(request)
                self.send_response(response.status_code)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if isinstance(response.stream, httpx.SyncByteStream):
                    for chunk in response.stream:
                        self.wfile.write(chunk)
            except (httpx.TransportError, OSError):
                self.close_connection = True

        do_GET = do_POST = do_DELETE = _answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bridge)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
