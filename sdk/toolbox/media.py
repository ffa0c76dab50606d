"""Which media an agent may name: what the server holds, by id, and files inside declared folders, by path. Nothing else."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vogue.asynchronous import AsyncVogue
from vogue.schemas.errors import MediaUnreadable, RequestInvalid, VogueError
from vogue.schemas.jobs import Asset

__all__ = ["Roots", "find_media"]

_ID = re.compile(r"(upload|asset)_[A-Za-z0-9_-]{1,64}")


class Roots:
    """Folders whose files may be read; without any, no file may.

    Raises:
        RequestInvalid: one of them is no folder.
    """

    def __init__(self, folders: Sequence[str | os.PathLike[str]] = ()) -> None:
        self.folders: tuple[Path, ...] = tuple(_folder(Path(folder)) for folder in folders)

    def __bool__(self) -> bool:
        return bool(self.folders)

    def locate(self, named: str, param: str) -> Path:
        """The file of that name, free of symbolic links. A relative name is looked for in each folder.

        What lies outside is refused in the same words whether it exists or not.

        Raises:
            RequestInvalid: no folder was declared, or the name leads out of all of them.
            MediaUnreadable: no regular file of that name lies inside.
        """
        if not self:
            raise RequestInvalid(
                f"{named[:200]!r} is not the id of an upload or asset, and this server reads no files:"
                " upload it with POST /v1/uploads and give the id that it answers",
                param=param,
            )
        if "\0" in named:
            raise RequestInvalid("a path cannot hold a null character", param=param)
        inside = [path for folder in self.folders if (path := self._inside(folder / named)) is not None]
        if not inside:
            listed = ", ".join(str(folder) for folder in self.folders)
            raise RequestInvalid(f"{named[:200]!r} leads out of the folders that may be read: {listed}", param=param)
        for path in inside:
            if os.path.isfile(path):  # noqa: PTH113 (pathlib's raises for names that are too long)
                return path
        raise MediaUnreadable(f"there is no file {named[:200]!r} in {inside[0].parent}", param=param)

    @contextmanager
    def opened(self, path: Path) -> Iterator[tuple[str, IO[bytes]]]:
        """A located file as its name and content. What was opened is checked again, for the path may have been bent meanwhile.

        Raises:
            MediaUnreadable: it cannot be read, or is no longer what was located.
        """
        # Neither a link at the end of the path nor a pipe that waits for a writer is followed.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            file = os.fdopen(os.open(path, flags), "rb")
        except OSError as error:
            raise MediaUnreadable(f"cannot read {path.name}: {error.strerror}") from error
        with file:
            facts = os.fstat(file.fileno())
            now = self._inside(path)
            if now is None or not stat.S_ISREG(facts.st_mode) or not os.path.samestat(facts, now.stat()):
                raise MediaUnreadable(f"{path.name} was replaced while it was being read: try again")
            if facts.st_size == 0:
                raise MediaUnreadable(f"{path.name} is empty (0 bytes): give a picture or clip")
            yield path.name, file

    def _inside(self, path: Path) -> Path | None:
        """The path without symbolic links if it lies in one of the folders."""
        try:
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links that go in circles
            return None
        return resolved if any(resolved.is_relative_to(folder) for folder in self.folders) else None


async def find_media(client: AsyncVogue, roots: Roots, named: str, param: str) -> Asset:
    """What a model named, as something the server holds; a file is uploaded.

    Raises:
        AssetNotFound: no upload or asset has this id.
        RequestInvalid: a path that may not be read.
        MediaUnreadable: no such file, or no picture or clip in it.
    """
    try:
        if _ID.fullmatch(named):
            return (await client.assets.get(named)).asset
        path = roots.locate(named, param)
        return await client.assets.add(lambda: roots.opened(path))
    except VogueError as error:
        raise type(error)(error.message, param=param, retry_after_s=error.retry_after_s) from error


def _folder(path: Path) -> Path:
    resolved = path.expanduser().resolve()
    if not resolved.is_dir():
        raise RequestInvalid(f"{path} is not a folder: a root is a folder whose files may be read", param="root")
    return resolved
