"""The noise schedule: shifted sigmas and their timesteps (NUMERICS, guidance and schedule)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vogue.schemas.config import ScheduleConfig

__all__ = ["get_schedule", "shift_sigmas", "timesteps_of"]


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """s·σ / (1 + (s − 1)·σ): moves steps towards the noisy end where s > 1; keeps 0 and 1."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def get_schedule(steps: int, config: ScheduleConfig) -> Tensor:
    """Sigmas [steps + 1], float32, from 1 down to 0: step i goes from sigma i to sigma i + 1."""
    even = torch.from_numpy(np.linspace(1.0, 0.0, steps + 1, dtype=np.float64).astype(np.float32))
    return shift_sigmas(even, config.shift)


def timesteps_of(sigmas: Tensor, config: ScheduleConfig) -> Tensor:
    """What the MMDiT is told of the noise: 1000·σ, float32 and never rounded to the weights' precision."""
    return sigmas * config.num_train_timesteps
