"""Activations of each stage at a shape, in bytes, with bfloat16 weights.

The denoiser and the codec are followed operation by operation (`tracing`), because a closed formula would have to repeat their
code. What comes out obeys simple laws, which tests hold it to:

- **Denoiser.** Nothing is kept from block to block but the residual stream, so the peak does not depend on depth; attention is
  fused, so it grows with tokens, not with their square: `bytes = a · D · (N + L) · rows`, N latent tokens, L context tokens, D the
  model width. The peak is in a dual-stream block, between norms and attention, in bytes per token and channel: the residual
  stream twice (2 · 2), queries and keys in float32 and values of both streams (10), the same joined (10), turned queries and keys
  (8), and turning the keys (halves, products and the stacked result: 12), in all a = 44. A single-stream block stays at 30.
- **Codec.** All of a span of 17 frames is alive at once, and the last levels of the decoder are widest: 256 channels at full
  size before the last level makes 128 of them. `bytes = b · frames · height · width` with b ≈ 2,320 for decoding, four and a half
  tensors of 256 · 2 bytes, and b ≈ 1,330 for encoding. Tiles of 256² px bound height and width; the whole clip is then kept three
  times: spans, their blend, and float32.
- **MLLM.** Prefill peaks in a feed-forward layer of inner width I and width D: gate, up and their product, 6 · I, beside residual and
  norm, 4 · D bytes a token. The vision tower likewise, with four patches a token, and queries and keys in float32. Answers keep keys and
  values of all layers: 2 · 2 · layers · key heads · head width bytes a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig

from vogue.schemas.config import HunyuanVAEConfig, MLLMConfig, MMDiTConfig, Preset, Task, VAEConfig, Variant

from ..mllm_loading import QUERY_MARKS
from ..models.embeddings import sinusoid
from ..models.mmdit import MMDiT
from ..models.vae import VAE, build_vae, latent_shape
from .tracing import peak_bytes

__all__ = ["Shape", "codec_bytes", "codec_piece_bytes", "denoiser_bytes", "mllm_bytes", "shapes_of"]

SPAN_FRAMES = 17
TILE_PX = 256
TEXT_TOKENS = 256
"""Of a usual instruction with system prompt and chat layout."""


@dataclass(frozen=True)
class Shape:
    """A job's size. Pictures are what the MLLM sees, sources and references what the denoiser has beside the target."""

    name: str
    height_px: int
    width_px: int
    num_frames: int
    latent_frames: int
    tokens: int
    context_tokens: int


