"""The engine ports: what runs the MMDiT and what runs the VAE's decoder, whatever library does it.

One call of `Engine.forward` takes a list of rows. The step loop stands outside it, so that jobs can share a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Decoder", "Engine", "Row"]


@dataclass(frozen=True)
class Row:
    """One forward pass of one job.

    latents: [C, T, H, W], float32. timestep: 1000·σ. context: [L, D], the connector's output. Rows of one call may differ
    in every size.
    """

    latents: Tensor
    timestep: float
    context: Tensor


class Engine(Protocol):
    """Something that computes velocities."""

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """Velocity of each row, [C, T, H, W], float32; a row's result does not depend on its neighbours.

        Raises:
            ProfileExceeded: a shape outside what the engine was compiled for.
            DeviceOutOfMemory: the rows do not fit the device.
        """
        ...


class Decoder(Protocol):
    """Something that turns latents into pixels. A VAE module is one."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, F, H, W], about [-1, 1], of normalised latents [B, C, T, h, w].

        Raises:
            ProfileExceeded: a shape outside what the decoder was compiled for.
            DeviceOutOfMemory: the clip does not fit the device.
        """
        ...
