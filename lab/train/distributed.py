"""A stage on several workers, through Ray Train (`TorchTrainer`): the only module of the lab that knows Ray."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .stage_runs import StageRun, open_task, open_trainer

__all__ = ["train_distributed"]


def train_distributed(run: StageRun, workers: int) -> list[dict[str, float]]:
    """Train a stage on several workers through Ray Train; returns what was reported on the way.

    A running Ray is used, or one is started. Each worker reads the run's folder, so on several machines that is a shared one.

    Raises:
        ray.train.TrainingFailedError: a worker failed; the last checkpoint is kept, go on with `resume`.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory(prefix="vogue-train-") as storage:
        trainer = TorchTrainer(
            _work,
            train_loop_config=asdict(run),
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name=run.stage, storage_path=storage),
        )
        trainer.fit()
    lines = (Path(run.folder) / f"{run.stage}.workers.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _work(config: dict[str, Any]) -> None:
    """What each worker does. All hold the same weights; the first keeps log and checkpoints."""
    import ray.train
    from ray.train.torch import prepare_model

    run = StageRun(**config)
    torch.set_num_threads(run.threads)
    context = ray.train.get_context()
    worker, workers = context.get_world_rank(), context.get_world_size()
    task = open_task(run, worker, workers, wrap=prepare_model)
    trainer = open_trainer(run, task)
    path = Path(run.folder) / f"{run.stage}.workers.jsonl"
    if worker == 0 and not run.resume:
        path.unlink(missing_ok=True)
    while not trainer.budget.done:
        numbers = trainer.step()
        # Each worker has the loss of its own rows, scaled so that the mean over workers is the batch's.
        total = torch.tensor(numbers["loss"])
        if workers > 1:
            torch.distributed.all_reduce(total)
        line = {"step": float(trainer.budget.step), "loss": float(total) / workers}
        ray.train.report(line)
        if worker == 0:
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if trainer.budget.step % run.report_every_steps == 0:
                trainer.save()
    if worker == 0:
        trainer.save()
