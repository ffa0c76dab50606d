"""The tiny preset's networks: random, deterministic, built in milliseconds. For tests and for trying the plumbing.

The tokenizer is a byte-level one with Qwen's special tokens, so chat layout and neutralising are the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vogue.schemas.config import MLLMConfig, Preset, Variant
from vogue.schemas.presets import get_preset

from .mllm import MLLM
from .mllm_loading import QUERY_MARKS, build_mllm
from .models.connector import Connector
from .models.mmdit import MMDiT
from .models.patch_vae import PatchVAE
from .models.vae import build_vae, weights_of
from .pipeline import Pipeline
from .torch_engine import TorchEngine

__all__ = [
    "SPECIAL_TOKENS",
    "byte_tokenizer",
    "randomise",
    "tiny_architecture",
    "tiny_mllm",
    "tiny_pipeline",
    "write_tiny",
]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
SPARE_ROWS = 8
"""Embedding rows beyond the tokenizer, as Qwen's have."""

WEIGHT_SCALE = 0.05


def byte_tokenizer() -> Tokenizer:
    """One token a byte, and Qwen's special tokens after them; `\\n\\n` is one token, as the *queries* layout expects."""
    newline = "Ċ"  # byte-level notation of \n
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate([*alphabet, newline * 2])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[(newline, newline)]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def tiny_architecture(tokenizer: Tokenizer, hidden_size: int, extra_rows: int = 0) -> Qwen2_5_VLConfig:
    """A Qwen2.5-VL of two layers with patches of 8 pixels."""
    ids: dict[str, Any] = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    text = {
        "vocab_size": tokenizer.get_vocab_size() + SPARE_ROWS + extra_rows,
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": _mrope_section(hidden_size // 2),
        },
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 32,
        "fullatt_block_indexes": [1],
        "out_hidden_size": hidden_size,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def tiny_mllm(preset: Preset, seed: int = 0, config: MLLMConfig | None = None) -> MLLM:
    """A random MLLM of the preset's width."""
    config = config or preset.mllm
    tokenizer = byte_tokenizer()
    extra = config.num_queries + QUERY_MARKS if config.variant is Variant.QUERIES else 0
    architecture = tiny_architecture(tokenizer, preset.connector.in_dim, extra)
    model = Qwen2_5_VLForConditionalGeneration(architecture)
    randomise(model, seed)
    return build_mllm(architecture, model.state_dict(), tokenizer, config, preset.prompts.system)


def tiny_pipeline(preset: Preset | None = None, seed: int = 0) -> Pipeline:
    """A whole pipeline of random networks, the same for the same seed. The default is the tiny preset."""
    preset = preset or get_preset("tiny")
    connector, mmdit, vae = Connector(preset.connector), MMDiT(preset.mmdit), build_vae(preset.vae)
    for offset, network in enumerate((connector, mmdit, vae), start=1):
        randomise(network, seed + offset)
    return Pipeline(
        preset=preset,
        prompts=preset.prompts,
        mllm=tiny_mllm(preset, seed),
        connector=connector.eval().requires_grad_(False),
        engine=TorchEngine(mmdit.eval().requires_grad_(False), guidance_embedding=preset.schedule.guidance_embedding),
        vae=vae.eval().requires_grad_(False),
        device=torch.device("cpu"),
    )


def write_tiny(folder: Path, preset: Preset | None = None, seed: int = 0) -> None:
    """Write the tiny networks as a weights folder, so that loading is tested as with real ones."""
    pipeline = tiny_pipeline(preset, seed)
    mllm_dir = folder / "mllm"
    mllm_dir.mkdir(parents=True, exist_ok=True)
    model = pipeline.mllm.model
    model.config.save_pretrained(mllm_dir)
    pipeline.mllm.tokenizer.tokenizer.save(str(mllm_dir / "tokenizer.json"))
    _save(model, mllm_dir / "model.safetensors")
    _save(pipeline.connector, folder / "connector.safetensors")
    if isinstance(pipeline.engine, TorchEngine):
        _save(pipeline.engine.model, folder / "mmdit.safetensors")
    if isinstance(pipeline.vae, PatchVAE):
        _save(weights_of(pipeline.vae), folder / "vae.safetensors")
    (folder / "preset.json").write_text(pipeline.preset.model_dump_json(indent=2), encoding="utf-8")


def _save(module: torch.nn.Module, path: Path) -> None:
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, path)


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Fill matrices with noise of their fan-in's scale and biases with a little; the scales of norms stay one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            elif name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.copy_(noise * WEIGHT_SCALE)


def _mrope_section(head_dim: int) -> list[int]:
    """How the half head dimension is shared out to time, height and width."""
    half = head_dim // 2
    space = half * 3 // 8
    return [half - 2 * space, space, space]
