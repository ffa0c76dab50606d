"""The transformer blocks of HunyuanVideo's MMDiT: dual-stream, then single-stream.

Parameter names are those of the released checkpoint. A block sees tokens, a rope table and a key mask; it knows nothing
of frames, pictures or text.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .rope import Rope, apply_rope

__all__ = ["Attention", "DualBlock", "FeedForward", "Modulation", "RMSNorm", "SingleBlock", "modulate"]

EPS = 1e-6


class RMSNorm(nn.Module):
    """Root-mean-square norm with a learned scale, computed in float32."""

    def __init__(self, dim: int, eps: float = EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] → the same shape, float32."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight.float()


class Modulation(nn.Module):
    """`parts` vectors a row from the condition embedding: the shifts, scales and gates of a block.

    Runs in the weights' own precision also under autocast: a scale rounded to bfloat16 moves every token of its row.
    """

    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """[B, D] → `parts` tensors [B, 1, D]."""
        with torch.autocast(embedding.device.type, enabled=False):
            out = self.linear(F.silu(embedding).to(self.linear.weight.dtype))
        return out[:, None].chunk(self.parts, dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without parameters, then scale and shift. x: [B, N, D]; shift, scale: [B, 1, D]."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


class Projection(nn.Module):
    """A linear layer one name deeper, as the checkpoint has it."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] → [..., hidden]."""
        return self.proj(x)


class FeedForward(nn.Module):
    """Linear → activation → Linear, under the checkpoint's names `net.0.proj` and `net.2`."""

    def __init__(self, dim: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(Projection(dim, hidden), activation, nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] → [B, N, D]."""
        return self.net(x)


class Attention(nn.Module):
    """Projections around scaled dot-product attention.

    Args:
        dim, heads: model width and number of heads; the head dimension is their quotient.
        context: also hold the context stream's own projections (dual-stream blocks).
        qk_norm: RMS-normalise queries and keys per head.
        out: hold the output projection (single-stream blocks have one of their own).
    """

    def __init__(self, dim: int, heads: int, *, context: bool = False, qk_norm: bool = True, out: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        if qk_norm:
            self.norm_q, self.norm_k = RMSNorm(dim // heads), RMSNorm(dim // heads)
        if out:
            self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        if context:
            self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(dim, dim) for _ in range(3))
            self.norm_added_q, self.norm_added_k = RMSNorm(dim // heads), RMSNorm(dim // heads)
            self.to_add_out = nn.Linear(dim, dim)
        self.qk_norm = qk_norm

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, N, d]

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the latent stream (or of the only stream): each [B, heads, N, d]."""
        q, k, v = self._split(self.to_q(x)), self._split(self.to_k(x)), self._split(self.to_v(x))
        return (self.norm_q(q), self.norm_k(k), v) if self.qk_norm else (q, k, v)

    def project_context(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the context stream: each [B, heads, L, d]."""
        q, k, v = self._split(self.add_q_proj(x)), self._split(self.add_k_proj(x)), self._split(self.add_v_proj(x))
        return self.norm_added_q(q), self.norm_added_k(k), v

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor, rope: Rope | None, key_mask: Tensor | None) -> Tensor:
        """[B, heads, N, d] each → [B, N, D]. `key_mask` [B, N] is True where a key exists, None where all do."""
        if rope is not None:
            q, k = apply_rope(q, rope), apply_rope(k, rope)
        mask = None if key_mask is None else key_mask[:, None, None, :]
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
        return out.transpose(1, 2).flatten(2)


class DualBlock(nn.Module):
    """Latents and context with weights of their own, joined only in attention."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm1, self.norm1_context = Modulation(dim, 6), Modulation(dim, 6)
        self.attn = Attention(dim, heads, context=True)
        self.ff = FeedForward(dim, hidden, nn.GELU(approximate="tanh"))
        self.ff_context = FeedForward(dim, hidden, nn.GELU(approximate="tanh"))

    def forward(
        self, x: Tensor, context: Tensor, embedding: Tensor, rope: Rope, key_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """x [B, N, D], context [B, L, D], embedding [B, D]; rope and mask over the N + L joined tokens."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.norm1(embedding)
        c_shift, c_scale, c_gate, c_shift_ff, c_scale_ff, c_gate_ff = self.norm1_context(embedding)

        latent_qkv = self.attn.project(modulate(x, shift, scale))
        context_qkv = self.attn.project_context(modulate(context, c_shift, c_scale))
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(latent_qkv, context_qkv, strict=True))
        joined = self.attn.attend(q, k, v, rope, key_mask)
        seen, read = joined.split((x.shape[1], context.shape[1]), dim=1)

        x = x + gate * self.attn.to_out[0](seen)
        context = context + c_gate * self.attn.to_add_out(read)
        x = x + gate_ff * self.ff(modulate(x, shift_ff, scale_ff))
        context = context + c_gate_ff * self.ff_context(modulate(context, c_shift_ff, c_scale_ff))
        return x, context


class SingleBlock(nn.Module):
    """Latents and context as one sequence; attention and feed-forward side by side, one output projection."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm = Modulation(dim, 3)
        self.attn = Attention(dim, heads, out=False)
        self.proj_mlp = nn.Linear(dim, hidden)
        self.proj_out = nn.Linear(dim + hidden, dim)

    def forward(self, x: Tensor, embedding: Tensor, rope: Rope, key_mask: Tensor | None) -> Tensor:
        """x: [B, N + L, D] → the same shape."""
        shift, scale, gate = self.norm(embedding)
        normed = modulate(x, shift, scale)
        attended = self.attn.attend(*self.attn.project(normed), rope, key_mask)
        thought = F.gelu(self.proj_mlp(normed), approximate="tanh")
        return x + gate * self.proj_out(torch.cat((attended, thought), dim=-1))
