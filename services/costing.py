"""What a job will cost: operations and memory from its shape, seconds from how fast this server has been.

Seconds are those that a job takes of the machine: while several jobs are at work each is charged its share, so that the seconds of all
that wait add up to how long they will take. They follow the fixed part of a job, its steps, the operations of its passes and the
pixels that go through the codec; what each of these takes here is fitted to the jobs that were finished last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vogue.engines.costs import RowSize, row_bytes, row_flops
from vogue.engines.tiers import guided_steps
from vogue.graph.nodes import latent_shape
from vogue.graph.route import passes
from vogue.schemas.config import Preset, Task
from vogue.schemas.errors import DeviceTooSmall
from vogue.schemas.requests import JobSpec

__all__ = ["Finished", "JobCost", "Rates", "check_fits", "cost_of", "shares"]

_LAYOUT_TOKENS = 24
"""Of the chat layout around an instruction."""
_CHARS_A_TOKEN = 4
_SMOOTHING = 1e-3
_SWEEPS = 400


@dataclass(frozen=True, slots=True)
class JobCost:
    """What a job takes of any machine: steps, operations of the MMDiT, pixels through the codec, and bytes of its largest row."""

    steps: int
    flops: float
    pixels: float
    largest_row_bytes: int

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """What seconds follow: the fixed part, steps, GFLOP and megapixels."""
        return 1.0, float(self.steps), self.flops / 1e9, self.pixels / 1e6


def cost_of(spec: JobSpec, references: int, preset: Preset, weight_bytes: int) -> JobCost:
    """The cost of a request that has nothing left open. A question has no steps; its seconds are the fixed part and its pixels."""
    clip = spec.num_frames * spec.height_px * spec.width_px
    pixels = clip * (2 if spec.task.edits else 1) + references * spec.height_px * spec.width_px
    if not spec.task.makes_media:
        return JobCost(0, 0.0, pixels, 0)
    _, frames, height, width = latent_shape(spec, preset)
    beside = references + (frames if spec.task.edits else 0)
    seen = (
        preset.mllm.max_pixels // (28 * 28) * (references + (1 if beside > references else 0) + (spec.task is Task.I2V))
    )
    text = min(len(spec.instruction) // _CHARS_A_TOKEN + _LAYOUT_TOKENS, preset.mllm.max_text_tokens)
    full = RowSize.of(preset.mmdit, frames + beside, height, width, text + seen)
    bare = RowSize.of(preset.mmdit, frames, height, width, _LAYOUT_TOKENS)
    count, guided = len(passes(spec)), guided_steps(spec.steps, spec.tier)
    one = row_flops(preset.mmdit, full)
    beside_it = one * (min(count, 2) - 1) + (row_flops(preset.mmdit, bare) if count == 3 else 0)
    flops = float(one * spec.steps + beside_it * guided)
    return JobCost(spec.steps, flops, pixels, row_bytes(preset.mmdit, full, weight_bytes))


def check_fits(cost: JobCost, room_bytes: int | None) -> None:
    """Refuse what cannot be computed here, whatever else is at work.

    Raises:
        DeviceTooSmall: a single pass takes more memory than there is.
    """
    if room_bytes is not None and cost.largest_row_bytes > room_bytes:
        raise DeviceTooSmall(
            f"one pass of this request needs about {cost.largest_row_bytes / 1e9:.1f} GB beside the weights, and the denoiser has"
            f" {room_bytes / 1e9:.1f} GB; ask for a smaller size or fewer frames"
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that is done: what it cost, and when it was at work, in seconds since the epoch."""

    cost: JobCost
    began_s: float
    ended_s: float


def shares(jobs: Sequence[Finished]) -> list[float]:
    """Seconds of the machine that each job took: while k of them were at work, a k-th of the time."""
    edges = sorted({edge for job in jobs for edge in (job.began_s, job.ended_s)})
    taken = [0.0] * len(jobs)
    for start, end in pairwise(edges):
        present = [i for i, job in enumerate(jobs) if job.began_s <= start and job.ended_s >= end]
        for i in present:
            taken[i] += (end - start) / len(present)
    return taken


class Rates:
    """Seconds of each part of a cost, fitted so that errors count by their share of a job's time; none is below zero."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = tuple(weights)

    @classmethod
    def fit(cls, costs: Sequence[JobCost], seconds: Sequence[float]) -> Rates | None:
        """From finished jobs; None where there is none to learn from."""
        kept = [(cost.parts, took) for cost, took in zip(costs, seconds, strict=True) if took > 0]
        if not kept:
            return None
        parts = np.array([one for one, _ in kept]) / np.array([[took] for _, took in kept])
        scale = np.maximum(np.abs(parts).max(axis=0), 1e-12)
        parts = parts / scale
        weights = _not_negative(parts, np.ones(len(kept)))
        # Once more without those that are far off: a machine that was busy with something else tells nothing of the job.
        wrong = np.abs(parts @ weights - 1.0)
        near = wrong <= max(3.0 * float(np.median(wrong)), 0.05)
        return cls(_not_negative(parts[near], np.ones(int(near.sum()))) / scale)

    def seconds(self, cost: JobCost) -> float:
        """What a job will take of the machine."""
        return float(sum(weight * part for weight, part in zip(self.weights, cost.parts, strict=True)))


def _not_negative(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """x ≥ 0 with the least |a·x − b|² + a little of |x|², by coordinates: what data leave open is shared out evenly."""
    gram = a.T @ a + _SMOOTHING * len(b) * np.eye(a.shape[1])
    right = a.T @ b
    x = np.zeros(a.shape[1])
    for _ in range(_SWEEPS):
        for i in range(len(x)):
            x[i] = max(0.0, x[i] + (right[i] - gram[i] @ x) / gram[i, i])
    return x
