"""The files that the server holds, as objects. Written once, as coroutines; `vogue.blocking` wraps them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.errors import WireError
from vogue.schemas.jobs import Asset
from vogue.schemas.references import DType
from vogue.schemas.tensors import unpack_tensor

from .download import download
from .exchange import Exchange, FileOpener, read_as

__all__ = ["AsyncAssetHandle", "AsyncAssets", "list_entries", "segment"]


class AsyncAssets:
    """The files that the server holds for the user."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def get(self, asset_id: str) -> AsyncAssetHandle:
        """What is known of an upload or result.

        Raises:
            AssetNotFound: no upload or asset has this id.
        """
        asset = await self._exchange.fetch(Asset, "GET", f"/v1/assets/{segment(asset_id)}")
        return AsyncAssetHandle(self._exchange, asset)

    def handle(self, asset: Asset) -> AsyncAssetHandle:
        """What can be done with an asset that is known already."""
        return AsyncAssetHandle(self._exchange, asset)

    async def delete(self, asset_id: str) -> None:
        """Forget an upload or a result.

        Raises:
            AssetInUse: an unfinished job reads it.
        """
        await self._exchange.call("DELETE", f"/v1/assets/{segment(asset_id)}")

    async def add(self, file: FileOpener) -> Asset:
        """Upload what `file` opens, anew for each try; see `AsyncVogue.upload`."""
        return await self._exchange.fetch(Asset, "POST", "/v1/uploads", file=file)

    async def list(self, limit: int = 20, before: str | None = None) -> list[AsyncAssetHandle]:
        """Uploads and results, newest first, starting below the asset `before`."""
        params = {"limit": limit} if before is None else {"limit": limit, "before": before}
        content = (await self._exchange.call("GET", "/v1/assets", params=params)).content
        return [AsyncAssetHandle(self._exchange, read_as(Asset, json.dumps(entry))) for entry in list_entries(content)]


class AsyncAssetHandle:
    """One file on the server."""

    def __init__(self, exchange: Exchange, asset: Asset) -> None:
        self._exchange = exchange
        self.asset = asset

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.asset.id} {self.asset.filename}>"

    async def read(self) -> bytes:
        """Its bytes."""
        return (await self._exchange.call("GET", f"/v1/assets/{self.asset.id}/content")).content

    async def frames(self) -> NDArray[np.uint8]:
        """The lossless pixels of a result, uint8 [T, H, W, 3], as they were before they became a file.

        Raises:
            RequestInvalid: it is an upload, which its owner has.
        """
        content = (await self._exchange.call("GET", f"/v1/assets/{self.asset.id}/frames")).content
        frames, dtype = unpack_tensor(content)
        if dtype is not DType.UINT8 or frames.ndim != 4:
            raise WireError(f"the server sent {dtype}{list(frames.shape)} in place of frames")
        return frames

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, or under its own name into a folder. A broken download goes on where it broke.

        Returns:
            The file written; it appears only when it is complete.
        """
        return await download(self._exchange, self.asset, Path(path))


def segment(identifier: str) -> str:
    """An id as one segment of a path, whatever it holds."""
    return quote(identifier, safe="") or "-"


def list_entries(content: bytes) -> list[dict[str, Any]]:
    """The entries of a list answer, `{"data": [...]}`.

    Raises:
        WireError: it is something else.
    """
    try:
        body = json.loads(content)
        entries = body["data"]
        if isinstance(entries, list):
            return entries
    except (ValueError, KeyError, TypeError):
        pass
    raise WireError('the server\'s answer is not a list ({"data": [...]}); is it a VOGUE server?')
