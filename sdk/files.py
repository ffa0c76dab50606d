"""The files that the user brought: uploads, apart from results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vogue.schemas.jobs import Asset

from .assets import AsyncAssetHandle, AsyncAssets
from .inputs import Media

__all__ = ["AsyncFiles"]

_PAGE = 100


class AsyncFiles:
    """Uploads. A file is an asset, so `assets.get` finds it as well."""

    def __init__(self, assets: AsyncAssets, upload: Callable[[Media, str | None], Awaitable[Asset]]) -> None:
        self._assets = assets
        self._upload = upload

    async def upload(self, media: Media, name: str | None = None) -> AsyncAssetHandle:
        """Give the server a picture or clip: a path, bytes, an array, a `Clip` or a PIL image; see `AsyncVogue.upload`."""
        return self._assets.handle(await self._upload(media, name))

    async def get(self, file_id: str) -> AsyncAssetHandle:
        """What is known of an upload.

        Raises:
            AssetNotFound: no upload has this id.
        """
        return await self._assets.get(file_id)

    async def list(self, limit: int = 20, before: str | None = None) -> list[AsyncAssetHandle]:
        """The newest uploads first, starting below the asset `before`."""
        found: list[AsyncAssetHandle] = []
        while len(found) < limit:
            page = await self._assets.list(_PAGE, before)
            found += [handle for handle in page if not handle.asset.is_result]
            if len(page) < _PAGE:
                break
            before = page[-1].asset.id
        return found[:limit]

    async def delete(self, file_id: str) -> None:
        """Forget an upload.

        Raises:
            AssetInUse: an unfinished job reads it.
        """
        await self._assets.delete(file_id)
