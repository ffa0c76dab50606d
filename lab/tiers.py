"""What the tier `fast` loses and gains: `python -m vogue.lab.tiers [--task t2v] [--count 64] [--steps-share 0.5] [--json]`.

The same training-side cases are made in both tiers, seed by seed, and scored by the bench's oracles; cases of the evaluation are never
touched. Time is that of the processor on one thread, which a busy machine hardly disturbs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from vogue.engines.pipeline import Pipeline, Request
from vogue.schemas.config import FastConfig, Preset, Tier

from .maker import Maker
from .scoring import psnr, score_case
from .world.cases import Case, sample_case
from .world.cases import Task as CaseTask

__all__ = ["Comparison", "compare", "main"]

_FIRST_SEED = 5_000_000


@dataclass(frozen=True)
class Comparison:
    """Means over the cases: `scores` by name in both tiers, how alike the clips are, and how much faster the second was made."""

    task: str
    cases: int
    gain: float
    psnr_db: float
    scores: dict[str, tuple[float, float]]

    @property
    def loss(self) -> float:
        """The mean over all scores of what was lost, those in dB left out."""
        lost = [exact - fast for name, (exact, fast) in self.scores.items() if not name.endswith("dB")]
        return fmean(lost) if lost else 0.0


def compare(
    maker: Maker, pipeline: Pipeline, task: CaseTask, count: int, first_seed: int, batch: int = 4
) -> Comparison:
    """Make and score `count` training-side cases in both tiers, by turns."""
    scores: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    alike: list[float] = []
    gains: list[float] = []
    for start in range(0, count, batch):
        cases = [sample_case(task, first_seed + i, "train") for i in range(start, min(start + batch, count))]
        asked = [maker.request(case, case.prompt) for case in cases]
        made, took = [], []
        for tier in Tier:
            began = time.thread_time()
            made.append(pipeline.generate(_in_tier(asked, tier, pipeline.preset)))
            took.append(time.thread_time() - began)
        gains.append(took[0] / took[1])
        for case, exact, fast in zip(cases, *made, strict=True):
            alike.append(psnr(fast, exact))
            _add(scores, case, exact, fast)
    means = {name: (fmean(one), fmean(other)) for name, (one, other) in scores.items() if one}
    return Comparison(task, count, median(gains), fmean(alike), means)


def _in_tier(asked: Sequence[Request], tier: Tier, preset: Preset) -> list[Request]:
    share = preset.fast.steps_share if tier is Tier.FAST else 1.0
    return [
        replace(one, spec=one.spec.model_copy(update={"tier": tier, "steps": max(1, round(one.spec.steps * share))}))
        for one in asked
    ]


def _add(
    scores: dict[str, tuple[list[float], list[float]]], case: Case, exact: NDArray[np.uint8], fast: NDArray[np.uint8]
) -> None:
    for place, clip in enumerate((exact, fast)):
        for name, values in score_case(case, clip).items():
            scores[name][place].extend(value for value in values if value == value)


def main(arguments: list[str] | None = None) -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.tiers", description=__doc__)
    parser.add_argument("--task", choices=get_args(CaseTask)[:5], default="t2v")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=_FIRST_SEED, help="of the first case; training-side")
    parser.add_argument("--steps-share", type=float, help="of the fast tier, in place of the preset's")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    maker = Maker.load("model")
    if maker.pipeline is None:
        raise RuntimeError("the model's maker has no pipeline")
    if options.steps_share is not None:
        tried = FastConfig(steps_share=options.steps_share)
        maker.pipeline.preset = maker.pipeline.preset.model_copy(update={"fast": tried})
    found = compare(maker, maker.pipeline, options.task, options.count, options.seed)
    if options.json:
        sys.stdout.write(json.dumps(asdict(found) | {"loss": found.loss}) + "\n")
        return 0
    sys.stdout.write(
        f"{found.task}, {found.cases} cases: {found.gain:.2f} times as fast, {found.psnr_db:.1f} dB from exact\n"
    )
    for name, (exact, fast) in sorted(found.scores.items()):
        sys.stdout.write(f"  {name:<24} exact {exact:7.3f}  fast {fast:7.3f}\n")
    sys.stdout.write(f"  mean loss {found.loss:+.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
