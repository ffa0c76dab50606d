"""Bodies of requests, in JSON or as forms, within limits.

Large ones are parsed beside the event loop. That alone would not keep it free, since Python's JSON parser lets nothing else run
until it is through: so a body may be long (a data URL), but not hold very many values or escapes, and is parsed in a moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection
from typing import Any, NamedTuple, NoReturn

from fastapi import Request

from vogue.schemas.errors import LimitExceeded, RequestInvalid

from ..blobs import BlobStore
from ..forms import FormLimits, FormRules, Received, receive_form
from .fields import nest

__all__ = ["MAX_TEXT_BYTES", "Body", "read_body"]

MAX_TEXT_BYTES = 32 * 1024 * 1024
"""A JSON body, or the text of a form: data URLs need room."""
_MAX_VALUES = 200_000
_MAX_ESCAPES = 1_000_000
"""Some write every slash of base64 as an escape: 1 in 64 characters."""


class Body(NamedTuple):
    """A body as values and files, and a digest of all it says."""

    values: dict[str, Any]
    files: list[Received]
    fingerprint: str


async def read_body(request: Request, blobs: BlobStore, max_file_bytes: int, files: Collection[str] = ()) -> Body:
    """A body in JSON or as a form; `files` are the fields of a form that may hold files.

    Raises:
        RequestInvalid: neither, or malformed.
        LimitExceeded: larger than is accepted.
    """
    asked = f"{request.method} {request.url.path}"
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        limits = FormLimits(max_file_bytes, max_text_bytes=MAX_TEXT_BYTES)
        rules = FormRules(files, param=next(iter(files), "file"))
        length = request.headers.get("content-length")
        form = await receive_form(content_type, length, request.stream(), blobs, limits, rules)
        values = nest(form.fields)
        return Body(values, form.files, await asyncio.to_thread(_fingerprint, asked, values, form.files))
    raw = await _read_text(request, content_type.partition(";")[0].strip().lower())
    return await asyncio.to_thread(_parsed, asked, raw)


async def _read_text(request: Request, content_type: str) -> bytearray:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_TEXT_BYTES:
            raise LimitExceeded(
                f"the request body is larger than {MAX_TEXT_BYTES} bytes; upload large files to /v1/files"
            )
    if raw and content_type != "application/json":
        # A browser sends other types to any server without asking it first.
        raise RequestInvalid(f"the body is {content_type or 'of no type'}; send it as application/json")
    return raw


def _parsed(asked: str, raw: bytearray) -> Body:
    """The values of a JSON body."""
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise LimitExceeded(f"the body holds more than {_MAX_VALUES} values; no request here needs so many")
    if raw.count(b"\\") > _MAX_ESCAPES:
        raise LimitExceeded(f"the body holds more than {_MAX_ESCAPES} escapes; send text as UTF-8")
    try:
        values = json.loads(raw or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise RequestInvalid(f"the body is a JSON {type(values).__name__}; send an object")
    return Body(values, [], _fingerprint(asked, values, []))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _fingerprint(asked: str, values: dict[str, Any], files: list[Received]) -> str:
    """The same for the same request, in whichever order and spacing it is written; files count by their bytes."""
    said = json.dumps(values, sort_keys=True, separators=(",", ":"))
    total = hashlib.sha256(f"{asked}\0{said}".encode())
    for one in files:
        total.update(f"\0{one.field}\0{one.original.sha256}".encode())
    return total.hexdigest()
