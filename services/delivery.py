"""Bytes of the store on their way out: whole, in ranges, or not at all when the caller has them."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import FileResponse

from vogue.schemas.references import Artifact

from .blobs import BlobStore

__all__ = ["deliver"]


def deliver(blobs: BlobStore, artifact: Artifact, tag: str, filename: str, if_none_match: str | None) -> Response:
    """An answer with a blob's bytes, of which the request may want a range.

    Args:
        tag: names this content for ever, such as the id of an asset, which never changes.
    """
    headers = {"etag": f'"{tag}"', "cache-control": "private, max-age=31536000, immutable"}
    if if_none_match is not None and headers["etag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    return FileResponse(
        blobs.path(artifact),
        media_type=artifact.media_type,
        filename=filename,
        content_disposition_type="inline",
        headers=headers | {"x-content-type-options": "nosniff"},
    )
