"""Operators that do on a CPU in one pass what PyTorch's modules do in several. Inference only: they have no gradients.

PyTorch's `addmm` writes the bias out before it multiplies, its GELU of tanh takes as long as the product before it, and its
RMS norm and rotary embedding are a dozen passes. oneDNN adds the bias while it multiplies; the operator used here is the one
that `torch.compile` emits, on whole tensors only: given slices of a weight it falls back to loops that are a thousand
times slower. Where a build lacks it, PyTorch's own operators compute the same.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import RMSNorm

__all__ = ["gelu_", "linear", "linear_gelu", "linear_of_two", "rms_turn"]

ELEMENTS_AT_ONCE = 1 << 18
"""How much of a tensor is worked on at a time, so that it stays in a core's cache between passes: 1 MiB in float32."""


_TWICE_ROOT_2_OVER_PI = 1.5957691216057308
_CUBIC = 0.044715


@cache
def _joins_bias() -> bool:
    """Whether oneDNN multiplies bfloat16 and adds the bias in the same pass here."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")
    return known and torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """[N, in] → [N, out]."""
    if x.dtype is torch.bfloat16 and x.numel() and _joins_bias():
        joined: Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")
        return joined
    return F.linear(x, layer.weight, layer.bias)


def linear_gelu(x: Tensor, layer: nn.Linear) -> Tensor:
    """A linear layer and the tanh form of GELU: [N, in] → [N, out]."""
    if x.dtype is torch.bfloat16 and x.numel() and _joins_bias():
        joined: Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "tanh")
        return joined
    return gelu_(F.linear(x, layer.weight, layer.bias))


def linear_of_two(left: Tensor, right: Tensor, layer: nn.Linear) -> Tensor:
    """A linear layer of two tensors side by side, [N, a] and [N, b] → [N, out], without joining them first."""
    split = left.shape[-1]
    out = torch.addmm(layer.bias, right, layer.weight[:, split:].t())
    return out.addmm_(left, layer.weight[:, :split].t())


def gelu_(x: Tensor) -> Tensor:
    """The tanh form of GELU, in place: ½x(1 + tanh u) = x·σ(2u), whose sigmoid is faster here than a tanh. x: [N, D]."""
    step = max(1, ELEMENTS_AT_ONCE // max(1, x.shape[-1]))
    for part in x.split(step):
        bent = torch.addcmul(part, part * part, part, value=_CUBIC)  # x + 0.044715 x³
        # Softplus' derivative is the sigmoid: this multiplies its first argument by σ(β · second), in one pass.
        torch.ops.aten.softplus_backward.grad_input(part, bent, _TWICE_ROOT_2_OVER_PI, _STRAIGHT, grad_input=part)
    return x


_STRAIGHT = 40.0
"""From where on a softplus is a straight line: σ is 1 to float32 precision."""


def rms_turn(x: Tensor, norm: RMSNorm, rope: Tensor | None, out: Tensor) -> None:
    """RMS norm of each head, then, with a table, neighbouring pairs of channels turned; float32 throughout.

    Args:
        x: [N, heads·d]. May be overwritten.
        rope: complex64 [N, d / 2]; None leaves the tokens unturned.
        out: [N, heads, d], of any strides, written to.
    """
    count, heads, dim = out.shape
    weight = norm.weight.float()
    step = max(1, ELEMENTS_AT_ONCE // (heads * dim))
    for start in range(0, count, step):
        part = x[start : start + step].float().view(-1, heads, dim)
        length = torch.linalg.vector_norm(part, dim=-1, keepdim=True)
        part.mul_(length.square_().div_(dim).add_(norm.eps).rsqrt_()).mul_(weight)
        if rope is not None:
            torch.view_as_complex(part.unflatten(-1, (-1, 2))).mul_(rope[start : start + step, None])
        out[start : start + step] = part
