"""The MMDiT's forward as a CPU likes it: rows packed end to end, and few passes over memory.

The module (`mmdit`) says what is computed; this says it once more for inference, so that nothing is padded or masked, no
tensor is read twice for want of a fused operator, and rows of one timestep share their modulation. A CPU spends as long on
passes over memory as on products otherwise. It holds no copy of a weight: whoever trains the model may sample from it.

Layout: latent tokens of all rows, one row after the other, then context tokens of all rows in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import EPS, Attention, DualBlock, FeedForward, Modulation, Projection, SingleBlock
from .embeddings import patchify, unpatchify
from .fused import linear, linear_gelu, linear_of_two, rms_turn
from .mmdit import MMDiT
from .refiner import RefinerBlock

__all__ = ["PackedForward"]

Spans = Sequence[slice]
"""Where each row's tokens lie, in order and without gaps."""


@dataclass(frozen=True)
class _Rows:
    """Where the rows lie, and which condition each has."""

    latents: Spans
    contexts: Spans  # counted from the first context token
    conditions: Sequence[int]
    ropes: Sequence[Tensor]  # complex [N_i, d / 2]

    @property
    def latent_count(self) -> int:
        return self.latents[-1].stop

    @property
    def joined(self) -> list[tuple[slice, int]]:
        """All tokens as runs of one condition each."""
        count = self.latent_count
        shifted = [slice(count + span.start, count + span.stop) for span in self.contexts]
        return _runs([*self.latents, *shifted], [*self.conditions, *self.conditions])


class PackedForward:
    """Velocities of rows of any shapes and context lengths, without gradients.

    A row's result does not depend on its neighbours, up to the order of sums.
    """

    def __init__(self, model: MMDiT) -> None:
        self.model = model
        self._ropes: dict[tuple[int, int, int], Tensor] = {}

    def __call__(
        self, latents: Sequence[Tensor], timestep: Tensor, contexts: Sequence[Tensor], guidance: Tensor
    ) -> list[Tensor]:
        """Velocity [C, T, H, W] of each row, in the weights' precision.

        Args:
            latents: [C, T, H, W] each.
            timestep, guidance: [B], in thousandths.
            contexts: [L, context_dim] each, the connector's output.
        """
        model, patch = self.model, self.model.config.patch_size
        shapes = [(row.shape[1], row.shape[2], row.shape[3]) for row in latents]
        tokens = torch.cat([patchify(row[None], patch)[0] for row in latents])
        # Rows of one timestep share their modulation, which is a pass over a good part of the weights.
        known = list(dict.fromkeys(zip(timestep.tolist(), guidance.tolist(), strict=True)))
        rows = _Rows(
            latents=_spans([_tokens_in(shape, patch) for shape in shapes]),
            contexts=_spans([len(context) for context in contexts]),
            conditions=[known.index(pair) for pair in zip(timestep.tolist(), guidance.tolist(), strict=True)],
            ropes=[self._rope(shape) for shape in shapes],
        )
        conditions = torch.tensor(known)
        embedding = F.silu(model.time_text_embed(conditions[:, 0], conditions[:, 1]))
        velocity = self._blocks(tokens, self._refine(contexts, timestep, rows), embedding, rows)
        return [
            unpatchify(velocity[None, span], shape, patch)[0] for span, shape in zip(rows.latents, shapes, strict=True)
        ]

    def _blocks(self, tokens: Tensor, context: Tensor, embedding: Tensor, rows: _Rows) -> Tensor:
        """Tokens [ΣN, C·p·p] and refined context [ΣL, D] to velocities [ΣN, C·p·p]; embedding [U, D] after its SiLU."""
        model = self.model
        x = torch.cat((model.x_embedder(tokens), context))
        for dual in cast("Iterable[DualBlock]", model.transformer_blocks):
            _dual(dual, x, embedding, rows)
        for single in cast("Iterable[SingleBlock]", model.single_transformer_blocks):
            _single(single, x, embedding, rows)
        scale, shift = _modulation(model.norm_out, embedding)
        runs = _runs(rows.latents, rows.conditions)
        return linear(_modulate(x[: rows.latent_count], runs, shift, scale), model.proj_out)

    def _refine(self, contexts: Sequence[Tensor], timestep: Tensor, rows: _Rows) -> Tensor:
        """The refiner on rows [L, context_dim], packed: [ΣL, D]."""
        refiner = self.model.context_embedder
        pooled = [context.float().mean(0) if len(context) else context.float().sum(0) for context in contexts]
        embedding = F.silu(refiner.time_text_embed(timestep, torch.stack(pooled)))
        runs = [(span, i) for i, span in enumerate(rows.contexts)]
        x = linear(torch.cat(list(contexts)).to(refiner.proj_in.weight.dtype), refiner.proj_in)
        for block in cast("Iterable[RefinerBlock]", refiner.token_refiner.refiner_blocks):
            _refine(block, x, embedding, runs)
        return x

    def _rope(self, shape: tuple[int, int, int]) -> Tensor:
        """The turns of a shape's tokens as complex numbers [N, d / 2]; the last few shapes are kept."""
        if shape not in self._ropes:
            while len(self._ropes) >= KEPT_ROPES:
                del self._ropes[next(iter(self._ropes))]
            self._ropes[shape] = torch.complex(*self.model.rope(shape, torch.device("cpu")))
        return self._ropes[shape]


