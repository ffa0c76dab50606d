"""From latents and scalars to vectors of model width, and back: patches, timesteps, guidance."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConditionEmbedding", "EmbedderMLP", "PatchEmbed", "patchify", "sinusoid", "unpatchify"]

SINUSOID_DIM = 256
MAX_PERIOD = 10_000.0


def patchify(latents: Tensor, patch: int) -> Tensor:
    """Cut latents [B, C, T, H, W] into tokens [B, T·H/p·W/p, C·p·p], raster order, time slowest.

    Raises:
        ValueError: a side is not a multiple of the patch.
    """
    batch, channels, frames, height, width = latents.shape
    if height % patch or width % patch:
        raise ValueError(f"latents of {height}×{width} do not divide into {patch}×{patch} patches")
    cut = latents.reshape(batch, channels, frames, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(1, 3)


def unpatchify(tokens: Tensor, shape: tuple[int, int, int], patch: int) -> Tensor:
    """Inverse of `patchify`: tokens [B, N, C·p·p] to latents [B, C, T, H, W], shape = (T, H, W)."""
    frames, height, width = shape
    cut = tokens.reshape(tokens.shape[0], frames, height // patch, width // patch, -1, patch, patch)
    return cut.permute(0, 4, 1, 2, 5, 3, 6).reshape(tokens.shape[0], -1, frames, height, width)


@lru_cache
def _frequencies() -> Tensor:
    """The 128 frequencies 10000^(-i/128), float32, the same bits on every machine.

    At 6000 one unit in the last place of a frequency moves its angle by 4e-4, and vector math libraries disagree about
    near ties. So: rounded to nearest, except the near tie 12 (0.479 of a unit), taken upwards. That one is inferred, not
    known: with it the golden velocities agree within 3e-6 in place of 8e-5.
    """
    half = SINUSOID_DIM // 2
    exponents = -math.log(MAX_PERIOD) * torch.arange(half, dtype=torch.float32, device="cpu") / half
    table = torch.exp(exponents.double()).float()
    table[12] = torch.nextafter(table[12], torch.ones(()))
    return table


def sinusoid(values: Tensor) -> Tensor:
    """Cosines then sines of `values` [B] at 128 geometric frequencies: [B, 256], float32.

    Values run to 6000, where bfloat16 steps by 32, so nothing here is rounded below float32.
    """
    angles = values.float()[:, None] * _frequencies().to(values.device)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class PatchEmbed(nn.Module):
    """A patch to model width. A strided convolution in the checkpoint, computed as the matrix product it is."""

    def __init__(self, in_channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_channels, dim, kernel_size=(1, patch, patch), stride=(1, patch, patch))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, C·p·p] → [B, N, D]."""
        return F.linear(tokens.to(self.proj.weight.dtype), self.proj.weight.flatten(1), self.proj.bias)


class EmbedderMLP(nn.Module):
    """Linear → SiLU → Linear on one vector a row, in the weights' own precision also under autocast."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_dim] → [B, D]."""
        with torch.autocast(x.device.type, enabled=False):
            return self.linear_2(F.silu(self.linear_1(x.to(self.linear_1.weight.dtype))))


class ConditionEmbedding(nn.Module):
    """What modulates every block: the timestep's embedding plus, where the model has one, the guidance's.

    HunyuanVideo's pooled-text embedding is left out (NUMERICS, weights).
    """

    def __init__(self, dim: int, guidance_embeds: bool) -> None:
        super().__init__()
        self.timestep_embedder = EmbedderMLP(SINUSOID_DIM, dim)
        self.guidance_embedder = EmbedderMLP(SINUSOID_DIM, dim) if guidance_embeds else None

    def forward(self, timestep: Tensor, guidance: Tensor) -> Tensor:
        """timestep, guidance: [B], in thousandths → [B, D]."""
        embedding = self.timestep_embedder(sinusoid(timestep))
        if self.guidance_embedder is not None:
            embedding = embedding + self.guidance_embedder(sinusoid(guidance))
        return embedding
