"""How good are the weights: every task on held-out scenes in held-out sentences, scored by exact oracles.

    python -m vogue.lab.bench [--task T]… [--count 256] [--seed 0] [--weights DIR] [--steps N] [--json FILE] [--png FILE] [--sheets DIR]

Without --task everything is measured that the weights have learnt. `--made-by render` scores the exact targets and
`--made-by codec` those after the codec: the ceilings of every score. `--without` shows one network no visual inputs.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vogue.schemas.errors import VogueError

from .bars import BARS, dimension
from .charts import contact_sheet, stack, write_sheet
from .measure import MEASURES, Result, possible, run

__all__ = ["as_json", "main", "run", "table"]

_WIDTH = 118
_REFUSED = 3


def table(results: Sequence[Result]) -> Table:
    """One line an estimate: what it speaks of, value, interval, number, floor and target."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("measure", "of", "score"):
        drawn.add_column(title)
    for title in ("value", "95 % interval", "n", "floor", "target"):
        drawn.add_column(title, justify="right", no_wrap=True)
    drawn.add_column("")
    for result in results:
        for number, (name, one) in enumerate(result.estimates.items()):
            bar, passed = BARS.get(result.measure, {}).get(name), result.passed(name)
            digits = 2 if name.endswith("dB") else 3
            interval = "–" if math.isnan(one.low) else f"{one.low:.{digits}f} … {one.high:.{digits}f}"
            bars = ("", "") if bar is None else (f"{bar.floor:g}", f"{bar.target:g}")
            verdict = "" if passed is None else "[green]pass[/]" if passed else "[red]FAIL[/]"
            measure = result.measure if number == 0 else ""
            value = f"{one.value:.{digits}f}"
            drawn.add_row(measure, dimension(name), name, value, interval, str(one.count), *bars, verdict)
        drawn.add_row("", "", f"{result.seconds:.0f} s", end_section=True)
    return drawn


def as_json(results: Sequence[Result], settings: Mapping[str, object]) -> dict[str, object]:
    """The whole outcome as plain values."""
    return {
        "settings": dict(settings),
        "measures": {
            result.measure: {
                "seconds": round(result.seconds, 1),
                "scores": {name: _score_json(result, name) for name in result.estimates},
            }
            for result in results
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write JSON and contact sheet. Exit 1 under --strict when a floor is missed, 3 when refused."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        results = _measure(options)
    except VogueError as error:
        Console(stderr=True).print(f"[red]refused:[/] {error.message}")
        return _REFUSED
    Console(width=_WIDTH if not sys.stdout.isatty() else None).print(table(results))
    pages = [contact_sheet(result.measure, result.entries) for result in results if result.entries]
    if options.png and pages:
        write_sheet(stack(pages), options.png)
    missed = any(result.passed(name) is False for result in results for name in result.estimates)
    return int(options.strict and missed)


def _measure(options: argparse.Namespace) -> list[Result]:
    from .maker import Maker

    maker = Maker.load(
        options.made_by,
        preset=options.preset,
        weights=options.weights,
        steps=options.steps,
        batch=options.batch,
        threads=options.threads,
        without=options.without,
    )
    results: list[Result] = []
    for measure in options.task or [name for name in MEASURES if possible(name, maker) is None]:
        results.append(run(measure, maker, count=options.count, seed=options.seed, split=options.split))
        if options.json:
            # After each measure: a long run that is stopped has still said something.
            options.json.parent.mkdir(parents=True, exist_ok=True)
            settings = {key: value for key, value in vars(options).items() if isinstance(value, (int, str))}
            options.json.write_text(json.dumps(as_json(results, settings), indent=2) + "\n", encoding="utf-8")
        if options.sheets and results[-1].entries:
            write_sheet(contact_sheet(measure, results[-1].entries), options.sheets / f"{measure}.png")
    return results


def _score_json(result: Result, name: str) -> dict[str, object]:
    bar = BARS.get(result.measure, {}).get(name)
    return {
        **{
            key: None if isinstance(one, float) and math.isnan(one) else one
            for key, one in asdict(result.estimates[name]).items()
        },
        "dimension": dimension(name),
        "bar": None if bar is None else bar.floor,
        "target": None if bar is None else bar.target,
        "passed": result.passed(name),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", action="append", choices=MEASURES, help="measure only this; may be repeated")
    parser.add_argument("--count", type=int, default=256, help="cases a measure")
    parser.add_argument("--seed", type=int, default=0, help="first case's seed")
    parser.add_argument("--split", choices=("train", "eval"), default="eval")
    parser.add_argument("--made-by", choices=("model", "codec", "render"), default="model")
    parser.add_argument("--without", choices=("mmdit-visuals", "mllm-visuals"), help="an ablation")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--weights", type=Path, help="weights folder; the packaged ones otherwise")
    parser.add_argument("--steps", type=int, help="denoising steps; the preset's otherwise")
    parser.add_argument("--batch", type=int, default=16, help="requests generated together")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; all cores otherwise")
    parser.add_argument("--json", type=Path, help="write every number here")
    parser.add_argument("--png", type=Path, help="write a contact sheet of the first 16 cases here")
    parser.add_argument(
        "--sheets", type=Path, help="write one contact sheet a measure into this folder, as the gallery does"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 when a floor is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
