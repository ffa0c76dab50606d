"""The networks as modules that take and give exactly what their `Signature` says: what is exported, and what a server runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vogue.schemas.config import Preset

from ..loading import LoadedVAE
from ..models.mmdit import MMDiT
from ..models.patch_vae import PatchVAE
from .signatures import Network

__all__ = ["DecoderGraph", "MMDiTGraph", "graph_of"]


class MMDiTGraph(nn.Module):
    """Patch tokens to velocity, the refiner included."""

    def __init__(self, mmdit: MMDiT) -> None:
        super().__init__()
        self.mmdit = mmdit

    def forward(
        self,
        tokens: Tensor,
        rope_cos: Tensor,
        rope_sin: Tensor,
        timestep: Tensor,
        guidance: Tensor,
        context: Tensor,
        latent_mask: Tensor,
        context_mask: Tensor,
    ) -> Tensor:
        """Shapes and names as in `signature_of`."""
        refined = self.mmdit.context_embedder(context, timestep, context_mask)
        velocity = self.mmdit.forward_tokens(
            tokens,
            (rope_cos, rope_sin),
            timestep,
            refined,
            latent_mask=latent_mask,
            context_mask=context_mask,
            guidance=guidance,
        )
        return velocity.float()


class DecoderGraph(nn.Module):
    """Latents to pixels: the whole of the small VAE's decoder, one tile of the large one's."""

    def __init__(self, vae: LoadedVAE) -> None:
        super().__init__()
        self.vae: nn.Module = vae if isinstance(vae, PatchVAE) else vae.net.decoder
        self.whole = isinstance(vae, PatchVAE)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, T, h, w] → [B, 3, F, H, W], float32."""
        if self.whole:
            pixels: Tensor = self.vae.decode(latents)  # type: ignore[operator]
        else:
            pixels = self.vae(latents.to(next(self.vae.parameters()).dtype))
        return pixels.float()


def graph_of(network: Network, module: MMDiT | LoadedVAE) -> nn.Module:
    """The module to export for a network."""
    if isinstance(module, MMDiT):
        if network is not Network.MMDIT:
            raise ValueError(f"an MMDiT is no {network}")
        return MMDiTGraph(module)
    return DecoderGraph(module)


def example_inputs(preset: Preset, network: Network, sizes: dict[str, int]) -> dict[str, Tensor]:
    """Random inputs of the sizes asked for, for tracing and comparing. The same for the same sizes."""
    from .signatures import signature_of

    generator = torch.Generator().manual_seed(0)
    inputs = {}
    for one in signature_of(preset, network).inputs:
        shape = [axis if isinstance(axis, int) else sizes[axis] for axis in one.shape]
        if one.dtype == "bool":
            inputs[one.name] = torch.ones(shape, dtype=torch.bool)
        elif one.name in ("timestep", "guidance"):
            inputs[one.name] = torch.rand(shape, generator=generator) * 1000
        else:
            inputs[one.name] = torch.randn(shape, generator=generator)
    if "rope_cos" in inputs:
        inputs["rope_sin"] = inputs["rope_cos"].sin()
        inputs["rope_cos"] = inputs["rope_cos"].cos()
    return inputs
