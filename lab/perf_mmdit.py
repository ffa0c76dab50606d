"""Our MMDiT's forward beside diffusers' `HunyuanVideoTransformer3DModel`: same weights, same inputs, one run, turn by turn.

Both are timed alternately, so that whatever else the machine does falls on both; ratios of medians are what counts. Each
repeat has a timestep of its own. The machine's own measure is the fastest of a few large products in the same precision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vogue.engines.models.mmdit import MMDiT
from vogue.engines.port import Row
from vogue.engines.torch_engine import TorchEngine
from vogue.schemas.config import MMDiTConfig
from vogue.schemas.presets import get_preset

__all__ = ["MODEL", "Comparison", "Growth", "compare", "flops_of", "grow", "plot_growth", "profile"]

MODEL = get_preset("univideo-hidden").mmdit.model_copy(
    update={
        "num_attention_heads": 8,
        "num_layers": 4,
        "num_single_layers": 8,
        "text_embed_dim": 1024,
        "context_dim": 1024,
    }
)
"""The release's heads and layers, a third as many and a fifth as deep."""

LATENTS = (16, 7, 32, 40)
"""2,240 tokens. Four of the seven frames are made in the three-pass step; the others are condition frames."""

MADE_FRAMES = 4
CONTEXT = 256
NEGATIVE_CONTEXT = 64
GUIDANCE = 6000.0


@dataclass(frozen=True)
class Comparison:
    """Medians in seconds, speeds in FLOP/s, largest difference of the outputs of both models."""

    precision: str
    ours_s: float
    diffusers_s: float
    three_passes_s: float
    difference: float
    flops: float
    peak_flops_per_s: float

    @property
    def speedup(self) -> float:
        """How many times faster than diffusers."""
        return self.diffusers_s / self.ours_s

    @property
    def share_of_peak(self) -> float:
        """Of the machine's fastest product."""
        return self.flops / self.ours_s / self.peak_flops_per_s

    @property
    def three_over_one(self) -> float:
        """Three guidance passes over the longest of them alone."""
        return self.three_passes_s / self.ours_s


@dataclass(frozen=True)
class Growth:
    """Seconds of one forward by latent tokens, and its operations."""

    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    flops: tuple[float, ...]

    @property
    def over_flops(self) -> float:
        """Slope of time over the slope of operations, both against tokens in logarithms: 1 is as good as can be."""
        x = torch.tensor(self.tokens, dtype=torch.float64).log()
        time_slope, flop_slope = (
            _slope(x, torch.tensor(y, dtype=torch.float64).log()) for y in (self.seconds, self.flops)
        )
        return time_slope / flop_slope


