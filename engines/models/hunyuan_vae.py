"""HunyuanVideo's causal video autoencoder behind the codec's port; the network itself is diffusers'."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLHunyuanVideo
from torch import Tensor, nn

from vogue.schemas.config import HunyuanVAEConfig

from .patch_vae import Posterior

__all__ = ["HunyuanVAE"]


LOGVAR_RANGE = (-30.0, 20.0)


class HunyuanPosterior(Posterior):
    """As the codec's other family, but with the wide range of log variances that this one was trained with."""

    def __init__(self, mean: Tensor, logvar: Tensor) -> None:
        super().__init__(mean, logvar)
        self.logvar = logvar.clamp(*LOGVAR_RANGE)


class HunyuanVAE(nn.Module):
    """Pixels [B, 3, F, H, W] in [-1, 1], F = 4k + 1, to latents [B, C, k + 1, H / 8, W / 8], and back.

    Latents are scaled by `scaling_factor` after encoding and before decoding (NUMERICS, latents). Long clips are done in
    overlapping spans of frames, as diffusers does by default.

    Args:
        tiling: also cut large pictures into overlapping tiles. Saves memory at 480p and above, but blends seams.
    """

    def __init__(self, config: HunyuanVAEConfig, *, tiling: bool = False) -> None:
        super().__init__()
        self.config = config
        stages = len(config.block_out_channels)
        network: Any = AutoencoderKLHunyuanVideo  # untyped in diffusers
        self.net = network(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            latent_channels=config.latent_channels,
            down_block_types=("HunyuanVideoDownBlock3D",) * stages,
            up_block_types=("HunyuanVideoUpBlock3D",) * stages,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            scaling_factor=config.scaling_factor,
            spatial_compression_ratio=config.spatial_compression_ratio,
            temporal_compression_ratio=config.temporal_compression_ratio,
            mid_block_add_attention=config.mid_block_add_attention,
        )
        if tiling:
            self.net.enable_tiling()

    def posterior(self, pixels: Tensor) -> Posterior:
        """The encoder's Gaussian over unscaled latents.

        Raises:
            ValueError: frames are not 4k + 1, or a side is not a multiple of 8.
        """
        frames, height, width = pixels.shape[2:]
        side, group = self.config.spatial_compression_ratio, self.config.temporal_compression_ratio
        if height % side or width % side or frames % group != 1:
            raise ValueError(
                f"the codec needs sides in multiples of {side} and {group}k + 1 frames, "
                f"got {frames} frames of {height}×{width}"
            )
        moments = self.net._encode(pixels.to(self.net.dtype)).float()
        mean, logvar = moments.chunk(2, dim=1)
        return HunyuanPosterior(mean, logvar)

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised latents: the posterior's mode, scaled."""
        return self.normalise(self.posterior(pixels).mean)

    def normalise(self, latents: Tensor) -> Tensor:
        """Raw to scaled latents."""
        return latents * self.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, F, H, W], about [-1, 1], of normalised latents."""
        raw = latents.to(torch.float32) / self.config.scaling_factor
        pixels: Tensor = self.net.decode(raw.to(self.net.dtype)).sample
        return pixels.float()
