"""What the denoiser's thread drives: a loop that opens jobs and advances them, and the jobs as it holds them.

The server steps with the engines' loop (`stepping.py`), tests with their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.stages import DenoiseJob, LatentCheckpoint

from .turns import Load

__all__ = ["Latents", "StepLoop", "Stepping"]

Latents = NDArray[np.float32]


class Stepping(Load, Protocol):
    """A job in the step loop: where it stands, and what its next step takes."""

    @property
    def steps_done(self) -> int:
        """Steps finished."""
        ...

    @property
    def latents(self) -> Latents:
        """What enters the next step, [C, T, h, w]."""
        ...

    @property
    def memory(self) -> Latents | None:
        """What the next step needs beside them, if anything."""
        ...


class StepLoop(Protocol):
    """Opens jobs, and advances those that are open together. All calls come from one thread."""

    def open(self, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> Any:
        """Start a job, fresh or from a checkpoint. Returns its `Stepping`."""
        ...

    def tick(self, jobs: Sequence[Any]) -> None:
        """Advance jobs of one shape class by one step: all of them or, if it raises, none.

        Raises:
            DeviceOutOfMemory: they do not fit the device together.
        """
        ...
