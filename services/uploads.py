"""Uploads on their way in: the one file of a multipart body goes to the store as it arrives, and no further than its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator

from vogue.schemas.errors import RequestInvalid

from .blobs import BlobStore
from .forms import FormLimits, FormRules, Received, receive_form

__all__ = ["Received", "receive_upload"]

_RULES = FormRules(files=("file",), keep_text=False)


async def receive_upload(
    content_type: str, content_length: str | None, body: AsyncIterator[bytes], blobs: BlobStore, max_bytes: int
) -> Received:
    """Store the part called `file` of a multipart body.

    Raises:
        RequestInvalid: not multipart, malformed, or without exactly one such file.
        LimitExceeded: the file is larger than `max_bytes`; nothing is kept.
    """
    limits = FormLimits(max_file_bytes=max_bytes, max_files=1)
    form = await receive_form(content_type, content_length, body, blobs, limits, _RULES)
    if not form.files:
        raise RequestInvalid("the multipart body has no file in the field `file`", param="file")
    return form.files[0]
