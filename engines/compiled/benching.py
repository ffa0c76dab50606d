"""How fast engines are, side by side: the same three rows through each, in turns, and medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vogue.schemas.engines import EngineSetting, EngineSpec

from ..port import Row
from ..registry import Opened, open_denoiser
from .profiles import profile_of
from .signatures import Network

if TYPE_CHECKING:
    from ..port import Engine
    from ..registry import Site

__all__ = ["Timing", "bench_engines", "usual_rows"]


@dataclass(frozen=True)
class Timing:
    """One engine's figures. `apart` is the largest difference of a velocity from the first engine's."""

    identity: str
    median_s: float
    fastest_s: float
    rounds: int
    tokens: int
    apart: float


def usual_rows(site: Site, frames: int = 2) -> list[Row]:
    """The passes of an edit at the usual size: one without visuals, two with, and contexts of different lengths."""
    usual = max(site.preset.tasks.values(), key=lambda one: one.num_frames * one.height_px * one.width_px)
    vae = site.preset.vae
    count = (usual.num_frames - 1) // vae.temporal_compression_ratio + 1
    side = vae.spatial_compression_ratio
    generator = torch.Generator().manual_seed(0)

    def row(times: int, tokens: int) -> Row:
        shape = (vae.latent_channels, times * count, usual.height_px // side, usual.width_px // side)
        context = torch.randn(tokens, site.preset.mmdit.context_dim, generator=generator)
        return Row(torch.randn(shape, generator=generator), 700.0, context)

    most = profile_of(site.preset, Network.MMDIT).axes["context"].usual
    return [row(1, most // 3), row(frames, most // 2), row(frames, most)]


def bench_engines(site: Site, specs: Sequence[EngineSpec], rounds: int, say: Callable[[str], None]) -> list[Timing]:
    """Open all, warm each up once, then call them in turns, so that what else the machine does falls on all alike.

    Raises:
        EngineNotBuilt: one of them cannot run here.
    """
    opened: list[Opened[Engine]] = []
    for spec in specs:
        say(f"opening {spec.kind}")
        opened.append(open_denoiser(EngineSetting(engine=spec), site))
    rows = usual_rows(site)
    results = [one.engine.forward(rows) for one in opened]
    seconds: list[list[float]] = [[] for _ in opened]
    for number in range(rounds):
        for i, one in enumerate(opened):
            say(f"round {number + 1} of {rounds}: {one.identity}")
            started = time.perf_counter()
            one.engine.forward(rows)
            seconds[i].append(time.perf_counter() - started)
    patch = site.preset.mmdit.patch_size
    tokens = rows[-1].latents[0].numel() // patch**2
    return [
        Timing(
            identity=one.identity,
            median_s=statistics.median(times),
            fastest_s=min(times),
            rounds=rounds,
            tokens=tokens,
            apart=max(float((a - b).abs().max()) for a, b in zip(result, results[0], strict=True)),
        )
        for one, times, result in zip(opened, seconds, results, strict=True)
    ]
