"""What a preset's networks are made of, without their memory: every parameter's name and shape, from construction on torch's
meta device. 7B and 13B parameters take a second or two this way, and no weights.

An MLLM's architecture is the `config.json` beside its weights. Without one, the released presets take Qwen2.5-VL-7B-Instruct's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.initialization import no_init_weights

from vogue.schemas.config import Preset, Variant
from vogue.schemas.errors import WeightsMismatch

from ..mllm_loading import EMBEDDING, QUERY_MARKS
from ..models.connector import Connector
from ..models.mmdit import MMDiT
from ..models.vae import build_vae, weights_of
from .keys import Part

__all__ = ["Blueprint", "Shapes", "blueprint", "read_architecture", "released_architecture"]

Shapes = Mapping[str, tuple[int, ...]]
LM_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Blueprint:
    """Names and shapes of every part, by the names of our layout."""

    parts: Mapping[Part, Shapes]
    architecture: Qwen2_5_VLConfig

    @property
    def tied(self) -> frozenset[str]:
        """Keys of the MLLM that may be missing because it shares them with another."""
        return frozenset([LM_HEAD]) if self.architecture.tie_word_embeddings else frozenset()

    def parameters(self, part: Part) -> int:
        """How many numbers the part's file holds; what is shared counts once."""
        shared = self.tied if part is Part.MLLM else frozenset()
        return sum(math.prod(shape) for key, shape in self.parts[part].items() if key not in shared)


def blueprint(preset: Preset, architecture: Qwen2_5_VLConfig | None = None) -> Blueprint:
    """The parts of a preset.

    Args:
        architecture: of the MLLM before queries were appended; by default the released one.
    Raises:
        WeightsMismatch: the MLLM's width is not what the connector takes.
    """
    architecture = architecture if architecture is not None else released_architecture()
    width = int(architecture.get_text_config().hidden_size)
    if width != preset.connector.in_dim:
        raise WeightsMismatch(
            f"the MLLM's config.json says hidden states of {width}, and {preset.name}'s connector takes"
            f" {preset.connector.in_dim}: this is another size of Qwen2.5-VL"
        )
    with torch.device("meta"):
        codec = weights_of(build_vae(preset.vae))
        parts = {
            Part.MLLM: _mllm(architecture, preset),
            Part.CONNECTOR: _shapes(Connector(preset.connector)),
            Part.MMDIT: _shapes(MMDiT(preset.mmdit)),
            Part.CODEC: _shapes(codec),
        }
    return Blueprint(parts, architecture)


def _mllm(architecture: Qwen2_5_VLConfig, preset: Preset) -> Shapes:
    with no_init_weights():
        model = Qwen2_5_VLForConditionalGeneration._from_config(architecture, dtype=torch.bfloat16)
    shapes = dict(_shapes(model))
    if preset.mllm.variant is Variant.QUERIES:
        appended = preset.mllm.num_queries + QUERY_MARKS
        for key in (EMBEDDING, LM_HEAD):
            rows, width = shapes[key]
            shapes[key] = (rows + appended, width)
    return shapes


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def read_architecture(folder: Path) -> Qwen2_5_VLConfig:
    """The architecture in a folder's `config.json`.

    Raises:
        WeightsMismatch: there is none, or it is not Qwen2.5-VL's.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsMismatch(f"{folder} has no config.json; expected Qwen2.5-VL in Hugging Face's layout")
    try:
        return Qwen2_5_VLConfig.from_pretrained(folder)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise WeightsMismatch(f"{path} does not describe a Qwen2.5-VL: {error}") from error


def released_architecture() -> Qwen2_5_VLConfig:
    """Qwen2.5-VL-7B-Instruct, as its `config.json` gives it (arXiv 2502.13923, table 1)."""
    text: dict[str, Any] = {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128_000,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": [16, 24, 24]},
    }
    vision: dict[str, Any] = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "out_hidden_size": 3584,
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