KEPT_ROPES = 8


def _dual(block: DualBlock, x: Tensor, embedding: Tensor, rows: _Rows) -> None:
    """A dual-stream block, in place."""
    count = rows.latent_count
    streams = (
        (x[:count], _runs(rows.latents, rows.conditions), _modulation(block.norm1, embedding)),
        (x[count:], _runs(rows.contexts, rows.conditions), _modulation(block.norm1_context, embedding)),
    )
    attn = block.attn
    seen, read = (_modulate(part, runs, shift, scale) for part, runs, (shift, scale, *_) in streams)
    query = (linear(seen, attn.to_q), linear(read, attn.add_q_proj))
    key = (linear(seen, attn.to_k), linear(read, attn.add_k_proj))
    value = torch.cat((linear(seen, attn.to_v), linear(read, attn.add_v_proj)))
    attended = _attend(attn, query, key, value, rows)
    outs = (_out(attn), attn.to_add_out)
    for (part, runs, (_, _, gate, shift, scale, gate_ff)), own, out, ff in zip(
        streams, (attended[:count], attended[count:]), outs, (block.ff, block.ff_context), strict=True
    ):
        _add_gated(part, runs, gate, linear(own, out))
        _add_gated(part, runs, gate_ff, _feed_forward(ff, _modulate(part, runs, shift, scale)))


def _single(block: SingleBlock, x: Tensor, embedding: Tensor, rows: _Rows) -> None:
    """A single-stream block, in place."""
    count, attn, runs = rows.latent_count, block.attn, rows.joined
    shift, scale, gate = _modulation(block.norm, embedding)
    normed = _modulate(x, runs, shift, scale)
    query, key = linear(normed, attn.to_q), linear(normed, attn.to_k)
    attended = _attend(
        attn, (query[:count], query[count:]), (key[:count], key[count:]), linear(normed, attn.to_v), rows
    )
    thought = linear_gelu(normed, block.proj_mlp)
    _add_gated(x, runs, gate, linear_of_two(attended, thought, block.proj_out))


def _refine(block: RefinerBlock, x: Tensor, embedding: Tensor, runs: Sequence[tuple[slice, int]]) -> None:
    """A refiner block, in place."""
    gate, gate_ff = _modulation(block.norm_out, embedding)
    attn, normed = block.attn, block.norm1(x)
    query, key, value = (
        linear(normed, one).unflatten(-1, (attn.heads, -1)) for one in (attn.to_q, attn.to_k, attn.to_v)
    )
    attended = torch.cat([_attend_row(query[span], key[span], value[span]) for span, _ in runs])
    _add_gated(x, runs, gate, linear(attended, _out(attn)))
    up, act, down = _layers(block.ff)
    _add_gated(x, runs, gate_ff, linear(act(linear(block.norm2(x), up.proj)), down))


