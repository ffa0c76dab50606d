"""Networks from a weights folder, by the sizes a preset gives.

    mllm/                     Qwen2.5-VL in Hugging Face's layout: config.json, tokenizer.json, safetensors
    mllm.ckpt                 laid over mllm/ where it exists (the released *queries* variant)
    mmdit.safetensors         the MMDiT
    connector.safetensors     the connector
    model.ckpt                in place of the last two: the released file with both
    transformer/              HunyuanVideo's own transformer, under model.ckpt where it exists
    vae.safetensors | vae/    the codec
    prompts.json              wording that replaces the preset's, where it exists

Every load is strict: `WeightsMismatch` names what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.initialization import no_init_weights

from vogue.schemas.config import ConnectorConfig, MLLMConfig, MMDiTConfig, Preset, Prompts, VAEConfig, Variant
from vogue.schemas.errors import WeightsMismatch

from .mllm import MLLM
from .models.connector import Connector
from .models.hunyuan_vae import HunyuanVAE
from .models.mmdit import MMDiT
from .models.patch_vae import PatchVAE
from .models.vae import build_vae, weights_of
from .processor import VisionProcessor
from .prompting import ChatTokenizer
from .weights import CONNECTOR_PREFIX, load_into, modern_mllm_keys, overlay, read_weights, split_prefix

__all__ = [
    "build_mllm",
    "load_connector",
    "load_mllm",
    "load_mmdit",
    "load_prompts",
    "load_vae",
    "materialise",
    "read_denoiser_weights",
]

M = TypeVar("M", bound=nn.Module)

POOLED_TEXT = "time_text_embed.text_embedder."
"""HunyuanVideo's pooled-text embedding: in the base weights, not in this model (NUMERICS, weights)."""

QUERY_MARKS = 2
"""Rows of the resized embedding besides the queries: begin and end."""


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
        return read_weights(folder / "connector.safetensors"), read_weights(folder / "mmdit.safetensors")
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
) -> HunyuanVAE | PatchVAE:
    """The codec of a weights folder, or of a file."""
    if path.is_dir() and (path / "vae.safetensors").is_file():
        path = path / "vae.safetensors"
    elif path.is_dir() and (path / "vae").is_dir():
        path = path / "vae"
    vae = build_vae(config, tiling=tiling)
    load_into(weights_of(vae), read_weights(path), "codec")
    return vae.to(device=device, dtype=dtype).eval().requires_grad_(False)


def load_mllm(
    folder: Path,
    config: MLLMConfig,
    system_prompt: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    overlaid: Path | None = None,
) -> MLLM:
    """The MLLM of a Hugging Face folder, with another state laid over it where there is one.

    Raises:
        WeightsMismatch: a file is missing, or the merged state does not fit.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise WeightsMismatch(f"{folder} has no {name}; expected Qwen2.5-VL in Hugging Face's layout")
    state = modern_mllm_keys(read_weights(folder))
    if overlaid is not None:
        state = overlay(state, modern_mllm_keys(read_weights(overlaid)))
    architecture = Qwen2_5_VLConfig.from_pretrained(folder)
    statistics = {}
    if (folder / "preprocessor_config.json").is_file():
        statistics = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    return build_mllm(
        architecture, state, Tokenizer.from_file(str(folder / "tokenizer.json")), config, system_prompt, device, dtype,
        image_mean=statistics.get("image_mean"), image_std=statistics.get("image_std"),
    )  # fmt: skip


def build_mllm(
    architecture: Qwen2_5_VLConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    config: MLLMConfig,
    system_prompt: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    image_mean: list[float] | None = None,
    image_std: list[float] | None = None,
) -> MLLM:
    """A Qwen2.5-VL around a state dict in transformers 5's names.

    The vocabulary is as large as the state's embedding: the *queries* variant appends its rows to it.
    """
    embedding = "model.language_model.embed_tokens.weight"
    if embedding not in state:
        raise WeightsMismatch(f"the weights do not fit the MLLM. missing: {embedding}")
    rows = state[embedding].shape[0]
    architecture.get_text_config().vocab_size = rows
    first_query_row = rows - config.num_queries - QUERY_MARKS
    if config.variant is Variant.QUERIES and first_query_row < tokenizer.get_vocab_size():
        raise WeightsMismatch(
            f"the embedding has {rows} rows: {config.num_queries} queries and {QUERY_MARKS} marks leave {first_query_row}, "
            f"but the tokenizer alone has {tokenizer.get_vocab_size()}"
        )
    with no_init_weights():
        model = Qwen2_5_VLForConditionalGeneration._from_config(architecture, dtype=dtype)
    tied = ["lm_head.weight"] if architecture.tie_word_embeddings else []
    load_into(model, state, "MLLM", tied=tied)
    model.tie_weights()
    vision = architecture.vision_config
    return MLLM(
        model.to(device),
        ChatTokenizer(
            tokenizer,
            num_queries=config.num_queries if config.variant is Variant.QUERIES else 0,
            first_query_row=first_query_row,
            max_text_tokens=config.max_text_tokens,
        ),
        VisionProcessor(
            patch_size=vision.patch_size,
            temporal_patch_size=vision.temporal_patch_size,
            merge_size=vision.spatial_merge_size,
            min_pixels=config.min_pixels,
            max_pixels=config.max_pixels,
            image_mean=image_mean,
            image_std=image_std,
        ),
        config,
        system_prompt,
    )


def load_prompts(folder: Path, preset: Preset) -> Prompts:
    """The wording of a weights folder (`prompts.json`: system, tasks), or else the preset's own."""
    path = folder / "prompts.json"
    return Prompts.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else preset.prompts
