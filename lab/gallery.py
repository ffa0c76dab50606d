"""The gallery: one contact sheet a task, uncurated, the first 16 held-out cases of seed 0, failures included.

python -m vogue.lab.gallery FOLDER [--task T]… [--weights DIR] [--made-by model|codec|render]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from vogue.schemas.errors import VogueError

from .charts import contact_sheet, write_sheet
from .measure import MEASURES, SHEET_CASES, possible, run

__all__ = ["main"]

_REFUSED = 3


def main(arguments: list[str] | None = None) -> int:
    """Write FOLDER/TASK.png for each task that the weights have learnt. Exit 3 when a named one is not among them."""
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", action="append", choices=MEASURES)
    parser.add_argument("--weights", type=Path, help="weights folder; the packaged ones otherwise")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--made-by", choices=("model", "codec", "render"), default="model")
    parser.add_argument("--count", type=int, default=SHEET_CASES, help="cases a sheet, at most 16")
    options = parser.parse_args(arguments)
    from .maker import Maker

    console = Console(stderr=True)
    try:
        maker = Maker.load(options.made_by, preset=options.preset, weights=options.weights)
        for measure in options.task or [name for name in MEASURES if possible(name, maker) is None]:
            entries = run(measure, maker, count=options.count, seed=0, split="eval").entries
            if entries:
                write_sheet(contact_sheet(measure, entries), options.folder / f"{measure}.png")
                console.print(f"{options.folder / measure}.png")
    except VogueError as error:
        console.print(f"[red]refused:[/] {error.message}")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
