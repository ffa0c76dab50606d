"""`python -m vogue.lab.train ablate`: train an arm, score it on the bench, and write docs/ablations.md of all that is there.

--arm NAME …    train these arms (all without it), each from --start-from, the same steps each, then score them
--score-only    score arms that are trained already
--report FILE   write the page of all scored arms and stop
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from vogue.engines.pipeline import Pipeline, Request
from vogue.engines.torch_engine import TorchEngine
from vogue.lab.maker import Blinded, Clip, Maker
from vogue.lab.measure import run as measure
from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import RequestInvalid, VogueError
from vogue.schemas.presets import get_preset
from vogue.schemas.stages import Pass

from .ablation_report import as_page
from .arms import ARMS, Arm, QueryGenerator, ShiftedGenerator, ShiftedMMDiT, with_queries
from .encoded import Layout, draw_case, reading_of
from .generator import Generator
from .pool import Encoder, open_encoder
from .stage_runs import StageRun, open_shelves, open_trainer, starting_state
from .staged import Batch, StageTask
from .stages import exercise_shares, get_stage
from .trainer import Trainer

__all__ = ["ArmMaker", "ArmTask", "main", "open_arm", "score_arm", "train_arm"]

STEPS: Final = 3000
FOLDER: Final = "ablations"
log = logging.getLogger("vogue.train")


class ArmTask(StageTask):
    """A stage's task whose network may need to know more of a batch than its latents and states."""

    encoder: Encoder | None = None

    def _run(self, latents: Tensor, timestep: Tensor, batch: Batch, mine: slice) -> Tensor:
        if isinstance(self.network, ShiftedGenerator):
            self.network.mmdit.layouts = [case.layout for case in batch.cases[mine]]
        if isinstance(self.network, QueryGenerator) and self.encoder is not None:
            asked = []
            for case, drop in zip(batch.cases[mine], batch.dropped[mine], strict=True):
                which = Pass.NEGATIVE if drop else Pass.CONDITIONAL
                asked.append(reading_of(self.encoder, case.key, *draw_case(case.key))[which])
            states, mask = self.network.read(asked)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                velocity: Tensor = self.network(latents, timestep, states, mask)
            return velocity
        return super()._run(latents, timestep, batch, mine)


def open_arm(arm: Arm, run: StageRun) -> ArmTask:
    """The task of an arm, at its start.

    Raises:
        RequestInvalid: nothing is encoded, or there is nothing to start from.
    """
    preset, stage = get_preset(run.preset), get_stage("stage3")
    shares = (
        exercise_shares(stage, run.in_context) if arm.only is None else {name: 1 / len(arm.only) for name in arm.only}
    )
    torch.manual_seed(run.seed)
    network, encoder = Generator(preset), None
    if arm.positions == "all-axes":
        network = ShiftedGenerator(preset)
    if arm.queries:
        encoder = open_encoder(Path(run.folder), preset)
        encoder = replace(encoder, mllm=with_queries(encoder.mllm, arm.queries))
        network = QueryGenerator(preset, encoder.mllm)
    task = ArmTask(
        replace(stage, name=f"ablation-{arm.name}"),
        preset,
        *open_shelves(run, shares),
        start=None if run.resume else starting_state(stage, run),
        seed=run.seed,
        tokens=run.tokens,
        network=network,
        blind=arm.blind,
        autocast=run.autocast,
    )
    task.encoder = encoder
    return task


def train_arm(arm: Arm, run: StageRun) -> Trainer:
    """Train an arm for the run's steps; its average is then in the network."""
    run = replace(run, stage=f"ablation-{arm.name}", steps=run.steps or STEPS)
    torch.set_num_threads(run.threads)
    trainer = open_trainer(run, open_arm(arm, run))
    while not trainer.budget.done:
        numbers = trainer.step()
        if trainer.budget.step % run.report_every_steps == 0:
            log.info("%s step %d loss %.4f", arm.name, trainer.budget.step, numbers["loss"])
        if trainer.budget.step % (10 * run.report_every_steps) == 0:
            trainer.save()
    trainer.save()
    return trainer


