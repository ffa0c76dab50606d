"""A report as content blocks: the same as text for clients without structured content, links to the files, a small picture.

Results are linked as `vogue://assets/ID`, which `resources/read` gives out up to a size; the report holds the URL of each file.
"""

from __future__ import annotations

import base64
import re
from io import BytesIO

import anyio.to_thread
from mcp_types import (
    Annotations,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    ImageContent,
    ResourceLink,
    TextContent,
)
from PIL import Image

from vogue.asynchronous import AsyncVogue
from vogue.schemas.errors import LimitExceeded, VogueError
from vogue.schemas.references import MediaKind
from vogue.toolbox import AssetReport, JobReport, Report

__all__ = [
    "ASSET_TEMPLATE",
    "MAX_RESOURCE_BYTES",
    "THUMBNAIL_BYTES",
    "THUMBNAIL_SIDE_PX",
    "asset_in",
    "asset_uri",
    "read_asset",
    "show",
    "thumbnail",
]

ASSET_TEMPLATE = "vogue://assets/{asset_id}"
MAX_RESOURCE_BYTES = 8 * 1024 * 1024
"""Base64 in one JSON message: what is larger is for the URL."""
THUMBNAIL_SIDE_PX = 256
THUMBNAIL_BYTES = 32 * 1024
# What VOGUE makes; Pillow would try forty others, some of which start other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "PPM")
_MAX_PICTURE_BYTES = 64 * 1024 * 1024
_MAX_PICTURE_PIXELS = 64_000_000


def asset_uri(asset_id: str) -> str:
    """An asset as a resource."""
    return ASSET_TEMPLATE.format(asset_id=asset_id)


def asset_in(uri: str) -> str | None:
    """The id in such a URI."""
    found = re.fullmatch(r"vogue://assets/([A-Za-z0-9_-]{1,100})", uri)
    return found[1] if found else None


async def read_asset(client: AsyncVogue, asset_id: str) -> BlobResourceContents:
    """The content of an asset.

    Raises:
        AssetNotFound: there is none of this id.
        LimitExceeded: it is too large for a message; the error names the URL.
    """
    handle = await client.assets.get(asset_id)
    if handle.asset.num_bytes > MAX_RESOURCE_BYTES:
        raise LimitExceeded(
            f"{handle.asset.filename} has {handle.asset.num_bytes} bytes, and a resource at most {MAX_RESOURCE_BYTES}:"
            f" download {AssetReport.of(handle.asset, client.server).url}"
        )
    blob = base64.b64encode(await handle.read()).decode()
    return BlobResourceContents(uri=asset_uri(asset_id), mime_type=handle.asset.media_type, blob=blob)


async def show(client: AsyncVogue, report: Report) -> CallToolResult:
    """A tool's answer."""
    content: list[ContentBlock] = [TextContent(type="text", text=report.model_dump_json(exclude_none=True))]
    if isinstance(report, JobReport):
        content += [_link(result) for result in report.results]
        content += await _thumbnails(client, report)
    return CallToolResult(content=content, structured_content=report.model_dump(mode="json"))


def _link(result: AssetReport) -> ResourceLink:
    return ResourceLink(
        uri=asset_uri(result.asset_id),
        name=result.filename,
        description=f"{result.kind} of {result.width_px}×{result.height_px} px, {result.num_frames} frames; also at {result.url}",
        mime_type=result.media_type,
        size=result.num_bytes,
    )


async def _thumbnails(client: AsyncVogue, report: JobReport) -> list[ContentBlock]:
    """A small picture of the result. It is an extra: a job whose picture cannot be shown is done nevertheless."""
    picture = next((result for result in report.results if result.kind is MediaKind.IMAGE), None)
    if picture is None or picture.num_bytes > _MAX_PICTURE_BYTES:
        return []
    try:
        content = await (await client.assets.get(picture.asset_id)).read()
        media_type, small = await anyio.to_thread.run_sync(thumbnail, content)
    except (VogueError, OSError, ValueError, Image.DecompressionBombError) as error:
        return [TextContent(type="text", text=f"no preview of {picture.filename}: {error}")]
    data = base64.b64encode(small).decode()
    return [ImageContent(data=data, mime_type=media_type, annotations=Annotations(audience=["user", "assistant"]))]


def thumbnail(content: bytes) -> tuple[str, bytes]:
    """A picture at most `THUMBNAIL_SIDE_PX` wide and high, in at most `THUMBNAIL_BYTES`, as (media type, bytes).

    Raises:
        OSError: no picture that can be read.
        ValueError: it ends too early, has too many pixels, or cannot be made small enough.
    """
    with Image.open(BytesIO(content), formats=_FORMATS) as opened:
        if opened.width * opened.height > _MAX_PICTURE_PIXELS:
            raise ValueError(f"{opened.width}×{opened.height} pixels are more than {_MAX_PICTURE_PIXELS}")
        picture = opened.convert("RGB")
    picture.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
    for media_type, options in (
        ("image/png", {"optimize": True}),
        ("image/jpeg", {"quality": 85}),
        ("image/jpeg", {"quality": 50}),
    ):
        target = BytesIO()
        picture.save(target, media_type.partition("/")[2], **options)
        if target.tell() <= THUMBNAIL_BYTES:
            return media_type, target.getvalue()
    raise ValueError(f"its preview exceeds {THUMBNAIL_BYTES} bytes")
