"""Files that users name by URL: fetched where the configuration allows it, a hop at a time, and no further than their limits.

What comes is stored as any upload, and its content, not its name or type, says what it is.
"""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

import httpx

from vogue.schemas.errors import LimitExceeded, UrlRefused, UrlUnreachable, VogueError
from vogue.schemas.references import Artifact

from .blobs import BlobStore
from .dialing import Answer, Dialer, check_url
from .forms import Received, label
from .outbound import UrlInputConfig

__all__ = ["Fetcher"]

_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"accept": "image/*, video/*", "accept-encoding": "identity", "user-agent": "vogue", "connection": "close"}


class Fetcher:
    """Fetches what URLs name into a store.

    Args:
        max_bytes: what the preset takes as an upload; the rules may take less.
        dialer: makes the connections; by default only to public addresses.
    """

    def __init__(self, blobs: BlobStore, rules: UrlInputConfig, max_bytes: int, dialer: Dialer | None = None) -> None:
        self._blobs = blobs
        self._rules = rules
        self._max_bytes = min(max_bytes, rules.max_bytes or max_bytes)
        self._dialer = dialer or Dialer(rules)
        self._room = asyncio.Semaphore(rules.max_at_once)

    async def fetch(self, text: str, param: str | None = None) -> Received:
        """The file that a URL leads to, stored.

        Args:
            param: the field of the request that errors name.

        Raises:
            UrlRefused: a URL, redirect or address of a kind that is not called.
            UrlUnreachable: nobody answers in time, or with something other than a file.
            LimitExceeded: the file is larger than is accepted; nothing is kept.
        """
        try:
            async with asyncio.timeout(self._rules.timeout_s), self._room:
                return await self._follow(text)
        except TimeoutError as error:
            raise UrlUnreachable(
                f"{text[:80]!r} could not be fetched within {self._rules.timeout_s:g} s", param=param
            ) from error
        except VogueError as error:
            raise type(error)(error.message, param=param, retry_after_s=error.retry_after_s) from error

    async def _follow(self, text: str) -> Received:
        """Go from redirect to redirect; each is checked and resolved as the first URL was."""
        url = check_url(text, self._rules)
        for _ in range(self._rules.max_redirects + 1):
            async with self._dialer.call("GET", url, _HEADERS) as answer:
                if answer.status == 200:
                    return await self._store(answer, url)
                url = self._next(answer, url)
        raise UrlRefused(f"{text[:80]!r} redirects more than {self._rules.max_redirects} times")

    def _next(self, answer: Answer, url: httpx.URL) -> httpx.URL:
        """Where a redirect leads."""
        location = answer.headers.get("location")
        if answer.status not in _REDIRECTS or not location:
            raise UrlUnreachable(f"{url.host!r} answered {answer.status}; give a URL at which the file itself lies")
        try:
            joined = str(url.join(location))
        except (httpx.InvalidURL, ValueError) as error:
            raise UrlRefused(f"{url.host!r} redirects to {location[:80]!r}, which is no URL") from error
        following = check_url(joined, self._rules)
        if url.scheme == "https" and following.scheme != "https":
            raise UrlRefused(f"{url.host!r} redirects from https to {following.scheme}, which is not followed")
        return following

    async def _store(self, answer: Answer, url: httpx.URL) -> Received:
        if (encoding := answer.headers.get("content-encoding", "identity").lower()) != "identity":
            raise UrlUnreachable(f"{url.host!r} sent the file encoded as {encoding[:20]!r} without being asked")
        announced = answer.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > self._max_bytes:
            raise LimitExceeded(f"the file has {announced[:20]} bytes, and at most {self._max_bytes} are accepted")
        with self._blobs.writer(self._max_bytes) as writer:
            async for chunk in answer.body:
                writer.write(chunk)
            uri, sha256 = await asyncio.to_thread(writer.finish)
        artifact = Artifact(uri=uri, sha256=sha256, media_type="application/octet-stream", num_bytes=writer.num_bytes)
        return Received(artifact, label(unquote(url.path)), "url")
