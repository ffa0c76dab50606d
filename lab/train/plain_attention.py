"""Attention written out, for training on a CPU.

At a few hundred tokens PyTorch's fused CPU kernel is several times slower to train through than two matrix products and a
softmax, which `torch.compile` moreover joins with what surrounds them. Same numbers, other order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vogue.engines.models.blocks import Attention
from vogue.engines.models.rope import Rope, apply_rope

__all__ = ["attend_plainly", "use_plain_attention"]

FAR_BELOW = -30_000.0


def attend_plainly(q: Tensor, k: Tensor, v: Tensor, rope: Rope | None, key_mask: Tensor | None) -> Tensor:
    """What `Attention.attend` computes: [B, heads, N, d] each → [B, N, D]."""
    if rope is not None:
        q, k = apply_rope(q, rope), apply_rope(k, rope)
    scores = (q * q.shape[-1] ** -0.5).to(v.dtype) @ k.to(v.dtype).transpose(-1, -2)
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask[:, None, None, :], FAR_BELOW)
    return (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)


def use_plain_attention(network: nn.Module) -> None:
    """Let every attention of `network` compute itself this way; its parameters and its results stay what they are."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.attend = attend_plainly  # type: ignore[method-assign]
