"""The engines' step loop behind the denoiser: references in, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vogue.engines.layout import Conditions
from vogue.engines.loading import load_mmdit
from vogue.engines.port import Engine
from vogue.engines.sampling import get_noise, get_schedule, prepare, tick, unpack
from vogue.engines.torch_engine import TorchEngine
from vogue.schemas.config import ScheduleConfig
from vogue.schemas.references import TensorRef
from vogue.schemas.stages import DenoiseJob, LatentCheckpoint

from .blobs import BlobStore
from .denoiser import Foresight, Latents, StepLoop
from .workplace import Workplace, array_of, tensor_of

__all__ = ["engine_loop", "load_loop", "straight_on"]


def engine_loop(engine: Engine, schedule: ScheduleConfig, blobs: BlobStore) -> StepLoop:
    """The step loop of an engine."""

    def read(ref: TensorRef) -> Tensor:
        return tensor_of(blobs.get_tensor(ref))

    def loop(job: DenoiseJob, resume_from: LatentCheckpoint | None) -> Iterator[tuple[int, Latents]]:
        state = prepare(
            read(resume_from.latents) if resume_from is not None else get_noise(job.latent_shape, job.seed),
            {name: read(ref) for name, ref in job.contexts.items()},
            Conditions(
                references=tuple(read(ref) for ref in job.references),
                source=read(job.source) if job.source is not None else None,
                first_frame=read(job.first_frame) if job.first_frame is not None else None,
            ),
            job.steps,
            job.guidance,
            job.image_guidance,
            schedule,
            steps_done=resume_from.steps_done if resume_from is not None else 0,
        )
        while not state.finished:
            tick(engine, [state])
            yield state.steps_done, array_of(unpack(state))

    return loop


def straight_on(schedule: ScheduleConfig) -> Foresight:
    """Follow the last step's velocity to the end: x − σ·v, with v = (x − x') / (σ − σ')."""

    def foresee(job: DenoiseJob, done: int, before: Latents, after: Latents) -> Latents:
        earlier, now = (float(sigma) for sigma in get_schedule(job.steps, schedule)[done - 1 : done + 1])
        reached: Latents = (after + (after - before) * np.float32(now / (earlier - now))).astype(np.float32)
        return reached

    return foresee


def load_loop(place: Workplace) -> StepLoop:
    """The step loop of the preset's MMDiT."""
    model = load_mmdit(place.weights, place.preset.mmdit, place.device, place.dtype)
    engine = TorchEngine(model, guidance_embedding=place.preset.schedule.guidance_embedding)
    return engine_loop(engine, place.preset.schedule, place.blobs)
