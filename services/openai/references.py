"""How an OpenAI request names its inputs: by id, by a link to this very server, or by a data URL that holds the bytes."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from vogue.schemas.errors import LimitExceeded, RequestInvalid, UrlRefused

__all__ = ["DataUrl", "InputRef", "KnownId", "WebUrl", "parse_reference", "refuse_url"]

_ID = re.compile(r"(?:upload|asset)_[A-Za-z0-9_-]{16,64}")
_OWN_PATH = re.compile(r"/v1/(?:assets|files)/([A-Za-z0-9_-]+)/content")
_DATA = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+)?((?:;[A-Za-z0-9-]+=[^;,]{0,100})*)(;base64)?,", re.I)
_HEAD = 512
_CHUNK = 4 * 64 * 1024


@dataclass(frozen=True, slots=True)
class KnownId:
    """Something the server holds."""

    asset_id: str


@dataclass(frozen=True, slots=True)
class WebUrl:
    """Something that would have to be fetched."""

    url: str


@dataclass(frozen=True, slots=True)
class DataUrl:
    """Bytes in the request itself. They are not decoded before somebody reads them."""

    text: str
    start: int
    media_type: str

    @property
    def num_bytes(self) -> int:
        """At most so many bytes come out."""
        return (len(self.text) - self.start) * 3 // 4

    def pieces(self, param: str | None = None) -> Iterator[bytes]:
        """The bytes, a piece at a time, so that no second copy of the whole is made.

        Raises:
            RequestInvalid: not base64.
        """
        for at in range(self.start, len(self.text), _CHUNK):
            piece = self.text[at : at + _CHUNK]
            padding = len(piece) - len(piece.rstrip("="))
            if padding > (0 if at + _CHUNK < len(self.text) else 2):
                raise _not_base64(param)
            try:
                yield binascii.a2b_base64(piece, strict_mode=True)
            except (binascii.Error, ValueError) as error:
                raise _not_base64(param) from error


InputRef = KnownId | WebUrl | DataUrl


def _not_base64(param: str | None) -> RequestInvalid:
    return RequestInvalid("the data URL holds something that is not base64", param=param)


def parse_reference(text: str, host: str, max_data_bytes: int, param: str | None = None) -> InputRef:
    """Which of the three a reference is.

    Args:
        host: this server's own `host:port` as the client calls it; links to its files need no fetching.
        max_data_bytes: what a data URL may hold.

    Raises:
        LimitExceeded: the data URL holds more.
        RequestInvalid: the reference is none of these.
    """
    if _ID.fullmatch(text):
        return KnownId(text)
    if text[:5].lower() == "data:":
        return _data_url(text, max_data_bytes, param)
    try:
        parts = urlsplit(text[:4096])
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or len(text) > 4096:
        raise RequestInvalid(
            f"{text[:60]!r} is no input: give the id of a file, or a data URL with base64 in it", param=param
        )
    own = _OWN_PATH.fullmatch(parts.path) if parts.netloc == host else None
    return KnownId(own[1]) if own is not None and _ID.fullmatch(own[1]) else WebUrl(text)


def _data_url(text: str, max_bytes: int, param: str | None) -> DataUrl:
    match = _DATA.match(text[:_HEAD])
    if match is None or match[3] is None:
        raise RequestInvalid(f"{text[:40]!r} is not a data URL with base64: write data:image/png;base64,…", param=param)
    media_type = (match[1] or "application/octet-stream").lower()
    if media_type.partition("/")[0] not in ("image", "video", "application"):
        raise RequestInvalid(f"the data URL says it is {media_type}; give a picture or a clip", param=param)
    found = DataUrl(text, match.end(), media_type)
    if found.num_bytes > max_bytes:
        raise LimitExceeded(
            f"the data URL holds about {found.num_bytes} bytes, and at most {max_bytes} are taken inside a request:"
            " upload the file to /v1/files and give its id",
            param=param,
        )
    return found


def refuse_url(url: WebUrl, param: str | None = None) -> UrlRefused:
    """The error for a URL where none is fetched."""
    return UrlRefused(
        f"this server does not fetch {url.url[:80]!r}: upload the file to /v1/files and give its id, or send a data URL",
        param=param,
    )
