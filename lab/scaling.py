"""How many H100s a deployment of the released model needs: from clips a day to replicas, waiting times and the next bottleneck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vogue.schemas.config import Preset

from .h100 import MIX, Clip, Seconds, job_of, seconds_of
from .simulation import Autoscaling, Job, Outcome, Station, poisson_arrivals, simulate

__all__ = ["Answer", "Day", "draw_jobs", "fleet", "live_through", "needed_for", "traffic_of"]

GPU_STATIONS: Final = ("understanding", "codec", "denoiser")
DAY_S: Final = 86_400.0
PEAK: Final = 1.5
"""The busiest hour over the mean; the fleet is sized for it."""
CELL: Final = 20_000
"""Clips a day of one cluster. Larger loads are several of these beside each other, which share no queue."""
FULLEST: Final = 0.95
"""No stage is planned fuller than this at the busiest hour: queues near 1 grow for as long as it lasts."""
_HOURS: Final = 6.0
_START_S: Final = 180.0


@dataclass(frozen=True)
class Answer:
    """What a load needs at its busiest hour. waits_s: median, 95th and 99th percentile of the time in lines."""

    clips_a_day: int
    cells: int
    replicas: dict[str, int]
    waits_s: tuple[float, float, float]
    busy: dict[str, float]

    @property
    def gpus(self) -> int:
        """H100s."""
        return sum(self.replicas[name] for name in GPU_STATIONS)


@dataclass(frozen=True)
class Day:
    """A day with autoscaling against a fixed fleet. GPU-hours, and the 95th percentile of the time in lines."""

    clips_a_day: int
    fixed_gpu_h: float
    fixed_wait_s: float
    scaled_gpu_h: float
    scaled_wait_s: float
    most_gpus: int


def fleet(preset: Preset, speed_up: float = 1.0) -> list[tuple[Seconds, float]]:
    """Seconds and share of every task of the mix."""
    return [(seconds_of(Clip.of(preset, task), preset, speed_up), share) for task, share in MIX.items()]


def draw_jobs(
    kinds: Sequence[tuple[Seconds, float]], arrivals_s: Sequence[float], rng: np.random.Generator
) -> list[Job]:
    """Jobs of the mix at these times."""
    chosen = rng.choice(len(kinds), len(arrivals_s), p=[share for _, share in kinds])
    return [job_of(float(at), kinds[kind][0]) for at, kind in zip(arrivals_s, chosen, strict=True)]


def needed_for(clips_a_day: int, preset: Preset, *, wait_s: float, speed_up: float = 1.0, seed: int = 0) -> Answer:
    """The smallest fleet, by steps of 2 % or one replica, whose 95th percentile of waiting at the busiest hour is at most `wait_s`."""
    kinds = fleet(preset, speed_up)
    cells = math.ceil(clips_a_day / CELL)
    rate = clips_a_day / cells / DAY_S * PEAK
    rng = np.random.default_rng(seed)
    # Long enough to see queues form; a small load needs longer for its percentiles.
    jobs = draw_jobs(kinds, list(poisson_arrivals(rate, max(_HOURS * 3600, 1000 / rate), rng)), rng)
    work = _work(kinds)
    replicas = {name: max(1, math.ceil(rate * one / FULLEST)) for name, one in work.items()}
    while True:
        outcome = simulate(jobs, [Station(name, number) for name, number in replicas.items()])
        settled = outcome.waits_s[len(jobs) // 5 :]
        if np.percentile(settled, 95) <= wait_s:
            break
        # Whichever stage is fullest holds the others up.
        name = max(replicas, key=lambda one: rate * work[one] / replicas[one])
        replicas[name] += max(1, round(0.02 * replicas[name]))
    low, high, highest = (float(np.percentile(settled, share)) for share in (50, 95, 99))
    busy = {name: rate * work[name] / number for name, number in replicas.items()}
    every = {name: cells * number for name, number in replicas.items()}
    return Answer(clips_a_day, cells, every, (low, high, highest), busy)


def live_through(answer: Answer, preset: Preset, *, speed_up: float = 1.0, seed: int = 0) -> Day:
    """A day whose rate swings by half around its mean, on the fleet of its busiest hour and on one that follows the load."""
    rng = np.random.default_rng(seed)
    arrivals = poisson_arrivals(answer.clips_a_day / DAY_S, DAY_S, rng, swing=PEAK - 1)
    jobs = draw_jobs(fleet(preset, speed_up), list(arrivals), rng)
    fixed = simulate(jobs, [Station(name, number) for name, number in answer.replicas.items()])
    stations = []
    for name, number in answer.replicas.items():
        rule = Autoscaling(
            least=max(1, number // 3),
            most=math.ceil(1.2 * number),
            target=0.8,
            every_s=30.0,
            start_s=_START_S,
            idle_s=600.0,
        )
        stations.append(Station(name, rule.least, autoscaling=rule))
    scaled = simulate(jobs, stations)
    return Day(
        answer.clips_a_day, _gpu_hours(fixed), _high(fixed), _gpu_hours(scaled), _high(scaled),
        sum(scaled.most_replicas[name] for name in GPU_STATIONS),
    )  # fmt: skip


def traffic_of(preset: Preset, clips_a_day: int) -> dict[str, float]:
    """Bytes a second that move at the busiest hour: lossless frames in and out of the store, latents with their checkpoints, mp4s.

    An mp4 counts 0.1 bits a pixel. A checkpoint of the latents (float32) is written every `checkpoint_every_steps` steps.
    """
    rate = clips_a_day / DAY_S * PEAK
    frames = latents = mp4 = 0.0
    for task, share in MIX.items():
        clip = Clip.of(preset, task)
        side, channels = preset.vae.spatial_compression_ratio, preset.vae.latent_channels
        groups = 1 + (clip.frames - 1) // preset.vae.temporal_compression_ratio
        one = 4.0 * channels * groups * (clip.height_px // side) * (clip.width_px // side)
        conditions = 2 if task.edits else 1
        # The result once and the source once, each written and read; a source is read by the MLLM and by the codec.
        frames += share * clip.megapixels * 3e6 * (2 + (3 if task.edits else 0))
        latents += share * one * (2 * conditions + clip.steps // preset.checkpoint_every_steps)
        mp4 += share * clip.megapixels * 1e6 * 0.1 / 8
    return {"frames": rate * frames, "latents": rate * latents, "mp4": rate * mp4}


def _work(kinds: Sequence[tuple[Seconds, float]]) -> dict[str, float]:
    """Mean seconds of a request at every station."""
    return {
        "understanding": sum(share * one.understand for one, share in kinds),
        "codec": sum(share * (one.encode + one.decode) for one, share in kinds),
        "denoiser": sum(share * one.denoise for one, share in kinds),
        "delivery": sum(share * one.write for one, share in kinds),
    }


def _gpu_hours(outcome: Outcome) -> float:
    return sum(outcome.replica_s[name] for name in GPU_STATIONS) / 3600


def _high(outcome: Outcome) -> float:
    return float(np.percentile(outcome.waits_s, 95))
