"""The token refiner: two self-attention blocks that adapt the MLLM's context to the MMDiT at a timestep.

Its result depends on a pass's context and the timestep, never on latents, so it can be computed ahead for all steps
(NUMERICS, from instruction to context, 5).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import EPS, Attention, FeedForward, Modulation
from .embeddings import SINUSOID_DIM, EmbedderMLP, sinusoid

__all__ = ["TokenRefiner", "masked_mean"]

REFINER_MLP_RATIO = 4.0
"""Fixed in HunyuanVideo, whatever the ratio of the main blocks."""


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that exist. x: [B, L, D]; mask: [B, L], True where a token exists → [B, D], float32."""
    if mask is None:
        return x.float().mean(dim=1)
    kept = x.float().masked_fill(~mask[..., None], 0.0)
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


class RefinerBlock(nn.Module):
    """Pre-norm self-attention and feed-forward; the condition gates both, and shifts nothing."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=EPS), nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads, qk_norm=False)
        self.ff = FeedForward(dim, int(dim * REFINER_MLP_RATIO), nn.SiLU())
        self.norm_out = Modulation(dim, 2)

    def forward(self, x: Tensor, embedding: Tensor, key_mask: Tensor | None) -> Tensor:
        """x: [B, L, D] → the same shape."""
        gate, gate_ff = self.norm_out(embedding)
        attended = self.attn.attend(*self.attn.project(self.norm1(x)), None, key_mask)
        x = x + gate * self.attn.to_out[0](attended)
        return x + gate_ff * self.ff(self.norm2(x))


class RefinerEmbedding(nn.Module):
    """The refiner's own condition: timestep plus the mean of the context."""

    def __init__(self, context_dim: int, dim: int) -> None:
        super().__init__()
        self.timestep_embedder = EmbedderMLP(SINUSOID_DIM, dim)
        self.text_embedder = EmbedderMLP(context_dim, dim)

    def forward(self, timestep: Tensor, pooled: Tensor) -> Tensor:
        """timestep [B], pooled [B, context_dim] → [B, D]."""
        return self.timestep_embedder(sinusoid(timestep)) + self.text_embedder(pooled)


class RefinerBlocks(nn.Module):
    """Holds the blocks under the checkpoint's name, `token_refiner.refiner_blocks`."""

    def __init__(self, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.refiner_blocks = nn.ModuleList(RefinerBlock(dim, heads) for _ in range(layers))


class TokenRefiner(nn.Module):
    """Context of the connector's width to context of model width, at a timestep."""

    def __init__(self, context_dim: int, dim: int, heads: int, layers: int) -> None:
        super().__init__()
        self.time_text_embed = RefinerEmbedding(context_dim, dim)
        self.proj_in = nn.Linear(context_dim, dim)
        self.token_refiner = RefinerBlocks(dim, heads, layers)

    def forward(self, context: Tensor, timestep: Tensor, mask: Tensor | None) -> Tensor:
        """context [B, L, context_dim], timestep [B], mask [B, L] or None → [B, L, D].

        Padding may hold anything: it is zeroed, left out of the mean, and never a key.
        """
        embedding = self.time_text_embed(timestep, masked_mean(context, mask))
        if mask is not None:
            context = context.masked_fill(~mask[..., None], 0.0)
            # The release opens the first key column to every query. It matters only where no key is left, which would
            # be a softmax over nothing; opening it elsewhere would let left padding in.
            first = mask.int().argmax(dim=1, keepdim=True)
            mask = mask | (torch.arange(mask.shape[1], device=mask.device) == first)
        x = self.proj_in(context.to(self.proj_in.weight.dtype))
        for block in self.token_refiner.refiner_blocks:
            x = block(x, embedding, mask)
        return x
