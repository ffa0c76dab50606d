"""The peak of live bytes while a network runs, found without running it: every operation is followed on tensors that have shapes but no
values, and what each allocates is counted until it is freed.

Attention counts as what a fused kernel allocates, its output: no matrix of queries by keys exists on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_bytes"]

N = TypeVar("N")


class _FusedAttention(TorchFunctionMode):
    """Scaled dot-product attention allocates its output alone."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            query, _, value = args[:3]
            return torch.empty(*query.shape[:-1], value.shape[-1], dtype=query.dtype, device=query.device)
        return func(*args, **(kwargs or {}))


class _Ledger(TorchDispatchMode):
    """Bytes of all storages that operations made and nobody has freed yet."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {id(leaf) for leaf in tree_leaves((args, kwargs or {}))}
        entered = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and id(leaf) not in given:
                storage = leaf.untyped_storage()
                # A view has its base's storage: what came in is counted already, or is the caller's.
                if storage._cdata not in entered:
                    self._live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return out


def peak_bytes(build: Callable[[], N], call: Callable[[N], object], dtype: torch.dtype = torch.bfloat16) -> int:
    """Most bytes alive at once in a call, weights not counted.

    Args:
        build: makes the network, whose weights get `dtype`.
        call: makes the inputs and runs it. Inputs count, as they lie on the GPU too.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), _FusedAttention(), torch.no_grad():
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            network = build()
        finally:
            torch.set_default_dtype(before)
        ledger = _Ledger()
        with ledger:
            call(network)
    return ledger.peak
