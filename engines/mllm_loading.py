"""The MLLM from a Hugging Face folder, or around a state dict; strictly, in either variant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.initialization import no_init_weights

from vogue.schemas.config import MLLMConfig, Variant
from vogue.schemas.errors import WeightsMismatch

from .mllm import MLLM
from .processor import VisionProcessor
from .prompting import ChatTokenizer
from .weights import load_into, modern_mllm_keys, overlay, read_weights

__all__ = ["QUERY_MARKS", "build_mllm", "load_mllm"]

EMBEDDING = "model.language_model.embed_tokens.weight"
QUERY_MARKS = 2
"""Rows of the resized embedding besides the queries: begin and end."""


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
    architecture = Qwen2_5_VLConfig.from_pretrained(folder)
    original_rows = _original_rows(state, architecture, overlaid is not None)
    if overlaid is not None:
        state = overlay(state, modern_mllm_keys(read_weights(overlaid)))
    statistics = {}
    if (folder / "preprocessor_config.json").is_file():
        statistics = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    return build_mllm(
        architecture, state, Tokenizer.from_file(str(folder / "tokenizer.json")), config, system_prompt, device, dtype,
        original_rows=original_rows, image_mean=statistics.get("image_mean"), image_std=statistics.get("image_std"),
    )  # fmt: skip


def _original_rows(state: Mapping[str, Tensor], architecture: Qwen2_5_VLConfig, overlaid: bool) -> int | None:
    """Rows of the embedding before queries were appended, where that is known: the base weights' when another state will
    lie over them, else what `config.json` says, when it is less than there is (an import leaves it as it was)."""
    if EMBEDDING not in state:
        return None
    rows = int(state[EMBEDDING].shape[0])
    said = int(architecture.get_text_config().vocab_size)
    return rows if overlaid else said if said < rows else None


def build_mllm(
    architecture: Qwen2_5_VLConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    config: MLLMConfig,
    system_prompt: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    original_rows: int | None = None,
    image_mean: list[float] | None = None,
    image_std: list[float] | None = None,
) -> MLLM:
    """A Qwen2.5-VL around a state dict in transformers 5's names.

    The vocabulary is as large as the state's embedding: the *queries* variant appends its rows to it, after the
    `original_rows` of the base weights, or at the end where those are not known.
    """
    if EMBEDDING not in state:
        raise WeightsMismatch(f"the weights do not fit the MLLM. missing: {EMBEDDING}")
    rows = state[EMBEDDING].shape[0]
    architecture.get_text_config().vocab_size = rows
    appended = config.num_queries + QUERY_MARKS
    first_query_row = rows - appended if original_rows is None else original_rows
    least = tokenizer.get_vocab_size()
    if config.variant is Variant.QUERIES and not least <= first_query_row <= rows - appended:
        raise WeightsMismatch(
            f"the MLLM's embedding has {rows} rows, which do not hold {first_query_row} rows of vocabulary (the tokenizer "
            f"alone has {least}), {config.num_queries} queries and {QUERY_MARKS} marks"
        )
    with no_init_weights():
        model = Qwen2_5_VLForConditionalGeneration._from_config(architecture, dtype=dtype)
    tied = ["lm_head.weight"] if architecture.tie_word_embeddings else []
    load_into(model, state, "MLLM", tied=tied)
    model.tie_weights()
    vision: Any = architecture.vision_config
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
