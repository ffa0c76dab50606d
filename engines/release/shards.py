"""Safetensors files written piece by piece: no tensor is ever whole in memory, and a half-written file never has its final name.

The format (safetensors' own specification): eight bytes with the header's length, a JSON header of dtypes, shapes and offsets, then the
values without gaps.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..weights import read_weights
from .source import DTYPES, Located

__all__ = ["Shard", "hash_file", "plan_shards", "write_shard"]

Tick = Callable[[int], None]
"""Called with the number of bytes that were just done."""

CHUNK_ELEMENTS = 2**20
CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class Shard:
    """A file to be: its path inside the weights folder, and what it holds in order."""

    path: str
    tensors: tuple[Located, ...]
    dtype: torch.dtype | None
    """What values become; None leaves them as they are."""

    def dtype_of(self, one: Located) -> torch.dtype:
        """What a tensor is stored in."""
        return self.dtype if self.dtype is not None else one.dtype

    def bytes_of(self, one: Located) -> int:
        """A tensor's size."""
        return math.prod(one.shape) * self.dtype_of(one).itemsize

    @property
    def num_bytes(self) -> int:
        """Size of the values."""
        return sum(self.bytes_of(one) for one in self.tensors)

    def header(self) -> bytes:
        """What stands before the values."""
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        end = 0
        for one in self.tensors:
            begin, end = end, end + self.bytes_of(one)
            entries[one.key] = {
                "dtype": DTYPES[self.dtype_of(one)], "shape": one.shape, "data_offsets": [begin, end],
            }  # fmt: skip
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # values start aligned
        return len(text).to_bytes(8, "little") + text


def plan_shards(
    stem: str, tensors: Sequence[Located], dtype: torch.dtype | None, max_bytes: int | None = None
) -> list[Shard]:
    """Files of at most `max_bytes` each (a larger tensor has its own): `STEM.safetensors`, or numbered ones in the folder STEM."""
    if max_bytes is None:
        return [Shard(f"{stem}.safetensors", tuple(tensors), dtype)]
    groups: list[list[Located]] = [[]]
    size = 0
    for one in tensors:
        own = math.prod(one.shape) * (dtype or one.dtype).itemsize
        if groups[-1] and size + own > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += own
    names = [f"{stem}/model-{i:05d}-of-{len(groups):05d}.safetensors" for i in range(1, len(groups) + 1)]
    return [Shard(name, tuple(group), dtype) for name, group in zip(names, groups, strict=True)]


def write_shard(folder: Path, shard: Shard, tick: Tick) -> str:
    """Write a shard under its name, at once or not at all. Returns its SHA-256."""
    target = folder / shard.path
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    digest = hashlib.sha256()
    # Opened for this shard alone: closing a mapped file gives back the pages that were read of it.
    opened = {path: read_weights(path) for path in {one.file for one in shard.tensors}}
    with partial.open("wb") as file:
        header = shard.header()
        file.write(header)
        digest.update(header)
        for one in shard.tensors:
            flat = opened[one.file][one.file_key].detach().reshape(-1)
            for piece in flat.split(CHUNK_ELEMENTS) if flat.numel() else ():
                values = piece.to(shard.dtype_of(one)).contiguous().view(torch.uint8).numpy()
                file.write(values.data)
                digest.update(values.data)
                tick(values.nbytes)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
    return digest.hexdigest()


def hash_file(path: Path, tick: Tick) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
            tick(len(piece))
    return digest.hexdigest()
