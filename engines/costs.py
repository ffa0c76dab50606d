"""What a forward of the MMDiT costs, from its sizes alone: operations and memory, without torch.

Operations are those of matrix products and attention, a multiplication and an addition each; norms, activations and rotations
are a few percent on top, and never more than what an engine's measured rate swallows. With N latent and L context tokens, width D,
inner width H and S = N + L, a row takes

    dual-stream block    S · (8·D² + 4·D·H) + 4·S²·D,  and 24·D² of modulation
    single-stream block  S · (8·D² + 4·D·H) + 4·S²·D,  and 6·D² of modulation

beside the refiner's blocks over L tokens and the embeddings. Memory is the law that `capacity/activations.py` derives and tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from vogue.schemas.config import MMDiTConfig

__all__ = ["RowSize", "row_bytes", "row_flops"]

_SINUSOID = 256
_REFINER_RATIO = 4.0
_BYTES_A_CHANNEL = 44
"""Per token and channel at the peak, with bfloat16 weights (`capacity/activations.py`, denoiser)."""


@dataclass(frozen=True, slots=True)
class RowSize:
    """One row of a forward: tokens after patching, and the context's length."""

    latent_tokens: int
    context_tokens: int

    @classmethod
    def of(cls, config: MMDiTConfig, frames: int, height: int, width: int, context_tokens: int) -> RowSize:
        """Of latents [C, frames, height, width]."""
        patch = config.patch_size
        return cls(frames * (height // patch) * (width // patch), context_tokens)


def row_flops(config: MMDiTConfig, size: RowSize) -> int:
    """Operations of one row's forward, refiner and embeddings included."""
    dim, inner = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
    tokens = size.latent_tokens + size.context_tokens
    block = tokens * (8 * dim * dim + 4 * dim * inner) + 4 * tokens * tokens * dim
    blocks = config.num_layers * (block + 24 * dim * dim) + config.num_single_layers * (block + 6 * dim * dim)
    patches = 2 * (config.in_channels + config.out_channels) * config.patch_size**2 * dim * size.latent_tokens
    embedders = (2 if config.guidance_embeds else 1) * 2 * (_SINUSOID * dim + dim * dim)
    return blocks + patches + embedders + 4 * dim * dim + _refiner_flops(config, size.context_tokens)


def _refiner_flops(config: MMDiTConfig, length: int) -> int:
    dim, inner = config.hidden_size, int(config.hidden_size * _REFINER_RATIO)
    block = length * (8 * dim * dim + 4 * dim * inner) + 4 * length * length * dim + 4 * dim * dim
    embedding = 2 * (_SINUSOID * dim + dim * dim) + 2 * (config.context_dim * dim + dim * dim)
    return config.num_refiner_layers * block + 2 * length * config.context_dim * dim + embedding


def row_bytes(config: MMDiTConfig, size: RowSize, weight_bytes: int = 2) -> int:
    """Memory that one row takes while it is computed.

    Args:
        weight_bytes: of one value; 2 for bfloat16, 4 for float32.
    """
    return _BYTES_A_CHANNEL * config.hidden_size * (size.latent_tokens + size.context_tokens) * weight_bytes // 2
