"""Shared memory between a Triton client and a server on the same machine."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SharedRegion", "offsets_of"]

ALIGNMENT = 64
SMALLEST = 1 << 16


class SharedRegion:
    """A region that a server knows, kept from call to call: a server may hold on to one for a while after it has answered.

    Args:
        client: a connected client; the region is the server's until the client is gone.
        size: bytes that are needed; it gets the next power of two.
    """

    def __init__(self, client: Any, size: int) -> None:
        from tritonclient.utils import shared_memory

        self._memory = shared_memory
        self.name = f"vogue-{uuid.uuid4().hex}"
        self.size = max(SMALLEST, 1 << (size - 1).bit_length())
        self._handle = shared_memory.create_shared_memory_region(self.name, f"/{self.name}", self.size)
        # The name goes at once when this process ends too; the server's own mapping stays until it is told, or ends.
        self._close = weakref.finalize(self, shared_memory.destroy_shared_memory_region, self._handle)
        try:
            client.register_system_shared_memory(self.name, f"/{self.name}", self.size)
        except BaseException:
            self._close()
            raise

    def write(self, array: NDArray[Any], offset: int) -> None:
        """Copy an array in."""
        self._memory.set_shared_memory_region(self._handle, [array], offset)

    def read(self, shape: tuple[int, ...], offset: int) -> NDArray[np.float32]:
        """A float32 array that lies there: a view."""
        array: NDArray[np.float32] = self._memory.get_contents_as_numpy(self._handle, np.float32, shape, offset)
        return array

    def close(self, client: Any) -> None:
        """Give the region up. A server that still uses it, or has gone, is left alone."""
        from tritonclient.utils import InferenceServerException

        with suppress(InferenceServerException, OSError):  # the mapping is freed with the server
            client.unregister_system_shared_memory(self.name)
        self._close()


def offsets_of(sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Where each tensor begins in a region, and how large that is."""
    offsets, total = {}, 0
    for name, size in sizes.items():
        offsets[name] = total
        total += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, total