def compare(config: MMDiTConfig, latents: Sequence[int], context: int, dtype: torch.dtype, repeats: int) -> Comparison:
    """Time both models, and three passes of ours, turn by turn.

    Args:
        latents: (C, T, H, W) of the longest pass.
    """
    torch.manual_seed(0)
    model = MMDiT(config).eval().requires_grad_(False)
    theirs = _diffusers(model, config).to(dtype)
    engine = TorchEngine(model.to(dtype), guidance_embedding=GUIDANCE)
    full = Row(torch.randn(*latents), 0.0, torch.randn(context, config.context_dim).to(dtype))
    made = min(MADE_FRAMES, latents[1])
    others = [
        Row(full.latents[:, :made], 0.0, torch.randn(min(NEGATIVE_CONTEXT, context), config.context_dim).to(dtype)),
        Row(full.latents, 0.0, torch.randn_like(full.context)),
    ]

    def ours(timestep: float) -> Tensor:
        return engine.forward([Row(full.latents, timestep, full.context)])[0]

    def diffusers(timestep: float) -> Tensor:
        return theirs(timestep, full)

    def three(timestep: float) -> Tensor:
        return engine.forward([Row(row.latents, timestep, row.context) for row in (*others, full)])[-1]

    # Small: at 1000 the vector math of two libraries alone differs by 1e-4.
    difference = (ours(17.0).float() - diffusers(17.0).float()).abs().max().item()
    ours_s, diffusers_s, three_s = (median(times) for times in _turns([ours, diffusers, three], repeats))
    tokens = latents[1] * (latents[2] // config.patch_size) * (latents[3] // config.patch_size)
    return Comparison(
        precision=str(dtype).removeprefix("torch."),
        ours_s=ours_s,
        diffusers_s=diffusers_s,
        three_passes_s=three_s,
        difference=difference,
        flops=flops_of(config, tokens, context),
        peak_flops_per_s=_peak(dtype, repeats),
    )


class _Diffusers:
    """The other model behind one call."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.net, self.dtype = net, torch.float32

    def to(self, dtype: torch.dtype) -> _Diffusers:
        self.net.to(dtype)
        self.dtype = dtype
        return self

    @torch.inference_mode()
    def __call__(self, timestep: float, row: Row) -> Tensor:
        one = torch.ones(1)
        out: Tensor = self.net(
            row.latents[None].to(self.dtype),
            one * timestep,
            row.context[None].to(self.dtype),
            torch.ones(1, len(row.context)),
            torch.zeros(1, 4, dtype=self.dtype),
            one * GUIDANCE,
        )[0]
        return out[0]


def _diffusers(model: MMDiT, config: MMDiTConfig) -> _Diffusers:
    """Diffusers' model with the weights of ours; of its pooled-text embedding, which ours does without, zeros."""
    from diffusers import HunyuanVideoTransformer3DModel

    sizes = config.model_dump(exclude={"text_embed_dim", "context_dim"})
    # To a type checker, diffusers' class is no module of PyTorch's.
    net: Any = HunyuanVideoTransformer3DModel(**sizes, text_embed_dim=config.context_dim, pooled_projection_dim=4)
    net.eval()
    for parameter in net.time_text_embed.text_embedder.parameters():
        parameter.data.zero_()
    missing, unexpected = net.load_state_dict(model.state_dict(), strict=False)
    if unexpected or any("text_embedder" not in key for key in missing):
        raise ValueError(f"diffusers' model has other weights: {[*missing, *unexpected][:4]}")
    return _Diffusers(net)


def grow(config: MMDiTConfig, tokens: Sequence[int], context: int, dtype: torch.dtype, repeats: int) -> Growth:
    """Time one forward at several numbers of latent tokens, turn by turn. Each is a multiple of 20: a frame is 8 × 10."""
    torch.manual_seed(0)
    engine = TorchEngine(MMDiT(config).eval().requires_grad_(False).to(dtype))
    context_states = torch.randn(context, config.context_dim).to(dtype)
    patch = config.patch_size

    def at(count: int) -> Callable[[float], Tensor]:
        latents = torch.randn(config.in_channels, count // 20, 4 * patch, 5 * patch)
        return lambda timestep: engine.forward([Row(latents, timestep, context_states)])[0]

    times = _turns([at(count) for count in tokens], repeats)
    return Growth(
        tuple(tokens), tuple(median(one) for one in times), tuple(flops_of(config, one, context) for one in tokens)
    )


def profile(config: MMDiTConfig, latents: Sequence[int], context: int, dtype: torch.dtype, rows: int = 12) -> str:
    """Where one forward spends its time: a table of the operators that take most."""
    torch.manual_seed(0)
    engine = TorchEngine(MMDiT(config).eval().requires_grad_(False).to(dtype), guidance_embedding=GUIDANCE)
    row = Row(torch.randn(*latents), 500.0, torch.randn(context, config.context_dim).to(dtype))
    engine.forward([row])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        engine.forward([row])
    return str(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=40))


def plot_growth(growth: Growth, path: Path) -> None:
    """Time against tokens, and what the operations alone would make of the first point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="latent tokens", ylabel="seconds")
    axes.plot(growth.tokens, growth.seconds, "o-", label="one forward")
    scale = growth.seconds[0] / growth.flops[0]
    axes.plot(growth.tokens, [scale * one for one in growth.flops], "--", label="its operations, at the first speed")
    axes.set_title(f"slope over the operations' slope: {growth.over_flops:.2f}")
    axes.legend()
    figure.savefig(path, dpi=120)


def flops_of(config: MMDiTConfig, tokens: int, context: int) -> float:
    """Floating-point operations of the blocks and the refiner; a product of [a, b] and [b, c] is 2·a·b·c."""
    dim, joined = config.hidden_size, tokens + context
    per_token = 2 * dim * dim * (4 + 2 * config.mlp_ratio)
    attention = 4 * joined * joined * dim
    refiner = config.num_refiner_layers * (2 * dim * dim * 12 * context + 4 * context * context * dim)
    return (config.num_layers + config.num_single_layers) * (joined * per_token + attention) + refiner


def _turns(calls: Sequence[Callable[[float], Tensor]], repeats: int) -> list[list[float]]:
    """Seconds of each call, repeat by repeat, after one that warms up."""
    taken: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call(500.0)
    for turn in range(repeats):
        for call, times in zip(calls, taken, strict=True):
            before = time.perf_counter()
            call(1000.0 - turn)
            times.append(time.perf_counter() - before)
    return taken


@torch.inference_mode()
def _peak(dtype: torch.dtype, repeats: int) -> float:
    """The fastest of a few products, FLOP/s: the median of each."""
    best = 0.0
    for rows, inner, columns in ((2048, 2048, 2048), (2496, 1024, 4096), (4096, 4096, 4096)):
        left, right = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        call = [lambda _, a=left, b=right: F.linear(a, b)]
        best = max(best, 2.0 * rows * inner * columns / median(_turns(call, repeats)[0]))
    return best


def _slope(x: Tensor, y: Tensor) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())
