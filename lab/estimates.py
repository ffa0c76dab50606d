"""Means and shares with their 95 % intervals, gathered over cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = ["Estimate", "estimate", "merge"]

_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval over `count` values."""

    value: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float], *, share: bool) -> Estimate:
    """Mean and 95 % interval: Wilson's for shares, Student's for others."""
    count = len(values)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(values))
    if share:
        centre = (mean + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
        reach = _Z / (1 + _Z**2 / count) * math.sqrt(mean * (1 - mean) / count + _Z**2 / (4 * count**2))
        return Estimate(mean, max(0.0, centre - reach), min(1.0, centre + reach), count)
    reach = _student(count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(mean, mean - reach, mean + reach, count)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, else the usual series in 1/n."""
    if freedom <= 2:
        return 12.7062 if freedom == 1 else 4.3027
    z, n = _Z, freedom
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / n ** (power + 1) for power, term in enumerate(terms))


def merge(rows: Iterable[Mapping[str, Sequence[float]]]) -> dict[str, Estimate]:
    """Scores of many cases to one estimate a name; names with a comma, which are parts of others, come last."""
    gathered: dict[str, list[float]] = {}
    for row in rows:
        for name, values in row.items():
            gathered.setdefault(name, []).extend(value for value in values if not math.isnan(value))
    ordered = sorted(gathered, key=lambda name: ("," in name, name.split(", ")[-1] if "," in name else ""))
    return {name: estimate(gathered[name], share=not name.endswith("dB")) for name in ordered}
