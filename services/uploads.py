"""Uploads on their way in: the file of a multipart body goes to the store as it arrives, and no further than its limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.message import Message
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from vogue.schemas.errors import LimitExceeded, RequestInvalid
from vogue.schemas.references import Artifact

from .blobs import BlobStore, BlobWriter

__all__ = ["Received", "receive_upload"]

_FIELD = "file"
_OVERHEAD = 64 * 1024
"""What boundaries, part headers and small other fields may add to a body."""


class Received(NamedTuple):
    """A stored upload and the name its owner gave it."""

    original: Artifact
    filename: str


async def receive_upload(
    content_type: str, content_length: str | None, body: AsyncIterator[bytes], blobs: BlobStore, max_bytes: int
) -> Received:
    """Store the part called `file` of a multipart body.

    Raises:
        RequestInvalid: not multipart, malformed, or without exactly one such file.
        LimitExceeded: the file is larger than `max_bytes`; nothing is kept.
    """
    if content_length is not None and content_length.isdigit() and int(content_length) > max_bytes + _OVERHEAD:
        raise LimitExceeded(
            f"the upload has {content_length} bytes, and at most {max_bytes} are accepted", param=_FIELD
        )
    with blobs.writer(max_bytes) as writer:
        form = _Form(_boundary(content_type), writer, max_bytes)
        async for chunk in body:
            form.feed(chunk)
        filename = form.finish()
        uri, sha256 = await asyncio.to_thread(writer.finish)
        artifact = Artifact(uri=uri, sha256=sha256, media_type="application/octet-stream", num_bytes=writer.num_bytes)
        return Received(artifact, filename)


def _boundary(content_type: str) -> str:
    parsed = Message()
    parsed["content-type"] = content_type
    boundary = parsed.get_param("boundary")
    if parsed.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise RequestInvalid(
            f"send the file as multipart/form-data in the field `file`, not as {content_type[:80]!r}", param=_FIELD
        )
    return boundary


class _Form:
    """A streaming parser that writes the one file and counts everything."""

    def __init__(self, boundary: str, writer: BlobWriter, max_bytes: int) -> None:
        self._writer = writer
        self._max_bytes = max_bytes
        self._left = max_bytes + _OVERHEAD
        self._field = b""
        self._value = b""
        self._headers: Message = Message()
        self._takes = False
        self._ended = False
        self.filename: str | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise RequestInvalid(f"the multipart boundary is malformed: {error}", param=_FIELD) from error

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes of the body."""
        self._left -= len(chunk)
        if self._left < 0:
            raise LimitExceeded(
                f"the upload is larger than the {self._max_bytes} bytes that are accepted", param=_FIELD
            )
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise RequestInvalid(f"the multipart body is malformed: {error}", param=_FIELD) from error

    def finish(self) -> str:
        """Check that one whole file came. Returns its name."""
        if not self._ended:
            raise RequestInvalid("the multipart body ends before its closing boundary", param=_FIELD)
        if self.filename is None:
            raise RequestInvalid("the multipart body has no file in the field `file`", param=_FIELD)
        return self.filename

    def _begin(self) -> None:
        self._headers, self._field, self._value, self._takes = Message(), b"", b"", False

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.decode("latin-1")] = self._value.decode("utf-8", "replace").replace("\n", " ")
        self._field, self._value = b"", b""

    def _on_headers(self) -> None:
        if self._headers.get_param("name", header="content-disposition") != _FIELD:
            return
        filename = self._headers.get_filename()
        if filename is None:
            raise RequestInvalid("the field `file` holds text; send a file", param=_FIELD)
        if self.filename is not None:
            raise RequestInvalid("one upload holds one file; send the second one by itself", param=_FIELD)
        # Only a label, but it will come back in answers and downloads: its last part, printable, not too long.
        last = filename.replace("\\", "/").rpartition("/")[2]
        self.filename = "".join(char for char in last if char.isprintable())[-200:] or "upload"
        self._takes = True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._takes:
            self._writer.write(data[start:end])

    def _end(self) -> None:
        self._ended = True
