"""The engine port on PyTorch: the MMDiT module as it is, or, on a CPU, its packed forward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from vogue.schemas.errors import DeviceOutOfMemory

from .models.mmdit import MMDiT
from .models.packed import PackedForward
from .port import Row

__all__ = ["TorchEngine"]


POSITIONS_AT_ONCE = 8192
"""Latent positions T·H·W of a packed call, of one row at least."""


class TorchEngine:
    """Runs rows together: on a CPU of any shapes, packed; else of equal latents, contexts padded and masked where
    lengths differ.

    Weights may be bfloat16; timesteps and latents come and go as float32 (NUMERICS, precision).

    Args:
        max_rows: most rows of one forward call; more are run one group after another.
        pad_latents: run rows of different shapes together too, padded. Worth it where launches cost more than tokens.
        guidance_embedding: what the guidance embedding is fed.
        packed: use the packed forward; None does so on a CPU outside of autocast, which the module itself is for.
    """

    def __init__(
        self,
        model: MMDiT,
        *,
        max_rows: int = 16,
        pad_latents: bool = False,
        guidance_embedding: float = 6000.0,
        packed: bool | None = None,
    ) -> None:
        self.model = model.eval()
        self.max_rows = max_rows
        self.pad_latents = pad_latents
        self.guidance_embedding = guidance_embedding
        self.packed = packed
        self._pack = PackedForward(model)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.model.proj_out.weight.device

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """Velocity of each row, [C, T, H, W], float32."""
        velocities: dict[int, Tensor] = {}
        for indices in self._groups(rows):
            group = [rows[i] for i in indices]
            try:
                results = self._run(group)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                shapes = ", ".join(str(list(row.latents.shape)) for row in group)
                raise DeviceOutOfMemory(f"the device has too little memory for latents of {shapes}") from error
            velocities.update(zip(indices, results, strict=True))
        return [velocities[i] for i in range(len(rows))]

    def _packs(self) -> bool:
        if self.packed is not None:
            return self.packed
        return self.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def _groups(self, rows: Sequence[Row]) -> Iterable[list[int]]:
        if self._packs():
            yield from _few_tokens([row.latents[0].numel() for row in rows], self.max_rows)
            return
        by_shape: dict[object, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            by_shape[None if self.pad_latents else row.latents.shape].append(i)
        for indices in by_shape.values():
            for start in range(0, len(indices), self.max_rows):
                yield indices[start : start + self.max_rows]

    def _run(self, rows: Sequence[Row]) -> list[Tensor]:
        device = self.device
        timestep = torch.tensor([row.timestep for row in rows], dtype=torch.float32, device=device)
        guidance = torch.full_like(timestep, self.guidance_embedding)
        if self._packs():
            out = self._pack([row.latents for row in rows], timestep, [row.context for row in rows], guidance)
            return [one.float() for one in out]
        context, mask = _pad_context([row.context for row in rows], device)
        latents = [row.latents.to(device) for row in rows]
        if len({row.shape for row in latents}) == 1:
            return list(self.model(torch.stack(latents), timestep, context, mask, guidance).float())
        return [out.float() for out in self.model.forward_rows(latents, timestep, context, mask, guidance)]


def _out_of_memory(error: Exception) -> bool:
    """A GPU's allocator has an error of its own; the processor's raises a plain one."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _few_tokens(sizes: Sequence[int], max_rows: int) -> Iterable[list[int]]:
    """Rows in their order, together as long as they are few and small: large ones gain nothing from company."""
    group: list[int] = []
    for i, size in enumerate(sizes):
        if group and (len(group) == max_rows or sum(sizes[one] for one in group) + size > POSITIONS_AT_ONCE):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _pad_context(contexts: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Contexts [L_i, D] to [B, L, D] and the mask [B, L] of what exists; no mask where all lengths agree."""
    lengths = torch.tensor([len(context) for context in contexts], device=device)
    padded = torch.nn.utils.rnn.pad_sequence([context.to(device) for context in contexts], batch_first=True)
    if len(set(lengths.tolist())) == 1:
        return padded, None
    return padded, torch.arange(padded.shape[1], device=device) < lengths[:, None]
