"""The networks as modules that take and give exactly what their `Signature` says: what is exported, and what a server runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vogue.schemas.config import Preset

from ..loading import LoadedVAE
from ..models.mmdit import MMDiT
from ..models.patch_vae import PatchVAE
from .signatures import Network

__all__ = ["DecoderGraph", "MMDiTGraph", "example_inputs", "graph_of", "traceable"]


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


@contextmanager
def traceable() -> Iterator[None]:
    """While a graph is traced, the large VAE's frame-causal mask is made in a way that the exporter translates rightly.

    diffusers makes it with `repeat_interleave`, whose translation (onnxscript 0.7) repeats the wrong axis when both sizes are open.
    """
    from diffusers.models.autoencoders import autoencoder_kl_hunyuan_video as large

    original = large.prepare_causal_attention_mask
    large.prepare_causal_attention_mask = _causal_mask
    try:
        yield
    finally:
        large.prepare_causal_attention_mask = original


def _causal_mask(
    num_frames: int, height_width: int, dtype: torch.dtype, device: torch.device, batch_size: int | None = None
) -> Tensor:
    """0 where a key's frame is not after the query's, else -inf: [N, N] or [B, N, N] with N = frames · places."""
    frame = torch.arange(num_frames * height_width, device=device) // height_width
    mask = torch.zeros((), dtype=dtype, device=device).where(frame[None, :] <= frame[:, None], -float("inf"))
    return mask if batch_size is None else mask.unsqueeze(0).expand(batch_size, -1, -1)


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
