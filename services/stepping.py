"""The engines' step loop behind the denoiser: references in, one step of several jobs at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from torch import Tensor

from vogue.engines.layout import Conditions
from vogue.engines.port import Engine, Row
from vogue.engines.registry import open_denoiser
from vogue.engines.sampling import Denoising, get_noise, get_schedule, prepare, rows_of, shape_class, tick, unpack
from vogue.schemas.config import ScheduleConfig
from vogue.schemas.errors import DeviceOutOfMemory
from vogue.schemas.references import TensorRef
from vogue.schemas.stages import DenoiseJob, LatentCheckpoint

from .blobs import BlobStore
from .denoiser import Foresight
from .ticking import Latents, StepLoop
from .workplace import Workplace, array_of, tensor_of

__all__ = ["EngineLoop", "EngineStepping", "load_loop", "straight_on"]


class EngineStepping:
    """A job between two steps."""

    def __init__(self, job_id: str, state: Denoising) -> None:
        self.job_id = job_id
        self.state = state
        self.lean = False
        """Its passes do not fit the device together, and are run one after another."""

    @property
    def steps_done(self) -> int:
        """See `Stepping`."""
        return self.state.steps_done

    @property
    def latents(self) -> Latents:
        """See `Stepping`."""
        return array_of(unpack(self.state))

    @property
    def shape_class(self) -> Hashable:
        """See `Stepping`. A job whose own passes are too much together is left to itself."""
        return self.job_id if self.lean else shape_class(self.state)

    @property
    def rows(self) -> int:
        """See `Stepping`."""
        return len(rows_of(self.state))


class EngineLoop:
    """The step loop of an engine."""

    def __init__(self, engine: Engine, schedule: ScheduleConfig, blobs: BlobStore) -> None:
        self._engine = engine
        self._schedule = schedule
        self._blobs = blobs

    def open(self, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> EngineStepping:
        """See `StepLoop.open`."""
        read = self._read
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
            self._schedule,
            steps_done=resume_from.steps_done if resume_from is not None else 0,
        )
        return EngineStepping(job.job_id, state)

    def tick(self, jobs: Sequence[EngineStepping]) -> None:
        """See `StepLoop.tick`. A single job that does not fit goes on with its passes one after another, if that fits."""
        states = [job.state for job in jobs]
        try:
            tick(_OneByOne(self._engine) if jobs[0].lean else self._engine, states)
        except DeviceOutOfMemory:
            if len(jobs) > 1 or jobs[0].lean or jobs[0].rows == 1:
                raise
            tick(_OneByOne(self._engine), states)
            jobs[0].lean = True

    def _read(self, ref: TensorRef) -> Tensor:
        return tensor_of(self._blobs.get_tensor(ref))


class _OneByOne:
    """An engine that is given each row by itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """See `Engine.forward`."""
        return [velocity for row in rows for velocity in self._engine.forward([row])]


def straight_on(schedule: ScheduleConfig) -> Foresight:
    """Follow the last step's velocity to the end: x − σ·v, with v = (x − x') / (σ − σ')."""

    def foresee(job: DenoiseJob, done: int, before: Latents, after: Latents) -> Latents:
        earlier, now = (float(sigma) for sigma in get_schedule(job.steps, schedule)[done - 1 : done + 1])
        reached: Latents = (after + (after - before) * np.float32(now / (earlier - now))).astype(np.float32)
        return reached

    return foresee


def load_loop(place: Workplace) -> StepLoop:
    """The step loop of the preset's MMDiT."""
    opened = open_denoiser(place.config.engines.denoiser, place.site)
    return EngineLoop(opened.engine, place.preset.schedule, place.blobs)
