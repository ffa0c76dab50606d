"""What is trained together: the connector and the MMDiT behind it."""

from __future__ import annotations

from torch import Tensor, nn

from vogue.engines.models.connector import Connector
from vogue.engines.models.mmdit import MMDiT
from vogue.schemas.config import Preset

__all__ = ["Generator"]


class Generator(nn.Module):
    """Connector and MMDiT, trained as one."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.connector = Connector(preset.connector)
        self.mmdit = MMDiT(preset.mmdit)
        self.connector.init_weights()
        self.mmdit.init_weights()

    def forward(self, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Velocity [B, C, T, h, w] of latents, given MLLM states [B, L, D]."""
        velocity: Tensor = self.mmdit(latents, timestep, self.connector(states), mask)
        return velocity
