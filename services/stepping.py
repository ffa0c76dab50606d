"""The engines' step loop behind the denoiser: references in, one step of several jobs at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vogue.engines.costs import RowSize, row_bytes
from vogue.engines.layout import Conditions
from vogue.engines.port import Engine, Row
from vogue.engines.registry import open_denoiser
from vogue.engines.sampling import Denoising, get_noise, get_schedule, prepare, rows_of, shape_class, tick, unpack
from vogue.schemas.config import MMDiTConfig, Preset, ScheduleConfig
from vogue.schemas.errors import DeviceOutOfMemory
from vogue.schemas.references import TensorRef
from vogue.schemas.stages import DenoiseJob, LatentCheckpoint

from .blobs import BlobStore
from .denoiser import Foresight
from .step_loop import Latents, StepLoop
from .workplace import Workplace, array_of, tensor_of

__all__ = ["EngineLoop", "EngineStepping", "free_bytes", "load_loop", "straight_on"]

_OF_GPU, _OF_MACHINE = 0.9, 0.5


class EngineStepping:
    """A job between two steps."""

    def __init__(
        self, job_id: str, state: Denoising, largest_row: RowSize, config: MMDiTConfig, weight_bytes: int
    ) -> None:
        self.job_id = job_id
        self.state = state
        self._row_bytes = row_bytes(config, largest_row, weight_bytes)
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
    def memory(self) -> Latents | None:
        """See `Stepping`."""
        return array_of(self.state.memory) if self.state.memory is not None else None

    @property
    def shape_class(self) -> Hashable:
        """See `Stepping`. A job whose own passes are too much together is left to itself."""
        return self.job_id if self.lean else shape_class(self.state)

    @property
    def rows(self) -> int:
        """See `Stepping`."""
        return rows_of(self.state)

    @property
    def num_bytes(self) -> int:
        """See `Stepping`."""
        return (1 if self.lean else self.rows) * self._row_bytes


class EngineLoop:
    """The step loop of an engine."""

    def __init__(self, engine: Engine, preset: Preset, blobs: BlobStore, weight_bytes: int = 4) -> None:
        self._engine = engine
        self._preset = preset
        self._blobs = blobs
        self._weight_bytes = weight_bytes

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
            self._preset.schedule,
            steps_done=resume_from.steps_done if resume_from is not None else 0,
            tier=job.tier,
            memory=read(resume_from.memory) if resume_from is not None and resume_from.memory is not None else None,
        )
        mmdit = self._preset.mmdit
        return EngineStepping(job.job_id, state, largest_row(state, mmdit), mmdit, self._weight_bytes)

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


def largest_row(state: Denoising, config: MMDiTConfig) -> RowSize:
    """Of the passes with visuals, and with the longest context."""
    conditions = state.conditions
    _, frames, height, width = state.target.shape
    frames += len(conditions.references) + (conditions.source.shape[1] if conditions.source is not None else 0)
    return RowSize.of(config, frames, height, width, max(len(context) for context in state.contexts.values()))


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


def free_bytes(device: str) -> int | None:
    """Memory for the rows of a tick, once the weights are loaded: most of what a GPU has left, half of what this machine has left.

    None where neither can be told.
    """
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _OF_GPU)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    available = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(int(available.split()[1]) * 1024 * _OF_MACHINE) if available is not None else None


def load_loop(place: Workplace) -> StepLoop:
    """The step loop of the preset's MMDiT."""
    opened = open_denoiser(place.config.engines.denoiser, place.site)
    return EngineLoop(opened.engine, place.preset, place.blobs, place.dtype.itemsize)
