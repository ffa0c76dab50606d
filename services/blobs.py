"""The blob store: immutable bytes under the name of their SHA-256.

It knows nothing of jobs or media. Writers hash while they write into a scratch file of the same file system, sync it and
rename it, so a blob is either absent or whole, whoever dies when. Readers map files into memory. A reference carries a
URI, so that another store can stand behind the same calls one day; only `file://` exists now, and a reference
that leads outside the store's own folder is refused.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from numpy.typing import NDArray

from vogue.schemas.errors import LimitExceeded, ServiceError
from vogue.schemas.references import Artifact, DType, TensorRef
from vogue.schemas.tensors import pack_tensor, unpack_tensor

__all__ = ["BlobStore", "BlobWriter"]

_CHUNK = 1 << 20


class BlobWriter:
    """Bytes on their way into the store. Leaving the `with` block without `finish` leaves nothing behind."""

    def __init__(self, store: BlobStore, max_bytes: int | None = None) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=store.scratch)
        self._file = os.fdopen(handle, "wb")
        self._path: Path | None = Path(name)
        self.num_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            LimitExceeded: more than `max_bytes` in all.
        """
        self.num_bytes += len(data)
        if self._max_bytes is not None and self.num_bytes > self._max_bytes:
            raise LimitExceeded(f"the file is larger than the {self._max_bytes} bytes that are accepted", param="file")
        self._hash.update(data)
        self._file.write(data)

    def finish(self) -> tuple[str, str]:
        """Put the bytes in their place, durably. Returns (uri, sha256)."""
        if self._path is None:
            raise ServiceError("this blob is finished already")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sha256 = self._hash.hexdigest()
        place = self._store.path_of(sha256)
        place.parent.mkdir(exist_ok=True)
        self._path.chmod(0o444)
        # Equal content may be there already; replacing it by itself also renews its age for the sweep.
        self._path.replace(place)
        self._path = None
        return place.as_uri(), sha256

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class BlobStore:
    """A folder of blobs: `blobs/ab/abcdef…`, with scratch files beside them in `scratch/`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.scratch = self.root / "scratch"
        self._blobs = self.root / "blobs"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._blobs.mkdir(exist_ok=True)

    def path_of(self, sha256: str) -> Path:
        """Where the blob of that digest lies, or would lie."""
        return self._blobs / sha256[:2] / sha256

    def path(self, ref: TensorRef | Artifact) -> Path:
        """The file behind a reference, for readers that want a path (ffmpeg, range requests).

        Raises:
            ServiceError: the reference belongs to another store, or the blob is gone.
        """
        parts = urlsplit(ref.uri)
        place = self.path_of(ref.sha256)
        if parts.scheme != "file" or Path(unquote(parts.path)) != place:
            raise ServiceError(
                f"the blob {ref.sha256[:12]} is not kept in this store; check that services share one state dir"
            )
        if not place.is_file():
            raise ServiceError(f"the blob {ref.sha256[:12]} is gone from the store; run the job again")
        return place

    def has(self, sha256: str) -> bool:
        """Whether the blob is there; asking renews its age, so that the sweep leaves it to whoever asked."""
        try:
            os.utime(self.path_of(sha256))
        except FileNotFoundError:
            return False
        return True

    def writer(self, max_bytes: int | None = None) -> BlobWriter:
        """A writer for bytes that arrive in pieces."""
        return BlobWriter(self, max_bytes)

    def put(self, data: bytes, media_type: str) -> Artifact:
        """Store bytes."""
        with self.writer() as writer:
            writer.write(data)
            return self._artifact(writer, media_type)

    def put_file(self, path: Path, media_type: str, max_bytes: int | None = None) -> Artifact:
        """Store a copy of a file.

        Raises:
            LimitExceeded: the file is larger than `max_bytes`.
        """
        with self.writer(max_bytes) as writer, path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                writer.write(chunk)
            return self._artifact(writer, media_type)

    def _artifact(self, writer: BlobWriter, media_type: str) -> Artifact:
        uri, sha256 = writer.finish()
        return Artifact(uri=uri, sha256=sha256, media_type=media_type, num_bytes=writer.num_bytes)

    def get(self, artifact: Artifact) -> memoryview:
        """The bytes of an artifact, mapped read-only."""
        return _mapped(self.path(artifact))

    def put_tensor(self, array: NDArray[Any], dtype: DType | None = None) -> TensorRef:
        """Store an array; bfloat16 comes as uint16 bits together with its `dtype`."""
        kind = dtype or DType(array.dtype.name)
        with self.writer() as writer:
            writer.write(pack_tensor(array, kind))
            uri, sha256 = writer.finish()
        return TensorRef(uri=uri, sha256=sha256, dtype=kind, shape=array.shape)

    def get_tensor(self, ref: TensorRef) -> NDArray[Any]:
        """A read-only array that lies in the mapped file (uint16 bits for bfloat16).

        Raises:
            ServiceError: the blob is gone, or holds another tensor than the reference says.
        """
        array, dtype = unpack_tensor(_mapped(self.path(ref)))
        if dtype is not ref.dtype or array.shape != ref.shape:
            raise ServiceError(
                f"the blob {ref.sha256[:12]} holds {dtype}{list(array.shape)}, not {ref.dtype}{list(ref.shape)}"
            )
        return array

    def sweep(self, keep: Collection[str], older_than_s: float, only: Collection[str] | None = None) -> int:
        """Delete blobs and scratch files that nobody keeps and nobody wrote or asked for within `older_than_s`.

        Args:
            only: look at the blobs of these digests, and at nothing else.

        Returns:
            How many bytes were freed.
        """
        before, freed = time.time() - older_than_s, 0
        places = [*self._blobs.glob("*/*"), *self.scratch.iterdir()] if only is None else map(self.path_of, only)
        for place in places:
            try:
                facts = place.stat()
                if facts.st_mtime >= before or place.name in keep:
                    continue
                if place.is_dir():
                    shutil.rmtree(place, ignore_errors=True)  # a dead process's workspace
                    continue
                place.unlink()
                freed += facts.st_size
            except FileNotFoundError:
                continue  # another sweep was faster
        return freed


def _mapped(path: Path) -> memoryview:
    """A file as read-only memory. An empty file cannot be mapped and is an empty view."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
