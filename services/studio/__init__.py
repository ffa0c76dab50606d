"""The studio at `/studio`: a page of plain HTML, CSS and ES modules over the public HTTP interface, from package data.

Nothing in it knows the server's inside; what the page does, any client can do. The policy sent with it lets it load its own files
and talk to its own server, and nothing else: no other host, no inline script, no string that becomes code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, NamedTuple

from fastapi import FastAPI, Header, Response
from starlette.exceptions import HTTPException

__all__ = ["STUDIO_POLICY", "serve_studio"]

STUDIO_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Markup made of strings is refused by the browser itself, so that a slip in the page cannot run what a user typed.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": STUDIO_POLICY,
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"


class _Page(NamedTuple):
    """A file of the page, and the tag by which a browser asks whether it has changed."""

    body: bytes
    media_type: str
    etag: str


def serve_studio(app: FastAPI) -> None:
    """Add `/studio` and the files below it. They hold no secrets, so they need no key: the page asks for one."""
    pages = dict(_read(files(__name__) / "page"))

    @app.get("/studio", include_in_schema=False)
    async def studio(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """The page."""
        return _answer(pages[_INDEX], if_none_match)

    @app.get("/studio/{name}", include_in_schema=False)
    async def part(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """One of its files."""
        if name not in pages:
            raise HTTPException(404, "the studio has no such file")
        return _answer(pages[name], if_none_match)


def _read(folder: Traversable) -> Iterator[tuple[str, _Page]]:
    """Every file of the page by name, read once."""
    for place in folder.iterdir():
        media_type = _TYPES.get(f".{place.name.rpartition('.')[2]}")
        if media_type is not None:
            body = place.read_bytes()
            yield place.name, _Page(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _answer(page: _Page, if_none_match: str | None) -> Response:
    headers = _HEADERS | {"etag": page.etag}
    if if_none_match is not None and page.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=page.media_type, headers=headers)
