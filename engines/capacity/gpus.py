"""A small table of GPUs: what a driver reports as memory, and how fast the host is reached.

Memory is what `nvidia-smi` reports as total, rounded down to whole GiB. The host link is the nominal rate of its PCIe generation with 16
lanes, in one direction; real transfers from pinned memory reach 80 to 90 % of it. fp8 matrix products need compute capability 8.9
(NVIDIA's data sheets and CUDA's table of compute capabilities).
"""

from __future__ import annotations

from dataclasses import dataclass

from vogue.schemas.errors import RequestInvalid

__all__ = ["GPUS", "Gpu", "get_gpu"]

_PCIE4, _PCIE5 = 32.0, 64.0


@dataclass(frozen=True)
class Gpu:
    """One kind of card."""

    name: str
    memory_gib: int
    host_link_gb_s: float
    has_fp8: bool

    @property
    def memory_bytes(self) -> int:
        """All of its memory."""
        return self.memory_gib * 2**30


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("h100-80g", 79, _PCIE5, True),
        Gpu("h200-141g", 140, _PCIE5, True),
        Gpu("b200-180g", 178, _PCIE5, True),
        Gpu("a100-80g", 79, _PCIE4, False),
        Gpu("a100-40g", 39, _PCIE4, False),
        Gpu("l40s-48g", 44, _PCIE4, True),
        Gpu("rtx5090-32g", 31, _PCIE5, True),
        Gpu("rtx4090-24g", 23, _PCIE4, True),
    )
}


def get_gpu(name: str) -> Gpu:
    """The card of that name.

    Raises:
        RequestInvalid: not in the table; the message lists those that are.
    """
    if name not in GPUS:
        raise RequestInvalid(f"unknown GPU {name!r}; choose one of {', '.join(GPUS)}", param="gpu")
    return GPUS[name]
