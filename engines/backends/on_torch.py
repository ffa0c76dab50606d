"""PyTorch: the modules as they are, or compiled by `torch.compile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vogue.schemas.engines import TorchSpec

from ..compiled.signatures import Network
from ..loading import LoadedVAE, load_mmdit
from ..port import Decoder, Engine
from ..torch_engine import TorchEngine

if TYPE_CHECKING:
    from ..registry import Site

__all__ = ["identify", "open_decoder", "open_denoiser"]


def identify(spec: TorchSpec, site: Site, network: Network) -> str:
    """Version, device, and whether it is compiled: compiled kernels round otherwise."""
    return f"torch-{torch.__version__}-{site.device}" + ("-compiled" if spec.compiled else "")


def open_denoiser(spec: TorchSpec, site: Site) -> Engine:
    """The MMDiT module."""
    model = load_mmdit(site.weights, site.preset.mmdit, site.device, site.dtype)
    packed = False if spec.compiled else None  # the packed forward goes around what is compiled
    if spec.compiled:
        model.forward_tokens = torch.compile(model.forward_tokens, dynamic=True)  # type: ignore[method-assign]
    return TorchEngine(model, guidance_embedding=site.preset.schedule.guidance_embedding, packed=packed)


def open_decoder(spec: TorchSpec, site: Site, vae: LoadedVAE) -> Decoder:
    """The VAE module."""
    if spec.compiled:
        vae.decode = torch.compile(vae.decode, dynamic=True)  # type: ignore[method-assign]
    return vae
