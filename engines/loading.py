"""Networks from a weights folder, by the sizes a preset gives.

    mllm/                     Qwen2.5-VL in Hugging Face's layout: config.json, tokenizer.json, safetensors
    mllm.ckpt                 laid over mllm/ where it exists (the released *queries* variant)
    mmdit.safetensors         the MMDiT; or a folder mmdit/ of shards with an index
    connector.safetensors     the connector
    model.ckpt                in place of the last two: the released file with both
    transformer/              HunyuanVideo's own transformer, under model.ckpt where it exists
    vae.safetensors | vae/    the codec
    prompts.json              wording that replaces the preset's, where it exists

`vogue weights import` writes such a folder from the released files. Every load is strict: `WeightsMismatch` names what does
not fit. The MLLM has a module of its own, `mllm_loading`, because its library takes seconds to import and only one service needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from vogue.schemas.config import ConnectorConfig, MMDiTConfig, Preset, Prompts, VAEConfig

from .models.connector import Connector
from .models.mmdit import MMDiT
from .models.patch_vae import PatchVAE
from .models.vae import build_vae, weights_of
from .weights import CONNECTOR_PREFIX, load_into, overlay, read_weights, split_prefix

if TYPE_CHECKING:
    from .models.hunyuan_vae import HunyuanVAE

__all__ = [
    "LoadedVAE",
    "load_connector",
    "load_mmdit",
    "load_prompts",
    "load_vae",
    "materialise",
    "read_denoiser_weights",
]

M = TypeVar("M", bound=nn.Module)

LoadedVAE: TypeAlias = "HunyuanVAE | PatchVAE"
"""A codec with its weights."""

POOLED_TEXT = "time_text_embed.text_embedder."
"""HunyuanVideo's pooled-text embedding: in the base weights, not in this model (NUMERICS, weights)."""


def materialise(
    build: Callable[[], M], state: Mapping[str, Tensor], what: str, device: torch.device | str, dtype: torch.dtype
) -> M:
    """Build a network without initialising it, and fill it from a state dict.

    Only for modules whose every buffer is in the state dict.
    """
    with torch.device("meta"):
        module = build()
    module = module.to(dtype).to_empty(device=device)
    load_into(module, state, what)
    return module.eval().requires_grad_(False)


def read_denoiser_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(connector's, MMDiT's) state dicts, from either layout."""
    release = folder / "model.ckpt"
    if not release.is_file():
        sharded = folder / "mmdit"
        return (
            read_weights(folder / "connector.safetensors"),
            read_weights(sharded if sharded.is_dir() else folder / "mmdit.safetensors"),
        )
    base: dict[str, Tensor] = {}
    if (folder / "transformer").is_dir():
        _, base = split_prefix(read_weights(folder / "transformer"), POOLED_TEXT)
    return split_prefix(overlay(base, read_weights(release)), CONNECTOR_PREFIX)


def load_connector(
    folder: Path, config: ConnectorConfig, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Connector:
    """The connector of a weights folder."""
    return materialise(lambda: Connector(config), read_denoiser_weights(folder)[0], "connector", device, dtype)


def load_mmdit(
    folder: Path, config: MMDiTConfig, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> MMDiT:
    """The MMDiT of a weights folder."""
    return materialise(lambda: MMDiT(config), read_denoiser_weights(folder)[1], "MMDiT", device, dtype)


def load_vae(
    path: Path,
    config: VAEConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    tiling: bool = False,
) -> LoadedVAE:
    """The codec of a weights folder, or of a file."""
    if path.is_dir() and (path / "vae.safetensors").is_file():
        path = path / "vae.safetensors"
    elif path.is_dir() and (path / "vae").is_dir():
        path = path / "vae"
    vae = build_vae(config, tiling=tiling)
    load_into(weights_of(vae), read_weights(path), "codec")
    return vae.to(device=device, dtype=dtype).eval().requires_grad_(False)


def load_prompts(folder: Path, preset: Preset) -> Prompts:
    """The wording of a weights folder (`prompts.json`: system, tasks), or else the preset's own."""
    path = folder / "prompts.json"
    return Prompts.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else preset.prompts
