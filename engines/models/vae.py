"""The codec's port, and the two families that stand behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from vogue.schemas.config import HunyuanVAEConfig, VAEConfig

from .patch_vae import PatchVAE, Posterior

if TYPE_CHECKING:
    from .hunyuan_vae import HunyuanVAE

__all__ = ["VAE", "build_vae", "latent_shape", "weights_of"]


class VAE(Protocol):
    """Pixels [B, 3, F, H, W] in [-1, 1] with F = 4k + 1, and normalised latents [B, C, k + 1, H / 8, W / 8].

    Latents are what the MMDiT works on: about zero mean and unit variance.
    """

    def posterior(self, pixels: Tensor) -> Posterior:
        """The encoder's Gaussian over unnormalised latents."""
        ...

    def normalise(self, latents: Tensor) -> Tensor:
        """Unnormalised to normalised latents."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised latents: the posterior's mode, so that equal pixels give equal latents."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of normalised latents, not clipped."""
        ...


def build_vae(config: VAEConfig, *, tiling: bool = False) -> HunyuanVAE | PatchVAE:
    """An untrained codec of the family that the configuration names. `tiling` matters to the large family only."""
    if isinstance(config, HunyuanVAEConfig):
        from .hunyuan_vae import HunyuanVAE  # diffusers takes seconds to import, and small presets never need it

        return HunyuanVAE(config, tiling=tiling)
    return PatchVAE(config)


def weights_of(vae: HunyuanVAE | PatchVAE) -> nn.Module:
    """The module whose parameter names are the checkpoint's."""
    module: nn.Module = vae if isinstance(vae, PatchVAE) else vae.net
    return module


def latent_shape(config: VAEConfig, num_frames: int, height_px: int, width_px: int) -> tuple[int, int, int, int]:
    """(C, T, h, w) of a clip's latents."""
    side, group = config.spatial_compression_ratio, config.temporal_compression_ratio
    return config.latent_channels, (num_frames - 1) // group + 1, height_px // side, width_px // side
