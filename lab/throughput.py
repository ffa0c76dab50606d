"""What a server gains when jobs share steps, and how well it knows what a job will cost: sections of `vogue.lab.perf`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from vogue import Vogue
from vogue.engines.pipeline import Pipeline, Request
from vogue.engines.port import Engine
from vogue.engines.sampling import Denoising, denoise, tick
from vogue.inputs import Settings
from vogue.schemas.config import Preset, Task, Tier
from vogue.schemas.requests import JobSpec

__all__ = [
    "Estimates",
    "Sharing",
    "Ticks",
    "clip_request",
    "make_clip",
    "measure_estimates",
    "measure_sharing",
    "measure_ticks",
]

_WORDS = "a red star moves to the left in front of a blue background"
_TOGETHER = 8
_SHAPES: tuple[Settings, ...] = (
    {"task": "t2v", "steps": 20},
    {"task": "t2i", "steps": 20},
    {"task": "t2v", "steps": 10},
    {"task": "t2i", "steps": 40},
    {"task": "t2v", "steps": 30, "num_frames": 9},
    {"task": "t2v", "steps": 20, "height_px": 96, "width_px": 96},
    {"task": "t2v", "steps": 20, "guidance": 1.0},
    {"task": "t2i", "steps": 10, "height_px": 96, "width_px": 96},
)


@dataclass(frozen=True)
class Sharing:
    """Seconds of eight jobs one after another and all at once, medians of interleaved rounds, and the median of the rounds' ratios.

    `busy` says why the ratio is not larger: the share of all cores' time that was used while they were made one after another.
    """

    in_a_row_s: float
    at_once_s: float
    ratio: float
    busy: float


@dataclass(frozen=True)
class Estimates:
    """How far the seconds foretold at submission were from those that a job took, alone on the server."""

    jobs: int
    median_error: float
    worst_error: float


@dataclass(frozen=True)
class Ticks:
    """Processor seconds of a step of eight default clips, one after another and in one tick, and what each tier's steps take, on one
    thread; medians of interleaved rounds."""

    in_a_row_s: float
    together_s: float
    gain: float
    fast_gain: float


def measure_ticks(pipeline: Pipeline, rounds: int) -> Ticks:
    """The step loop alone. Processor time on one thread is hardly disturbed by what else a machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        jobs = pipeline.begin([clip_request(pipeline.preset, seed) for seed in range(_TOGETHER)])
        tick(pipeline.engine, jobs[:1])
        rows, bursts, gains = [], [], []
        for number in range(rounds):
            rows.append(_processor_s(partial(_each, pipeline.engine, jobs)))
            bursts.append(_processor_s(partial(tick, pipeline.engine, jobs)))
            exact, fast = pipeline.begin([clip_request(pipeline.preset, number, tier) for tier in Tier])
            gains.append(
                _processor_s(partial(denoise, pipeline.engine, [exact]))
                / _processor_s(partial(denoise, pipeline.engine, [fast]))
            )
            jobs = pipeline.begin([clip_request(pipeline.preset, seed) for seed in range(_TOGETHER)])
    finally:
        torch.set_num_threads(threads)
    gain = median(row / burst for row, burst in zip(rows, bursts, strict=True))
    return Ticks(median(rows), median(bursts), gain, median(gains))


def _each(engine: Engine, jobs: list[Denoising]) -> None:
    for job in jobs:
        tick(engine, [job])


def clip_request(preset: Preset, seed: int, tier: Tier = Tier.EXACT) -> Request:
    """A default clip; each seed has words of its own, so that nothing is looked up."""
    defaults = preset.tasks[Task.T2V]
    share = preset.fast.steps_share if tier is Tier.FAST else 1.0
    spec = JobSpec(
        task=Task.T2V,
        instruction=f"{_WORDS} {seed}",
        negative_prompt=preset.default_negative_prompt,
        height_px=defaults.height_px,
        width_px=defaults.width_px,
        num_frames=defaults.num_frames,
        fps=preset.fps,
        steps=max(1, round(defaults.steps * share)),
        guidance=defaults.guidance,
        image_guidance=1.0,
        seed=seed,
        tier=tier,
    )
    return Request(spec)


def _processor_s(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


def measure_sharing(client: Vogue, folder: Path, rounds: int) -> Sharing:
    """Eight default clips in a row, then eight at once, in turns, so that a busy machine disturbs both alike."""
    rows, bursts, ratios, busy = [], [], [], []
    seed = 10_000
    for _ in range(rounds):
        began, used = time.perf_counter(), _core_ticks()
        for _ in range(_TOGETHER):
            make_clip(client, folder, seed := seed + 1)
        rows.append(time.perf_counter() - began)
        worked, idled = (now - then for now, then in zip(_core_ticks(), used, strict=True))
        busy.append(worked / max(worked + idled, 1))
        began = time.perf_counter()
        seeds = range(seed + 1, seed + _TOGETHER + 1)
        made = [client.generate(f"{_WORDS} {one}", task="t2v", seed=one) for one in seeds]
        for one, result in zip(seeds, made, strict=True):
            result.wait()
            result.save(folder / f"{one}.mp4")
        seed += _TOGETHER
        bursts.append(time.perf_counter() - began)
        ratios.append(rows[-1] / bursts[-1])
    return Sharing(median(rows), median(bursts), median(ratios), median(busy))


def _core_ticks() -> tuple[int, int]:
    """Of all cores since the machine was started: how long they worked and how long they had nothing to do."""
    spent = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    idled = spent[3] + spent[4]  # waiting for a disk is nothing to do
    return sum(spent) - idled, idled


def measure_estimates(client: Vogue, rounds: int) -> Estimates:
    """Jobs of many shapes, each alone: after a first round, from which the server learns, what it foretells is compared."""
    errors = []
    seed = 20_000
    for number in range(rounds + 1):
        for shape in _SHAPES:
            seed += 1
            settings: Settings = {**shape, "seed": seed}
            result = client.generate(f"{_WORDS} {seed}", **settings)
            result.wait()
            job = client.jobs.get(result.id).job
            if number and job.estimate_s is not None and job.started_at_s is not None and job.finished_at_s is not None:
                took = job.finished_at_s - job.started_at_s
                errors.append(abs(job.estimate_s - took) / took)
    return Estimates(len(errors), median(errors), max(errors))


def make_clip(client: Vogue, folder: Path, seed: int) -> None:
    """The same clip through a server."""
    made = client.generate(f"{_WORDS} {seed}", task="t2v", seed=seed)
    made.wait()
    made.save(folder / f"{seed}.mp4")