def shapes_of(preset: Preset, architecture: Qwen2_5_VLConfig) -> tuple[Shape, ...]:
    """Text-to-video and video editing as they come by default, and the largest edit that the limits allow."""
    limits = preset.limits
    largest_side = min(limits.max_side_px, limits.max_area_px)
    wide = largest_side // limits.side_multiple_px * limits.side_multiple_px
    high = min(largest_side, limits.max_area_px // wide) // limits.side_multiple_px * limits.side_multiple_px
    found = []
    for name, task in (("default t2v", Task.T2V), ("default v2v_edit", Task.V2V_EDIT)):
        if task in preset.tasks:
            one = preset.tasks[task]
            sizes = (one.height_px, one.width_px, one.num_frames)
            found.append(_shape(preset, architecture, name, sizes, task is Task.V2V_EDIT, 0, TEXT_TOKENS))
    most = (high, wide, limits.max_frames)
    text = preset.mllm.max_text_tokens
    found.append(_shape(preset, architecture, "largest v2v_edit", most, True, limits.max_references, text))
    return tuple(found)


def _shape(
    preset: Preset,
    architecture: Qwen2_5_VLConfig,
    name: str,
    sizes: tuple[int, int, int],
    has_source: bool,
    references: int,
    text_tokens: int,
) -> Shape:
    high, wide, frames = sizes
    _, latents, h, w = latent_shape(preset.vae, frames, high, wide)
    total = latents * (2 if has_source else 1) + references
    patch = preset.mmdit.patch_size
    pictures = references + (_temporal(preset.mllm.source_video_frames, architecture) if has_source else 0)
    context = text_tokens + pictures * picture_tokens(preset.mllm.max_pixels, architecture)
    if preset.mllm.variant is Variant.QUERIES:
        context += preset.mllm.num_queries + QUERY_MARKS
    return Shape(name, high, wide, frames, total, total * (h // patch) * (w // patch), context)


def picture_tokens(pixels: int, architecture: Qwen2_5_VLConfig) -> int:
    """Tokens of a picture of so many pixels."""
    vision = _vision_of(architecture)
    return int(pixels // (vision.patch_size * vision.spatial_merge_size) ** 2)


def _vision_of(architecture: Qwen2_5_VLConfig) -> Any:
    return architecture.vision_config  # transformers says that it may be a plain dictionary; once constructed it is not


def _temporal(frames: int, architecture: Qwen2_5_VLConfig) -> int:
    return -(-frames // int(_vision_of(architecture).temporal_patch_size))


def denoiser_bytes(preset: Preset, shape: Shape, rows: int) -> int:
    """Peak of one forward of `rows` guidance passes of this shape together."""
    _, _, h, w = latent_shape(preset.vae, 1, shape.height_px, shape.width_px)
    return _denoiser_peak(preset.mmdit, (shape.latent_frames, h, w), shape.context_tokens, rows)


@lru_cache(maxsize=64)
def _denoiser_peak(config: MMDiTConfig, latents: tuple[int, int, int], context_tokens: int, rows: int) -> int:
    # The peak does not depend on depth, so one block of each kind is followed.
    depth = {"num_layers": min(1, config.num_layers), "num_single_layers": min(1, config.num_single_layers)}
    sinusoid(torch.zeros(1))  # fills its cache with values; while following it would be filled with none

    def call(model: MMDiT) -> None:
        context = torch.empty(rows, context_tokens, config.context_dim, dtype=torch.bfloat16)
        mask = torch.ones(rows, context_tokens, dtype=torch.bool) if rows > 1 else None
        model(torch.empty(rows, config.in_channels, *latents), torch.empty(rows), context, mask)

    return peak_bytes(lambda: MMDiT(config.model_copy(update=depth)), call)


@lru_cache(maxsize=64)
def codec_piece_bytes(config: VAEConfig, high: int, wide: int, frames: int, encodes: bool = False) -> int:
    """Peak while one piece of a clip is decoded, or encoded."""
    channels, latents, h, w = latent_shape(config, frames, high, wide)

    def call(vae: VAE) -> None:
        if encodes:
            vae.posterior(torch.empty(1, 3, frames, high, wide))
        else:
            vae.decode(torch.empty(1, channels, latents, h, w))

    return peak_bytes(lambda: build_vae(config), call)


def codec_bytes(preset: Preset, shape: Shape, *, tiled: bool) -> int:
    """Peak of encoding or decoding a clip of this shape, in tiles or in whole pictures."""
    high, wide, frames = shape.height_px, shape.width_px, shape.num_frames
    values = 3 * frames * high * wide
    if not isinstance(preset.vae, HunyuanVAEConfig):
        return max(codec_piece_bytes(preset.vae, high, wide, frames, encodes) for encodes in (False, True))
    if tiled:
        high, wide = min(high, TILE_PX), min(wide, TILE_PX)
    piece = codec_piece_bytes(preset.vae, high, wide, min(frames, SPAN_FRAMES))
    return piece + values * (2 + 2 + 4)


def mllm_bytes(preset: Preset, architecture: Qwen2_5_VLConfig, shape: Shape, rows: int) -> int:
    """Peak of reading an instruction in `rows` passes, or a question; of the two, what takes more."""
    text, config = architecture.get_text_config(), preset.mllm
    per_token = 6 * text.intermediate_size + 4 * text.hidden_size
    read = rows * shape.context_tokens * per_token
    asked = _question_tokens(config, architecture)
    head = text.hidden_size // text.num_attention_heads
    cache = 2 * 2 * text.num_hidden_layers * text.num_key_value_heads * head
    answer = asked * per_token + (asked + config.max_new_tokens) * cache
    return max(read, answer, asked * _vision_bytes(architecture))


def _question_tokens(config: MLLMConfig, architecture: Qwen2_5_VLConfig) -> int:
    frames = _temporal(config.understanding_video_frames, architecture)
    return config.max_text_tokens + frames * picture_tokens(config.understanding_area_px, architecture)


def _vision_bytes(architecture: Qwen2_5_VLConfig) -> int:
    vision = _vision_of(architecture)
    patches = int(vision.spatial_merge_size) ** 2
    return patches * (6 * int(vision.intermediate_size) + (4 + 6 + 16) * int(vision.hidden_size))
