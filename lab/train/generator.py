"""What is trained together: the connector and the MMDiT behind it, and a reader that only training needs."""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vogue.engines.models.connector import Connector
from vogue.engines.models.mmdit import MMDiT
from vogue.schemas.config import Preset

from .labels import ATTRIBUTES, NUM_PLACES

__all__ = ["Generator", "reading_loss", "reading_right"]

CLASSES: Final = tuple(len(values) + 1 for values in ATTRIBUTES.values())
PLACE_WEIGHT = 0.5
# Shape changes the fewest pixels, so it is learnt last.
NAME_WEIGHTS: Final = {"shape": 2.0}


class Generator(nn.Module):
    """Connector and MMDiT, trained as one.

    The reader tells from the latent tokens half-way, after the dual-stream blocks, what is to be seen there. Asking for that
    makes words reach their places long before the velocity alone would (as in representation alignment,
    arXiv 2410.06940, with exact facts in place of another network's features). It does not ship.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.connector = Connector(preset.connector)
        self.mmdit = MMDiT(preset.mmdit)
        self.connector.init_weights()
        self.mmdit.init_weights()
        width = preset.mmdit.hidden_size
        self.reader = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, sum(CLASSES) + NUM_PLACES)
        )
        self._halfway: list[Tensor] = []
        self.mmdit.transformer_blocks[-1].register_forward_hook(self._keep)

    def forward(self, latents: Tensor, timestep: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Velocity [B, C, T, h, w] of latents, given MLLM states [B, L, D]."""
        self._halfway.clear()
        velocity: Tensor = self.mmdit(latents, timestep, self.connector(states), mask)
        return velocity

    def reading(self) -> Tensor:
        """What the last forward's latent tokens [B, N] hold, as logits and places [B, N, sum(CLASSES) + NUM_PLACES]."""
        read: Tensor = self.reader(self._halfway.pop().float())
        return read

    # Outside of what is compiled, since a compiled block may not write to lists.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _keep(self, block: nn.Module, given: Any, result: tuple[Tensor, Tensor]) -> None:
        if self.training:
            self._halfway.append(result[0])


def reading_loss(reading: Tensor, labels: Tensor, places: Tensor) -> Tensor:
    """How far a reading [B, N, K] is from the facts: labels [B, N, attributes], 0 where no subject is, and places [B, N, 3]."""
    *logits, where = reading.float().split((*CLASSES, NUM_PLACES), dim=-1)
    weights = [NAME_WEIGHTS.get(name, 1.0) for name in ATTRIBUTES]
    names = [
        weight * F.cross_entropy(one.flatten(0, 1), labels[..., index].flatten())
        for index, (weight, one) in enumerate(zip(weights, logits, strict=True))
    ]
    seen = labels[..., :1] > 0
    off = F.smooth_l1_loss(where * seen, places * seen)
    return torch.stack(names).sum() / sum(weights) + PLACE_WEIGHT * off


def reading_right(reading: Tensor, labels: Tensor) -> dict[str, float]:
    """Share of the patches with a subject whose attribute is named rightly, of a reading as in `reading_loss`."""
    seen = labels[..., 0] > 0
    logits = reading.float().split((*CLASSES, NUM_PLACES), dim=-1)
    return {
        name: float((one.argmax(-1) == labels[..., index])[seen].float().mean())
        for index, (name, one) in enumerate(zip(ATTRIBUTES, logits, strict=False))
    }