def _attend(
    attn: Attention, query: tuple[Tensor, Tensor], key: tuple[Tensor, Tensor], value: Tensor, rows: _Rows
) -> Tensor:
    """Attention of each row's latents and context among themselves: all packed, [ΣN + ΣL, D].

    Queries and keys come as (latents, context), before norm and rope; a dual-stream block has norms for either.
    """
    heads, count = attn.heads, rows.latent_count
    added = hasattr(attn, "norm_added_q")
    norms_q = (attn.norm_q, attn.norm_added_q if added else attn.norm_q)
    norms_k = (attn.norm_k, attn.norm_added_k if added else attn.norm_k)
    out = torch.empty_like(value)
    for latents, contexts, rope in zip(rows.latents, rows.contexts, rows.ropes, strict=True):
        length = latents.stop - latents.start
        # Keys and values lie head by head, which attention reads faster; queries, and so the result, token by token.
        shape = (length + contexts.stop - contexts.start, heads, value.shape[-1] // heads)
        own_q, own_k, own_v = value.new_empty(shape), _by_head(value, shape), _by_head(value, shape)
        for source, norms, own in ((query, norms_q, own_q), (key, norms_k, own_k)):
            rms_turn(source[0][latents], norms[0], rope, own[:length])
            rms_turn(source[1][contexts], norms[1], None, own[length:])
        there = slice(count + contexts.start, count + contexts.stop)
        own_v[:length], own_v[length:] = (value[span].view(-1, *shape[1:]) for span in (latents, there))
        attended = _attend_row(own_q, own_k, own_v)
        if len(rows.latents) == 1:
            return attended
        out[latents], out[there] = attended[:length], attended[length:]
    return out


def _by_head(like: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Empty, [N, heads, d], but stored head by head."""
    return like.new_empty(shape[1], shape[0], shape[2]).transpose(0, 1)


def _attend_row(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[N, heads, d] each → [N, D]."""
    query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1).flatten(1)


def _out(attn: Attention) -> nn.Linear:
    """The output projection, the only module of its list."""
    return cast("nn.Linear", attn.to_out[0])


def _layers(ff: FeedForward) -> tuple[Projection, nn.Module, nn.Linear]:
    """What `FeedForward` is made of."""
    return cast("tuple[Projection, nn.Module, nn.Linear]", tuple(ff.net))


def _feed_forward(ff: FeedForward, x: Tensor) -> Tensor:
    up, _, down = _layers(ff)
    return linear(linear_gelu(x, up.proj), down)


def _modulation(modulation: Modulation, embedding: Tensor) -> tuple[Tensor, ...]:
    """The parts of a block's modulation, [U, D] each; the embedding comes after its SiLU."""
    return F.linear(
        embedding.to(modulation.linear.weight.dtype), modulation.linear.weight, modulation.linear.bias
    ).chunk(modulation.parts, dim=-1)


def _modulate(x: Tensor, runs: Sequence[tuple[slice, int]], shift: Tensor, scale: Tensor) -> Tensor:
    """`blocks.modulate`, run by run: the norm's own affine part does the scaling, in the same pass."""
    scale = 1 + scale
    if len(runs) == 1:
        return F.layer_norm(x, x.shape[-1:], scale[runs[0][1]], shift[runs[0][1]], EPS)
    return torch.cat([F.layer_norm(x[span], x.shape[-1:], scale[one], shift[one], EPS) for span, one in runs])


def _add_gated(x: Tensor, runs: Sequence[tuple[slice, int]], gate: Tensor, change: Tensor) -> None:
    for span, one in runs:
        x[span].addcmul_(gate[one], change[span])


def _tokens_in(shape: tuple[int, int, int], patch: int) -> int:
    return shape[0] * (shape[1] // patch) * (shape[2] // patch)


def _spans(lengths: Sequence[int]) -> list[slice]:
    return [slice(start, stop) for start, stop in pairwise(accumulate(lengths, initial=0))]


def _runs(spans: Spans, conditions: Sequence[int]) -> list[tuple[slice, int]]:
    """Neighbouring rows of one condition as one run."""
    runs: list[tuple[slice, int]] = []
    for span, one in zip(spans, conditions, strict=True):
        if runs and runs[-1][1] == one:
            runs[-1] = (slice(runs[-1][0].start, span.stop), one)
        else:
            runs.append((span, one))
    return runs
