"""A trial at full width: one of each distinct layer with random weights, to see whether a library compiles them.

The thirteen billion parameters of the whole are twenty and forty copies of two layers; what exports and compiles once does so again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from vogue.schemas.engines import Precision
from vogue.schemas.presets import get_preset

from ..loading import LoadedVAE
from ..models.mmdit import MMDiT
from ..models.vae import build_vae, weights_of
from ..registry import Site
from .exporting import DTYPES
from .signatures import Network

__all__ = ["trial_site"]

SUFFIX = "-layers"
SEED = 0

M = TypeVar("M", bound=nn.Module)


def trial_site(
    preset_name: str, engine_dir: Path, precision: Precision, networks: list[Network]
) -> tuple[Site, dict[Network, MMDiT | LoadedVAE]]:
    """A site of the cut-down preset, and the networks of it. They belong together: the weights' digest is made up."""
    preset = get_preset(preset_name)
    layers = {"num_layers": 1, "num_single_layers": 1, "num_refiner_layers": 1}
    preset = preset.model_copy(update={"name": preset.name + SUFFIX, "mmdit": preset.mmdit.model_copy(update=layers)})
    dtype = DTYPES[precision]
    site = Site(preset, Path(), f"random-{SEED}", "cpu", dtype, engine_dir)
    modules: dict[Network, MMDiT | LoadedVAE] = {}
    if Network.MMDIT in networks:
        with torch.device("meta"):
            mmdit = MMDiT(preset.mmdit)
        modules[Network.MMDIT] = _filled(mmdit, dtype)
    if Network.DECODER in networks:
        vae = build_vae(preset.vae)
        _filled(weights_of(vae), dtype)
        vae.eval().requires_grad_(False)
        modules |= {Network.DECODER: vae, Network.DECODER_STILL: vae}
    return site, modules


def _filled(module: M, dtype: torch.dtype) -> M:
    """Small random weights, so that nothing overflows in half precision."""
    module.to(dtype)
    if any(parameter.is_meta for parameter in module.parameters()):
        module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.normal_(std=0.5 * fan_in**-0.5, generator=generator)
    return module.eval().requires_grad_(False)
