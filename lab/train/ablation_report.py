"""docs/ablations.md: what the arms scored, beside what the paper reports of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vogue.schemas.errors import RequestInvalid

from .arms import ARMS, MEASURED

__all__ = ["PAPER", "as_page"]

REPORTED: Final = {
    "multiid_one": ("identity", "all facts", "quality dB"),
    "multiid": ("identity", "all facts", "quality dB"),
    "ref_v2v_edit": ("done", "identity", "outside dB"),
    "v2v_edit": ("done", "nothing else changed", "outside dB"),
    "i2i_edit": ("done", "nothing else changed", "outside dB"),
}
PAPER: Final = """\
Human ratings, averages over six in-context tasks (UniVideo, arXiv:2510.08377, Tables 5 and 6 of its third version; one table in others):

| the paper's model | prompt following | subject consistency | video quality |
| --- | --- | --- | --- |
| UniVideo | 0.80 | 0.78 | 0.85 |
| single-task models | 0.64 | 0.67 | 0.79 |
| no visuals into the MMDiT | 0.66 | 0.18 | 0.71 |

By task, prompt following and subject consistency: one reference 0.93, 0.88 (single-task 0.85, 0.83; no visuals into the MMDiT
0.75, 0.32); several 0.75, 0.81 (0.75, 0.79; 0.81, 0.23); insert 0.92, 0.92 (0.81, 0.85; 0.68, 0.18); swap 0.91, 0.85 (0.53, 0.78;
0.63, 0.15); delete 0.52, 0.58 (0.32, 0.42; 0.21, 0.13); style 0.79, 0.64 (0.56, 0.43; 0.86, 0.11).

For the arms without visuals into the MLLM, with learnable queries and with positions shifted on all axes the paper gives no such
figures that we know; of the last it says that shifting in time only works better.
"""


def as_page(folder: Path) -> str:
    """The page of all arms scored in a folder.

    Raises:
        RequestInvalid: no arm is, or arms had different budgets or seeds, which would compare nothing.
    """
    told = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    arms = {name: told[name] for name in ARMS if name in told}
    if not arms:
        raise RequestInvalid(
            f"{folder} holds no scored arm: run `python -m vogue.lab.train ablate --arm baseline` first"
        )
    budgets = {(one["steps"], one["seed"]) for one in arms.values()}
    if len(budgets) > 1:
        raise RequestInvalid(f"arms have different (steps, seed): {sorted(budgets)}; train them with the same")
    ((steps, seed),) = budgets
    missing = [name for name in ARMS if name not in arms]
    lines = [
        "# Ablations",
        "",
        f"Every arm, the baseline included, starts from one checkpoint and trains {steps:,} steps (seed {seed}) on the same",
        "encoded cases (`lab/train/arms.py`). Scores are the bench's, on held-out cases, with 95 % intervals; an arm is sampled",
        "as it was trained.",
        "",
        *([f"Not run yet: {', '.join(missing)}.", ""] if missing else []),
        *_tables(arms),
        "## Beside the paper",
        "",
        PAPER,
    ]
    return "\n".join(lines)


def _tables(arms: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for exercise in MEASURED:
        rows = [(name, one["scores"][exercise]) for name, one in arms.items() if exercise in one["scores"]]
        names = [name for name in REPORTED[exercise] if any(name in scores for _, scores in rows)]
        if not rows or not names:
            continue
        lines += [f"## {exercise}", "", f"| arm | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
        lines += [f"| {arm} | " + " | ".join(_cell(scores.get(name)) for name in names) + " |" for arm, scores in rows]
        lines.append("")
    return lines


def _cell(one: Mapping[str, float] | None) -> str:
    if one is None or math.isnan(one["value"]):
        return "–"
    return f"{one['value']:.2f} ({one['low']:.2f} … {one['high']:.2f})"
