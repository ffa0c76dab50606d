"""What is trained together: the connector and the MMDiT behind it, and a reader that only training needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vogue.engines.models.connector import Connector
from vogue.engines.models.mmdit import MMDiT
from vogue.schemas.config import Preset

from .labels import ATTRIBUTES, NUM_PLACES
from .reading import make_reader

__all__ = ["Generator"]


class Generator(nn.Module):
    """Connector and MMDiT, trained as one.

    The reader tells from the latent tokens half-way, after the dual-stream blocks, what is to be seen there. Asking for that
    makes words reach their places long before the velocity alone would. It does not ship.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.connector = Connector(preset.connector)
        self.mmdit = MMDiT(preset.mmdit)
        self.connector.init_weights()
        self.mmdit.init_weights()
        width = preset.mmdit.hidden_size
        self.reader = make_reader(width, ATTRIBUTES, NUM_PLACES)
        self._halfway: list[Tensor] = []
        self.mmdit.transformer_blocks[-1].register_forward_hook(self._keep)

    def forward(self, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Velocity [B, C, T, h, w] of latents, given MLLM states [B, L, D]."""
        self._halfway.clear()
        velocity: Tensor = self.mmdit(latents, timestep, self.connector(states), mask)
        return velocity

    def reading(self) -> Tensor:
        """What the last forward's latent tokens [B, N] hold, as `reading_loss` judges it."""
        read: Tensor = self.reader(self._halfway.pop().float())
        return read

    # Outside of what is compiled, since a compiled block may not write to lists.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _keep(self, block: nn.Module, given: Any, result: tuple[Tensor, Tensor]) -> None:
        if self.training:
            self._halfway.append(result[0])
