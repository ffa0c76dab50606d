"""Three-dimensional rotary position embedding over (time, height, width).

Knows nothing about batches of different shapes: it gives the table of one grid, and turns queries and keys by a table.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Rope", "apply_rope", "rope_grid", "stand_still"]

Rope = tuple[Tensor, Tensor]
"""Cosines and sines, each [N, d / 2] or [B, N, d / 2], float32."""


def rope_grid(
    grid: tuple[int, int, int], axes_dim: Sequence[int], theta: float, device: torch.device | str | None = None
) -> Rope:
    """Angles of every token of a (T, h, w) grid in raster order, time slowest.

    The head dimension is shared out to the axes, `axes_dim` = (time, height, width), each even. Time counts from 0 over
    the frames of this call (NUMERICS, latents). Returns cosines and sines, [T·h·w, sum(axes_dim) / 2].
    """
    positions = torch.meshgrid(*(torch.arange(n, dtype=torch.float32, device=device) for n in grid), indexing="ij")
    angles = []
    for position, dim in zip(positions, axes_dim, strict=True):
        exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
        angles.append(torch.outer(position.flatten(), 1.0 / theta**exponents))
    table = torch.cat(angles, dim=-1)  # [N, d / 2]
    return table.cos(), table.sin()


def stand_still(rope: Rope, count: int) -> Rope:
    """Append `count` tokens that are not turned: context tokens have no position (NUMERICS, latents)."""
    cos, sin = rope
    return pad(cos, (0, 0, 0, count), value=1.0), pad(sin, (0, 0, 0, count), value=0.0)


def apply_rope(x: Tensor, rope: Rope) -> Tensor:
    """Turn neighbouring pairs of channels by the table's angles, in float32.

    x: [B, heads, N, d] → the same shape, float32.
    """
    cos, sin = rope
    if cos.dim() == 3:  # one table a row
        cos, sin = cos[:, None], sin[:, None]
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