@dataclass(frozen=True)
class ArmMaker(Maker):
    """Makes the bench's clips with an arm's networks, in the arm's own conditions."""

    mmdit: ShiftedMMDiT | None = None

    def _generate(self, requests: Sequence[Request]) -> list[Clip]:
        if self.mmdit is None:
            return super()._generate(requests)
        made: list[Clip] = []
        for request in requests:
            # One at a time: requests of one call may have different layouts.
            self.mmdit.layouts = [_layout_of(request, self.preset)]
            made += super()._generate([request])
        return made


def score_arm(arm: Arm, run: StageRun, count: int) -> dict[str, object]:
    """Scores of a trained arm on held-out cases, and what it was trained with."""
    name = f"ablation-{arm.name}"
    path = Path(run.folder) / f"{name}.pt"
    if not path.is_file():
        raise RequestInvalid(f"{path} is not there: train the arm first, `--arm {arm.name}` without --score-only")
    state = torch.load(path, map_location="cpu", weights_only=True)
    task = open_arm(arm, replace(run, resume=True, stage=name))
    task.network.load_state_dict(state["average"] or state["network"])
    maker = _maker(arm, task, Path(run.folder))
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for exercise in arm.measured:
        result = measure(exercise, maker, count=count, seed=0, split="eval")
        scores[exercise] = {
            key: {"value": one.value, "low": one.low, "high": one.high, "count": one.count}
            for key, one in result.estimates.items()
        }
    told = {"arm": arm.name, "title": arm.title, "steps": state["step"], "seed": run.seed, "scores": scores}
    folder = Path(run.folder) / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{arm.name}.json").write_text(json.dumps(told, indent=1) + "\n")
    return told


def main(arguments: list[str]) -> int:
    """Run the command. Exit 3 when it is refused; the reason goes to standard error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    run = StageRun(
        "stage3", str(options.run.resolve()), options.preset, steps=options.steps, seed=options.seed, tokens=options.tokens,
        weights=None if options.start_from is None else str(options.start_from.resolve()), resume=options.resume,
        threads=options.threads,
    )  # fmt: skip
    try:
        if options.report is not None:
            options.report.write_text(as_page(options.run / FOLDER), encoding="utf-8")
            return 0
        for name in options.arm or ARMS:
            if not options.score_only:
                train_arm(ARMS[name], run)
            score_arm(ARMS[name], run, options.count)
    except VogueError as error:
        sys.stderr.write(f"refused: {error.message}\n")
        return 3
    return 0


def _maker(arm: Arm, task: ArmTask, folder: Path) -> ArmMaker:
    encoder = task.encoder or open_encoder(folder, get_preset(task.preset.name))
    network = task.network.eval().requires_grad_(False)
    mllm = network.settle() if isinstance(network, QueryGenerator) else encoder.mllm
    preset = task.preset.model_copy(update={"mllm": mllm.config})
    pipeline = Pipeline(
        preset=preset,
        prompts=preset.prompts,
        mllm=mllm,
        connector=network.connector,
        engine=TorchEngine(network.mmdit, guidance_embedding=preset.schedule.guidance_embedding),
        vae=encoder.vae,
        device=torch.device("cpu"),
    )
    without: Blinded | None = "mmdit-visuals" if arm.blind.mmdit else "mllm-visuals" if arm.blind.mllm else None
    shifted = network.mmdit if isinstance(network.mmdit, ShiftedMMDiT) else None
    return ArmMaker("model", preset, pipeline, encoder.vae, None, 16, without, mmdit=shifted)


def _layout_of(request: Request, preset: Preset) -> Layout:
    rate = preset.vae.temporal_compression_ratio
    frames = {role: [v for v in request.visuals if v.role is role] for role in Role}
    source = sum(1 + (len(one.frames) - 1) // rate for one in frames[Role.SOURCE])
    target = 1 + (request.spec.num_frames - 1) // rate
    return Layout(len(frames[Role.REFERENCE]), target, source, len(frames[Role.FIRST_FRAME]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.train ablate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arm", action="append", choices=tuple(ARMS), help="may be repeated")
    parser.add_argument("--run", type=Path, default=Path("runs"), help="folder of encoded cases (`encode --blind`)")
    parser.add_argument(
        "--start-from", type=Path, default=None, help="weights all arms begin with; else the run's stage 2"
    )
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on with an arm that was stopped")
    parser.add_argument("--count", type=int, default=64, help="held-out cases a measure")
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--report", type=Path, default=None, metavar="FILE")
    return parser
