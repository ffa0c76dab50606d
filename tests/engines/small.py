"""The MMDiT of a test that needs no preset's: as small as it can be with two blocks of each kind."""

from __future__ import annotations

from vogue.schemas.config import MMDiTConfig

__all__ = ["small"]


def small(**changes: object) -> MMDiTConfig:
    """Its sizes, with changes."""
    sizes: dict[str, object] = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 2,
        "num_single_layers": 2,
        "rope_axes_dim": (4, 6, 6),
        "text_embed_dim": 24,
        "context_dim": 40,
    }
    return MMDiTConfig.model_validate({**sizes, **changes})
