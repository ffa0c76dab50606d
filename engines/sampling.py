"""From noise to latents, as free functions: `get_noise → prepare → get_schedule → denoise → unpack`.

The loop knows steps, passes and guidance. It knows nothing about networks beyond the engine port, and nothing about text or
pixels. Everything here is float32, whatever the weights are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vogue.schemas.config import ScheduleConfig, Tier
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.stages import Pass

from .guidance import combine, passes_for
from .layout import Conditions, advance, arrange, free_frames, hold_first_frame
from .port import Engine, Row
from .schedule import get_schedule, timesteps_of
from .solver import look_back
from .tiers import is_guided

__all__ = [
    "Denoising",
    "KeepGoing",
    "denoise",
    "get_noise",
    "get_schedule",
    "prepare",
    "rows_of",
    "shape_class",
    "tick",
    "unpack",
]

_SHORT_CONTEXT = 64
"""Contexts up to this length are padded to each other without a thought; above, to the next power of two at most."""


@dataclass
class Denoising:
    """One job in the loop. `target` [C, T, h, w] holds the latents that enter step `steps_done`, `memory` [2, C, T', h, w] what
    a tier that does less work remembers of the step before: where it was heading, and what guidance had added.

    These are its whole state: a job prepared from them again ends as if it had never stopped.
    """

    target: Tensor
    contexts: Mapping[Pass, Tensor]
    conditions: Conditions
    sigmas: Tensor
    timesteps: Tensor
    guidance: float
    image_guidance: float
    steps_done: int = 0
    tier: Tier = Tier.EXACT
    memory: Tensor | None = None
    cancelled: bool = field(default=False)

    @property
    def steps_total(self) -> int:
        """Steps of the whole schedule."""
        return len(self.sigmas) - 1

    @property
    def finished(self) -> bool:
        """Whether no step is left, or none is wanted."""
        return self.cancelled or self.steps_done >= self.steps_total


KeepGoing = Callable[[int, Denoising], bool]
"""Called after each step with the job's index and the job; False stops that job before its next step."""


def get_noise(shape: tuple[int, int, int, int], seed: int) -> Tensor:
    """Unit noise [C, T, h, w] that depends on shape and seed only, not on the device or on other jobs."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def prepare(
    latents: Tensor,
    contexts: Mapping[Pass, Tensor],
    conditions: Conditions,
    steps: int,
    guidance: float,
    image_guidance: float,
    schedule: ScheduleConfig,
    *,
    steps_done: int = 0,
    tier: Tier = Tier.EXACT,
    memory: Tensor | None = None,
) -> Denoising:
    """A job ready for its first step, or for the step after a checkpoint.

    Args:
        latents: [C, T, h, w]: the noise, or a checkpoint's latents after `steps_done` steps.
        contexts: the connector's output [L, D] for each pass that the scales need.
        tier: which solver steps: Euler's, or for `fast` one of second order.
        memory: of a checkpoint, what that tier had kept.
    Raises:
        RequestInvalid: a context is missing, or more steps are done than there are.
        ShapeUnsupported: a condition does not fit the target.
    """
    missing = [which.value for which in passes_for(guidance, image_guidance) if which not in contexts]
    if missing:
        raise RequestInvalid(f"guidance {guidance} and {image_guidance} need contexts for {', '.join(missing)}")
    if not 0 <= steps_done <= steps:
        raise RequestInvalid(f"a checkpoint after {steps_done} steps does not belong to a job of {steps}")
    conditions.check(latents)
    sigmas = get_schedule(steps, schedule)
    return Denoising(
        target=hold_first_frame(latents.float(), conditions),
        contexts=contexts,
        conditions=conditions,
        sigmas=sigmas,
        timesteps=timesteps_of(sigmas, schedule),
        guidance=guidance,
        image_guidance=image_guidance,
        steps_done=steps_done,
        tier=tier,
        memory=memory.float() if memory is not None else None,
    )


def denoise(engine: Engine, jobs: Sequence[Denoising], keep_going: KeepGoing | None = None) -> list[Tensor]:
    """Step all jobs to their ends, together; schedules may differ. Returns the target latents of each."""
    while any(not job.finished for job in jobs):
        running = [i for i, job in enumerate(jobs) if not job.finished]
        tick(engine, [jobs[i] for i in running])
        for i in running:
            if keep_going is not None and not keep_going(i, jobs[i]):
                jobs[i].cancelled = True
    return [unpack(job) for job in jobs]


def tick(engine: Engine, jobs: Sequence[Denoising]) -> None:
    """One Euler step of every job, in one call of the engine."""
    passes = [_passes(job) for job in jobs]
    rows = [row for job, needed in zip(jobs, passes, strict=True) for row in _rows(job, needed)]
    velocities = iter(engine.forward(rows))
    for job, needed in zip(jobs, passes, strict=True):
        _step(job, {which: next(velocities) for which in needed})


def rows_of(job: Denoising) -> int:
    """How many rows the next step asks of the engine: one for each guidance pass."""
    return len(_passes(job))


def shape_class(job: Denoising) -> Hashable:
    """Equal for jobs whose rows go well together: of the same latent shapes and, roughly, lengths of context."""
    conditions = job.conditions
    source = conditions.source.shape[1] if conditions.source is not None else 0
    longest = max(len(context) for context in job.contexts.values())
    return tuple(job.target.shape), len(conditions.references), source, conditions.held, _rounded_up(longest)


def _rounded_up(length: int) -> int:
    return max(_SHORT_CONTEXT, 1 << (length - 1).bit_length())


def unpack(job: Denoising) -> Tensor:
    """The latents to decode, [C, T, h, w]: the target, an image-to-video's first frame included."""
    return job.target


def _passes(job: Denoising) -> tuple[Pass, ...]:
    """The passes of the next step. One that leaves guidance out needs to know what it added before."""
    if job.memory is None or is_guided(job.steps_done, job.steps_total, job.tier):
        return passes_for(job.guidance, job.image_guidance)
    return (Pass.CONDITIONAL,)


def _rows(job: Denoising, passes: Sequence[Pass]) -> list[Row]:
    timestep = float(job.timesteps[job.steps_done])
    return [Row(arrange(job.target, job.conditions, which), timestep, job.contexts[which]) for which in passes]


def _step(job: Denoising, velocities: Mapping[Pass, Tensor]) -> None:
    """Move the target along the combined velocity `noise − data`; conditions and a held first frame stay."""
    frames = job.target.shape[1]
    free = {
        which: free_frames(velocity.to(job.target.device), frames, job.conditions, which)
        for which, velocity in velocities.items()
    }
    full = free[Pass.CONDITIONAL]
    left_out = job.memory[1] if job.memory is not None and len(free) == 1 else None
    velocity = combine(free, job.guidance, job.image_guidance) if left_out is None else full + left_out
    before, here, there = (float(job.sigmas[max(job.steps_done + offset, 0)]) for offset in (-1, 0, 1))
    if job.tier is Tier.FAST:
        guided = velocity
        heading = job.target[:, job.conditions.held :] - here * velocity
        last = job.memory[0] if job.memory is not None else None
        velocity = look_back(velocity, heading, last, before, here, there)
        job.memory = torch.stack([heading, guided - full])
    job.target = advance(job.target, job.conditions, (there - here) * velocity)
    job.steps_done += 1
