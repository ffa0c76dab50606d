"""The training loop, the same for every network: step, average, report, checkpoint, resume.

A *task* owns a network and says what a step's loss is; it draws its data from a generator seeded by (seed, step), so a
resumed run sees what an unbroken one would have seen. Knows nothing of what is being trained.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .budget import Budget, learning_rate_factor
from .curve import draw_curve
from .optim import Optimizers, clip_gradients

__all__ = ["Settings", "Task", "Trainer"]

log = logging.getLogger("vogue.train")


class Task(Protocol):
    """One network's training: what is trained, on what, and how well it does."""

    name: str
    optimizers: Optimizers

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        ...

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch drawn with `rng`, and numbers to report."""
        ...

    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """Scores on held-out data, of the averaged network when there is one; may write pictures into `folder`."""
        ...


@dataclass(frozen=True)
class Settings:
    """How a run is paced. Times are wall clock."""

    folder: Path
    seed: int = 0
    ema_decay: float = 0.0
    clip: float = 1.0
    warmup_steps: int = 50
    hold: float = 0.3
    report_every_steps: int = 20
    evaluate_every_s: float = 240.0
    checkpoint_every_s: float = 180.0


class Trainer:
    """Runs a task within a budget; `restore()` continues where the last checkpoint was written."""

    def __init__(self, task: Task, budget: Budget, settings: Settings) -> None:
        self.task, self.budget, self.settings = task, budget, settings
        self.average: dict[str, Tensor] | None = None
        if settings.ema_decay > 0:
            self.average = {k: v.detach().clone() for k, v in task.network.state_dict().items()}
        self._checkpointed = self._evaluated = 0.0
        settings.folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.settings.folder / f"{self.task.name}.pt"

    def run(self, on_step: Callable[[int, float], None] | None = None) -> None:
        """Train until the budget is used up; the last thing written is a checkpoint."""
        self._checkpointed = self._evaluated = time.monotonic()
        running: dict[str, list[float]] = {}
        while not self.budget.done:
            for key, value in self.step().items():
                running.setdefault(key, []).append(value)
            if on_step is not None:
                on_step(self.budget.step, running["loss"][-1])
            if self.budget.step % self.settings.report_every_steps == 0:
                self._record({key: sum(values) / len(values) for key, values in running.items()})
                running = {}
            self._keep()
        self._record(self._evaluate())
        self.save()

    def step(self) -> dict[str, float]:
        """One optimizer step; returns the loss and what the task reported."""
        budget, settings = self.budget, self.settings
        rng = np.random.default_rng((settings.seed, budget.step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self.task.network.train()
        loss, report = self.task.loss(rng, generator)
        loss.backward()
        norm = clip_gradients(self.task.network.parameters(), settings.clip)
        factor = learning_rate_factor(
            budget.fraction, budget.step, warmup_steps=settings.warmup_steps, hold=settings.hold
        )
        self.task.optimizers.step(factor)
        self._update_average()
        budget.tick()
        return {"loss": float(loss.detach()), "gradient": float(norm), "rate": factor, **report}

    def averaged(self) -> nn.Module | None:
        """A copy of the network that holds the averaged weights, or None without averaging."""
        if self.average is None:
            return None
        network = copy.deepcopy(self.task.network)
        network.load_state_dict(self.average)
        return network.eval()

    def save(self) -> None:
        """Write the checkpoint; a reader never sees half of one."""
        state = {
            "network": self.task.network.state_dict(),
            "optimizers": self.task.optimizers.state_dict(),
            "average": self.average,
            "used_s": self.budget.used_s,
            "step": self.budget.step,
            "seed": self.settings.seed,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def restore(self) -> None:
        """Continue from the checkpoint.

        Raises:
            FileNotFoundError: there is none in the run's folder.
        """
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        self.task.network.load_state_dict(state["network"])
        self.task.optimizers.load_state_dict(state["optimizers"])
        self.average = state["average"]
        self.budget.used_s, self.budget.step = state["used_s"], state["step"]

    def _update_average(self) -> None:
        if self.average is None:
            return
        # A young average follows closely, so that early samples are not those of the initial weights.
        decay = min(self.settings.ema_decay, (1 + self.budget.step) / (10 + self.budget.step))
        with torch.no_grad():
            for key, value in self.task.network.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)
                else:
                    self.average[key].copy_(value)

    def _keep(self) -> None:
        now = time.monotonic()
        if now - self._evaluated > self.settings.evaluate_every_s:
            self._record(self._evaluate())
            self._evaluated = time.monotonic()
        if now - self._checkpointed > self.settings.checkpoint_every_s:
            self.save()
            self._checkpointed = time.monotonic()

    def _evaluate(self) -> dict[str, float]:
        self.task.network.eval()
        with torch.no_grad():
            scores = self.task.evaluate(self.averaged(), self.settings.folder, self.budget.step)
        return {f"eval_{key}": value for key, value in scores.items()}

    def _record(self, numbers: dict[str, float]) -> None:
        line = {"step": self.budget.step, "minutes": round(self.budget.used_s / 60, 2), **numbers}
        with (self.settings.folder / f"{self.task.name}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        log.info("%s", "  ".join(f"{k} {v:.4g}" for k, v in line.items()))
        draw_curve(self.settings.folder, self.task.name)
