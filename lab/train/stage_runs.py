"""Running a stage: what it starts from, what it reads, how it goes on. On several processes: `distributed`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vogue.schemas.config import Preset
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.presets import get_preset

from .budget import Budget
from .encoded import Shelf, fill_shelf
from .pool import open_encoder
from .staged import StageTask
from .stages import STAGES, InContext, Stage, exercise_shares, get_stage
from .trainer import Settings, Trainer

__all__ = ["StageRun", "encode", "open_shelves", "open_task", "open_trainer", "starting_state", "train_stage"]

SHELF = "encoded"


@dataclass(frozen=True)
class StageRun:
    """One run of a stage, in plain values, so that a worker on another machine can open it again.

    folder: checkpoints, logs and encoded cases; every worker must reach it. weights: what stage 1 starts from, a weights folder.
    """

    stage: str
    folder: str
    preset: str = "mini"
    steps: int | None = None
    seed: int = 0
    tokens: int = 8192
    in_context: InContext = "table-7"
    weights: str | None = None
    keep_connector: bool = False
    resume: bool = False
    threads: int = 2
    autocast: bool = True
    report_every_steps: int = 20


def encode(
    folder: Path, preset: Preset, cases: int, *, in_context: InContext, seed: int = 0, blind: bool = False
) -> None:
    """Encode what the three stages draw: `cases` for stage 3, and as many as their shares ask of the rest."""
    encoder = open_encoder(folder, preset)
    shares: dict[str, float] = {}
    for stage in STAGES.values():
        for name, share in exercise_shares(stage, in_context).items():
            shares[name] = max(share, shares.get(name, 0.0))
    (folder / SHELF).mkdir(parents=True, exist_ok=True)
    torch.save(encoder.negative_states().clone(), folder / SHELF / "negative.pt")
    fill_shelf(encoder, folder / SHELF, shares, cases, seed=seed, blind=blind)


def starting_state(stage: Stage, run: StageRun) -> dict[str, Tensor]:
    """What a stage begins with: shipped weights for the first, else the stage before, averaged where it averages.

    Raises:
        RequestInvalid: there is nothing to start from.
    """
    if stage.follows is not None and run.weights is None:
        before = Path(run.folder) / f"{stage.follows}.pt"
        if not before.is_file():
            raise RequestInvalid(
                f"{stage.name} goes on from {before}: train {stage.follows} first, or give --start-from DIR"
            )
        state = torch.load(before, map_location="cpu", weights_only=True)
        return dict(state["average"] or state["network"])
    if run.weights is None:
        raise RequestInvalid(
            f"{stage.name} aligns a connector with an MMDiT that can generate already: give its weights with --start-from DIR"
        )
    parts = ("connector", "mmdit") if run.keep_connector or stage.follows is not None else ("mmdit",)
    found: dict[str, Tensor] = {}
    for part in parts:
        path = Path(run.weights) / f"{part}.safetensors"
        if not path.is_file():
            raise RequestInvalid(f"{run.weights} has no {part}.safetensors to start from")
        found |= {f"{part}.{name}": value.float() for name, value in load_file(path).items()}
    return found


def open_shelves(run: StageRun, shares: Mapping[str, float]) -> tuple[Shelf, Shelf, Mapping[str, float], Tensor]:
    """Encoded cases to train on and held-out ones, their shares, and the negative prompt's states [L, D].

    Raises:
        RequestInvalid: nothing is encoded.
    """
    folder = Path(run.folder) / SHELF
    if not (folder / "negative.pt").is_file():
        raise RequestInvalid(f"{folder} holds no encoded cases: run `python -m vogue.lab.train encode` first")
    negative: Tensor = torch.load(folder / "negative.pt", weights_only=True)
    return Shelf(folder, shares), Shelf(folder, shares, "eval"), shares, negative


def open_task(
    run: StageRun, worker: int = 0, workers: int = 1, wrap: Callable[[nn.Module], nn.Module] | None = None
) -> StageTask:
    """The task of a run, for one of its workers.

    Raises:
        RequestInvalid: nothing is encoded, or there is nothing to start from.
    """
    stage = get_stage(run.stage)
    shares = exercise_shares(stage, run.in_context)
    return StageTask(
        stage,
        get_preset(run.preset),
        *open_shelves(run, shares),
        start=None if run.resume else starting_state(stage, run),
        seed=run.seed,
        tokens=run.tokens,
        worker=worker,
        workers=workers,
        wrap=wrap,
        autocast=run.autocast,
    )


def open_trainer(run: StageRun, task: StageTask) -> Trainer:
    """A trainer at the run's start, or at its last checkpoint.

    Raises:
        RequestInvalid: a run to be resumed is not there, or began with other cases or settings.
    """
    recipe = task.recipe
    settings = Settings(
        folder=Path(run.folder),
        seed=run.seed,
        ema_decay=recipe.ema_decay or 0.0,
        clip=recipe.clip,
        warmup_steps=recipe.warmup_steps,
        hold=1.0,  # The rate is constant.
        report_every_steps=run.report_every_steps,
        evaluate_every_s=900.0,
    )
    trainer = Trainer(task, Budget(steps=run.steps or recipe.steps), settings)
    facts = {"cases": task.shelf.digest, "seed": run.seed, "tokens": run.tokens, "in_context": run.in_context}
    path = Path(run.folder) / f"{run.stage}.json"
    if run.resume:
        if not trainer.checkpoint.is_file() or not path.is_file():
            raise RequestInvalid(f"{run.folder} has no run of {run.stage} to resume; leave out --resume to begin one")
        if (begun := json.loads(path.read_text())) != facts:
            changed = ", ".join(key for key in facts if begun.get(key) != facts[key])
            raise RequestInvalid(
                f"{run.stage} in {run.folder} began with other {changed}: it would not be the same run"
            )
        trainer.restore()
    elif task.worker == 0:
        path.write_text(json.dumps(facts) + "\n")
    return trainer


def train_stage(run: StageRun) -> Trainer:
    """Train a stage on this process until its steps are done; the last thing written is a checkpoint."""
    torch.set_num_threads(run.threads)
    trainer = open_trainer(run, open_task(run))
    trainer.run()
    return trainer
