"""The bench's outcome as a page: JSON files of one or more runs, made one Markdown table.

python -m vogue.lab.score_page BENCH.json… [--key-figures]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .bars import BARS
from .measure import MEASURES

__all__ = ["lines", "main"]

_HEAD = "| measure | score | value | 95 % interval | n | floor | |\n| --- | --- | --- | --- | --- | --- | --- |"


def lines(measures: Mapping[str, Mapping[str, Any]], *, key_figures: bool = False) -> Iterator[str]:
    """Table rows in the bench's order; `key_figures` leaves out what has no floor."""
    for measure in (name for name in MEASURES if name in measures):
        for name, one in measures[measure]["scores"].items():
            bar = BARS.get(measure, {}).get(name)
            if bar is None and key_figures:
                continue
            digits = 2 if name.endswith("dB") else 3
            low, high = one["low"], one["high"]
            interval = "–" if low is None or high is None else f"{low:.{digits}f} … {high:.{digits}f}"
            value = "–" if one["value"] is None else f"{one['value']:.{digits}f}"
            floor, verdict = ("", "") if bar is None else (f"{bar.floor:g}", "reached" if one["passed"] else "missed")
            yield f"| {measure} | {name} | {value} | {interval} | {one['count']} | {floor} | {verdict} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of all files together; a measure in several files is taken from the last."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.score_page", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--key-figures", action="store_true", help="only scores that have a floor")
    options = parser.parse_args(arguments)
    measures: dict[str, Any] = {}
    for path in options.files:
        measures |= json.loads(path.read_text(encoding="utf-8"))["measures"]
    sys.stdout.write("\n".join([_HEAD, *lines(measures, key_figures=options.key_figures)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
