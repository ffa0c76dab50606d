"""Multipart bodies on their way in: files go to the store as they arrive, text into memory, and neither beyond its limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from email.message import Message
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from vogue.schemas.errors import LimitExceeded, RequestInvalid
from vogue.schemas.references import Artifact

from .blobs import BlobStore, BlobWriter

__all__ = ["FormLimits", "FormRules", "Received", "ReceivedForm", "label", "receive_form"]

_OVERHEAD = 64 * 1024
"""What boundaries and part headers may add to a body."""


class Received(NamedTuple):
    """A stored file, the field it came in, and the name its owner gave it."""

    original: Artifact
    filename: str
    field: str = "file"


class ReceivedForm(NamedTuple):
    """A whole form: its files in order, and its text fields as they were named, in order."""

    files: list[Received]
    fields: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How much of a form is taken: bytes of all files together, of all text, and the count of either."""

    max_file_bytes: int
    max_files: int = 16
    max_text_bytes: int = 64 * 1024
    max_fields: int = 100

    @property
    def max_body_bytes(self) -> int:
        """What a whole body may have."""
        return self.max_file_bytes + self.max_text_bytes + _OVERHEAD


@dataclass(frozen=True, slots=True)
class FormRules:
    """Which fields hold files; other files are refused. Text in other fields is kept, or passed over."""

    files: Collection[str]
    keep_text: bool = True
    param: str = "file"
    """The field that errors about the body as a whole name."""


async def receive_form(
    content_type: str,
    content_length: str | None,
    body: AsyncIterator[bytes],
    blobs: BlobStore,
    limits: FormLimits,
    rules: FormRules,
) -> ReceivedForm:
    """Store the files of a multipart body and read its text.

    Raises:
        RequestInvalid: not multipart, malformed, or a file where none is expected, or the other way round.
        LimitExceeded: more than `limits`; nothing is kept.
    """
    if (
        content_length is not None
        and content_length.isdigit()
        and (announced := int(content_length)) > limits.max_body_bytes
    ):
        raise LimitExceeded(
            f"the upload has {announced} bytes, and at most {limits.max_file_bytes} are accepted", param=rules.param
        )
    form = _Form(_boundary(content_type, rules.param), blobs, limits, rules)
    try:
        async for chunk in body:
            form.feed(chunk)
        form.finish()
        files = [await asyncio.to_thread(one.stored) for one in form.files]
        return ReceivedForm(files, form.texts())
    finally:
        form.close()


def _boundary(content_type: str, param: str) -> str:
    parsed = Message()
    parsed["content-type"] = content_type
    boundary = parsed.get_param("boundary")
    if parsed.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise RequestInvalid(
            f"send the file as multipart/form-data in the field `{param}`, not as {content_type[:80]!r}", param=param
        )
    return boundary


@dataclass(slots=True)
class _File:
    field: str
    filename: str
    writer: BlobWriter

    def stored(self) -> Received:
        uri, sha256 = self.writer.finish()
        artifact = Artifact(
            uri=uri, sha256=sha256, media_type="application/octet-stream", num_bytes=self.writer.num_bytes
        )
        return Received(artifact, self.filename, self.field)


class _Form:
    """A streaming parser that writes files as they come and counts everything."""

    def __init__(self, boundary: str, blobs: BlobStore, limits: FormLimits, rules: FormRules) -> None:
        self._blobs, self._limits, self._rules = blobs, limits, rules
        self._left = limits.max_body_bytes
        self._field, self._value = b"", b""
        self._headers = Message()
        self._file: _File | None = None
        self._text: bytearray | None = None
        self._text_bytes = 0
        self._ended = False
        self._texts: list[tuple[str, bytearray]] = []
        self.files: list[_File] = []
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
            raise RequestInvalid(f"the multipart boundary is malformed: {error}", param=rules.param) from error

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes of the body."""
        self._left -= len(chunk)
        if self._left < 0:
            raise LimitExceeded(
                f"the upload is larger than the {self._limits.max_file_bytes} bytes that are accepted",
                param=self._rules.param,
            )
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise RequestInvalid(f"the multipart body is malformed: {error}", param=self._rules.param) from error

    def finish(self) -> None:
        """Check that the body came to its end."""
        if not self._ended:
            raise RequestInvalid("the multipart body ends before its closing boundary", param=self._rules.param)

    def texts(self) -> list[tuple[str, str]]:
        """The text fields.

        Raises:
            RequestInvalid: one is not UTF-8.
        """
        try:
            return [(name, bytes(value).decode("utf-8")) for name, value in self._texts]
        except UnicodeDecodeError as error:
            raise RequestInvalid("the text fields of the multipart body are not UTF-8") from error

    def close(self) -> None:
        """Leave no scratch file behind."""
        for one in self.files:
            one.writer.__exit__(None, None, None)

    def _begin(self) -> None:
        self._headers, self._field, self._value, self._file, self._text = Message(), b"", b"", None, None

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.decode("latin-1")] = self._value.decode("utf-8", "replace").replace("\n", " ")
        self._field, self._value = b"", b""

    def _on_headers(self) -> None:
        name = self._headers.get_param("name", header="content-disposition")
        field = name if isinstance(name, str) else ""
        filename = self._headers.get_filename()
        if filename is None:
            if field in self._rules.files and not self._rules.keep_text:
                raise RequestInvalid(f"the field `{field}` holds text; send a file", param=field)
            self._begin_text(field)
            return
        if field not in self._rules.files:
            if not self._rules.keep_text:
                return  # the one file that counts has another field
            raise RequestInvalid(f"the field `{field[:80]}` takes no file", param=field[:80])
        if len(self.files) >= self._limits.max_files:
            one = self._limits.max_files == 1
            what = "one upload holds one file; send the second one by itself" if one else "too many files"
            raise RequestInvalid(f"{what}: at most {self._limits.max_files}", param=field)
        self._file = _File(field, label(filename), self._blobs.writer(self._limits.max_file_bytes))
        self.files.append(self._file)

    def _begin_text(self, field: str) -> None:
        if len(self._texts) >= self._limits.max_fields:
            raise LimitExceeded(f"the form has more than {self._limits.max_fields} fields")
        if self._rules.keep_text:
            self._text = bytearray()
            self._texts.append((field, self._text))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.writer.write(data[start:end])
            return
        self._text_bytes += end - start
        if self._text_bytes > self._limits.max_text_bytes:
            raise LimitExceeded(f"the text of the form is longer than {self._limits.max_text_bytes} bytes")
        if self._text is not None:
            self._text += data[start:end]

    def _end(self) -> None:
        self._ended = True


def label(filename: str) -> str:
    """A file's name as it may come back in answers and downloads: its last part, printable, not too long."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in last if char.isprintable())[-200:]
    # Two dots are a folder wherever the file is saved.
    return name if name.strip(". ") else "upload"
