"""What a parity run found: the largest difference of each quantity of a case, and its bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

__all__ = ["BARS", "Report", "plain", "table"]

BARS = {
    "ids": 0.0,
    "image": 1.0,
    "video": 0.25,
    "embeddings": 1e-4,
    "posterior": 1e-4,
    "velocity": 1e-4,
    "latents": 1e-4,
    "frames": 1e-3,
}
"""Largest difference allowed: ids that differ; grey levels (largest of an image, mean of a video); absolute values."""


@dataclass
class Report:
    """Largest difference of each quantity of a case. Quantities that a case does not have are left out."""

    case: str
    differences: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def add(self, quantity: str, difference: float) -> None:
        """Keep the largest; what is not a number counts as infinite."""
        value = difference if difference == difference else float("inf")
        self.differences[quantity] = max(self.differences.get(quantity, 0.0), value)

    @property
    def passed(self) -> bool:
        """Whether every quantity is within its bar, and something was compared."""
        within = all(value <= BARS[name] for name, value in self.differences.items())
        return self.error is None and bool(self.differences) and within


def table(reports: Sequence[Report]) -> str:
    """One line a case, one column a quantity; what is above its bar carries an exclamation mark."""
    width = max((len(report.case) for report in reports), default=0)
    lines = [" ".join([" " * width, *(f"{name:>11}" for name in BARS)])]
    lines.append(" ".join([f"{'at most':<{width}}", *(f"{bar:>11.2g}" for bar in BARS.values())]))
    for report in reports:
        cells = [_cell(name, report.differences.get(name)) for name in BARS]
        lines.append(" ".join([f"{report.case:<{width}}", *cells]) + ("" if report.passed else "  FAILED"))
        if report.error is not None:
            lines.append(f"    {report.error}")
    failed = sum(not report.passed for report in reports)
    lines.append(f"{len(reports) - failed} of {len(reports)} cases agree")
    return "\n".join(lines) + "\n"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return f"{'-':>11}"
    return f"{value:>11.2g}" if value <= BARS[name] else f"{f'{value:.2g}!':>11}"


def plain(report: Report) -> dict[str, object]:
    """For JSON, which has no infinity: shapes that differ have the difference null."""
    known = {name: value if isfinite(value) else None for name, value in report.differences.items()}
    return {"case": report.case, "passed": report.passed, "differences": known, "error": report.error}
