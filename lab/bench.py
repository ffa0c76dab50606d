"""How good are the weights: every task on held-out scenes in held-out sentences, scored by exact oracles.

    python -m vogue.lab.bench [--task T]… [--count 256] [--seed 0] [--weights DIR] [--steps N] [--json FILE] [--png FILE]

`--made-by render` scores the exact targets and `--made-by codec` those after the codec: the ceilings of every score.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .charts import Entry, contact_sheet, stack, write_sheet
from .scoring import Estimate, merge, psnr, score_case
from .world.cases import TASKS, Case, Split, sample_case
from .world.render import render
from .world.validate import compare, named_scenes

if TYPE_CHECKING:
    from .maker import Maker

Clip = NDArray[np.uint8]
Scores = dict[str, list[float]]

MEASURES: Final = ("codec", "analyser", *TASKS)
SHEET_CASES: Final = 16
BARS: Final[dict[str, dict[str, float]]] = {
    "codec": {"codec dB": 27.0},
    "analyser": dict.fromkeys(("background", "shape", "color", "material", "motion", "place"), 0.97),
    "t2i": {"colour": 0.9, "background": 0.9, "shape": 0.7},
    "t2v": {"colour": 0.9, "background": 0.9, "shape": 0.7, "motion": 0.75},
    "i2v": {"first frame dB": 23.0, "motion": 0.75},
    "i2i_edit": {"done": 0.7, "outside dB": 23.0},
    "v2v_edit": {"done": 0.7, "outside dB": 23.0},
}


@dataclass(frozen=True, slots=True)
class Result:
    """One measure: its estimates by name, the cases shown on the sheet, and how long making took."""

    measure: str
    estimates: dict[str, Estimate]
    entries: tuple[Entry, ...]
    seconds: float

    def passed(self, name: str) -> bool | None:
        """Whether an estimate reaches its bar; None where there is none."""
        bar = BARS[self.measure].get(name)
        return None if bar is None else self.estimates[name].value >= bar


def run(measure: str, maker: Maker, *, count: int, seed: int, split: Split) -> Result:
    """Take one measure over `count` cases, seeds upwards from `seed`."""
    started = time.monotonic()
    if measure in ("codec", "analyser"):
        rows, entries = _through_codec(measure, maker, count, seed, split)
    else:
        rows, entries = _task(measure, maker, count, seed, split)
    return Result(measure, merge(rows), tuple(entries), time.monotonic() - started)


def _task(task: str, maker: Maker, count: int, seed: int, split: Split) -> tuple[list[Scores], list[Entry]]:
    cases = [sample_case(task, seed + index, split) for index in range(count)]  # type: ignore[arg-type]
    made = maker.make(cases)
    rows = [score_case(case, clip) for case, clip in zip(cases, made, strict=True)]
    shown = zip(cases[:SHEET_CASES], made, rows, strict=False)
    return rows, [_entry(case, clip, row) for case, clip, row in shown]


def _entry(case: Case, made: Clip, scores: Mapping[str, Sequence[float]]) -> Entry:
    given = case.source if case.source is not None else case.first_frame
    strips = [("given", given)] if given is not None else []
    if case.task not in ("t2i", "t2v"):
        strips.append(("exact", case.target))
    good = bool(all(scores["done" if case.edit is not None else "all facts"]))
    return Entry(case.prompt, (*strips, ("made", made)), good)


def _through_codec(measure: str, maker: Maker, count: int, seed: int, split: Split) -> tuple[list[Scores], list[Entry]]:
    if measure == "codec":
        clips = [sample_case("t2v", seed + index, split).target for index in range(count)]
        again = maker.round_trip(clips)
        rows = [{"codec dB": [psnr(there, here)]} for there, here in zip(again, clips, strict=True)]
        shown = zip(clips[:SHEET_CASES], again, strict=False)
        return rows, [Entry("", (("exact", here), ("codec", there))) for here, there in shown]
    scenes = [scene for scene, _ in named_scenes(count, seed)]
    again = maker.round_trip([render(scene) for scene in scenes])
    return [_facts_read(scene, clip) for scene, clip in zip(scenes, again, strict=True)], []


def _facts_read(scene: object, clip: Clip) -> Scores:
    from .world.analyse import analyse

    row: Scores = {}
    for fact, right in compare(scene, analyse(clip)):  # type: ignore[arg-type]
        row.setdefault(fact, []).append(float(right))
    return row


def table(results: Sequence[Result], emit: Callable[[str], object]) -> None:
    """Print one line an estimate: value, interval, number, bar."""
    emit(f"{'measure':<10}{'score':<24}{'value':>8}{'95 % interval':>18}{'n':>6}{'bar':>8}\n")
    for result in results:
        for name, one in result.estimates.items():
            bar, passed = BARS[result.measure].get(name), result.passed(name)
            digits = 2 if name.endswith("dB") else 3
            interval = "–" if math.isnan(one.low) else f"{one.low:.{digits}f} … {one.high:.{digits}f}"
            verdict = "" if bar is None else f"{bar:>8g}  {'pass' if passed else 'FAIL'}"
            emit(f"{result.measure:<10}{name:<24}{one.value:>8.{digits}f}{interval:>18}{one.count:>6}{verdict}\n")
        emit(f"{'':<10}{result.seconds:.0f} s\n")


def as_json(results: Sequence[Result], settings: Mapping[str, object]) -> dict[str, object]:
    """The whole outcome as plain values."""
    return {
        "settings": dict(settings),
        "measures": {
            result.measure: {
                "seconds": round(result.seconds, 1),
                "scores": {
                    name: {**asdict(one), "bar": BARS[result.measure].get(name), "passed": result.passed(name)}
                    for name, one in result.estimates.items()
                },
            }
            for result in results
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write JSON and contact sheet. Exit 1 under --strict when a bar is missed."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    from .maker import Maker

    maker = Maker.load(
        options.made_by,
        preset=options.preset,
        weights=options.weights,
        steps=options.steps,
        batch=options.batch,
        threads=options.threads,
    )
    results = []
    for measure in options.task or MEASURES:
        results.append(run(measure, maker, count=options.count, seed=options.seed, split=options.split))
        if options.json:
            # After each measure: a long run that is stopped has still said something.
            options.json.parent.mkdir(parents=True, exist_ok=True)
            settings = {key: value for key, value in vars(options).items() if isinstance(value, (int, str))}
            options.json.write_text(json.dumps(as_json(results, settings), indent=2) + "\n", encoding="utf-8")
    table(results, sys.stdout.write)
    pages = [contact_sheet(result.measure, result.entries) for result in results if result.entries]
    if options.png and pages:
        write_sheet(stack(pages), options.png)
    missed = any(result.passed(name) is False for result in results for name in result.estimates)
    return int(options.strict and missed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", action="append", choices=MEASURES, help="measure only this; may be repeated")
    parser.add_argument("--count", type=int, default=256, help="cases a measure")
    parser.add_argument("--seed", type=int, default=0, help="first case's seed")
    parser.add_argument("--split", choices=("train", "eval"), default="eval")
    parser.add_argument("--made-by", choices=("model", "codec", "render"), default="model")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--weights", type=Path, help="weights folder; the packaged ones otherwise")
    parser.add_argument("--steps", type=int, help="denoising steps; the preset's otherwise")
    parser.add_argument("--batch", type=int, default=16, help="requests generated together")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; all cores otherwise")
    parser.add_argument("--json", type=Path, help="write every number here")
    parser.add_argument("--png", type=Path, help="write a contact sheet of the first 16 cases here")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a bar is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
