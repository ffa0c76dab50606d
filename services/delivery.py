"""Bytes of the store on their way out: whole, in ranges, or not at all when the caller has them."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from vogue.schemas.references import Artifact

from .blobs import BlobStore

__all__ = ["deliver"]


class _RangedFile(FileResponse):
    """A file whose refusals (a range outside of it, or none at all) have the one form of all errors."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def refusing(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                told = {name.decode(): value.decode() for name, value in message["headers"]}
                bounds = {"content-range": told["content-range"]} if "content-range" in told else None
                what = "the range cannot be satisfied" if bounds else "the range is malformed"
                raise HTTPException(message["status"], what, bounds)
            await send(message)

        await super().__call__(scope, receive, refusing)


def deliver(blobs: BlobStore, artifact: Artifact, tag: str, filename: str, if_none_match: str | None) -> Response:
    """An answer with a blob's bytes, of which the request may want a range.

    Args:
        tag: names this content for ever, such as the id of an asset, which never changes.
    """
    headers = {"etag": f'"{tag}"', "cache-control": "private, max-age=31536000, immutable"}
    if if_none_match is not None and headers["etag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    return _RangedFile(
        blobs.path(artifact),
        media_type=artifact.media_type,
        filename=filename,
        content_disposition_type="inline",
        headers=headers | {"x-content-type-options": "nosniff"},
    )
