"""The decoder port over anything that runs the decoder's graphs: one for pictures, one for clips."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vogue.schemas.config import Preset

from ..loading import LoadedVAE
from ..models.patch_vae import PatchVAE
from ..port import Decoder
from .profiles import Profile, profile_of
from .runner import Runner
from .signatures import Network

__all__ = ["compiled_decoder"]


def compiled_decoder(open_network: Callable[[Network], Runner], preset: Preset, vae: LoadedVAE) -> Decoder:
    """A decoder of two networks, `decoder` and `decoder_still`.

    The small VAE decodes whole clips. The large one cuts them into overlapping tiles and blends those; that stays as it is, and
    the graph takes the place of the network that decodes one tile.
    """
    clip, still = open_network(Network.DECODER), open_network(Network.DECODER_STILL)
    tiles = _Tiles(clip, still, profile_of(preset, Network.DECODER))
    if isinstance(vae, PatchVAE):
        return _Whole(tiles)
    blended = copy.copy(vae)
    # Modules keep their children in a dictionary that a shallow copy shares; the encoder's VAE must stay as it was.
    blended._modules = dict(vae._modules)
    blended.net = copy.copy(vae.net)
    blended.net._modules = dict(vae.net._modules) | {"decoder": tiles}
    return blended


class _Whole:
    def __init__(self, tiles: _Tiles) -> None:
        self._tiles = tiles

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of normalised latents."""
        return self._tiles(latents)


class _Tiles(nn.Module):
    """[B, C, T, h, w] → [B, 3, F, H, W] by the graph that fits the number of frames."""

    def __init__(self, clip: Runner, still: Runner, profile: Profile) -> None:
        super().__init__()
        self._clip, self._still, self._profile = clip, still, profile

    @torch.inference_mode()
    def forward(self, latents: Tensor) -> Tensor:
        """Pixels on the device of the latents, float32."""
        frames, height, width = latents.shape[2:]
        runner = self._still if frames == 1 else self._clip
        sizes = {"height": height, "width": width} | ({"frames": frames} if frames > 1 else {})
        self._profile.check(sizes, f"{frames} latent frames of {height}×{width}")
        batch = self._profile.axes.get("batch")
        parts = latents.float().split(batch.largest if batch is not None else 1)
        return torch.cat([runner.run({"latents": part})["pixels"].to(latents.device) for part in parts]).float()
