"""The loss curve of a run, drawn from its log."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["draw_curve", "read_log"]


def read_log(folder: Path, name: str) -> list[dict[str, float]]:
    """The lines of `name`.jsonl, in order; none when the run has not reported yet."""
    path = folder / f"{name}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def draw_curve(folder: Path, name: str) -> None:
    """Write loss-`name`.png beside the log: the loss over steps, and the scores measured on the way."""
    # Drawing is not needed to train: the object interface loads no window system and keeps no figure alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_log(folder, name)
    losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    scores: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for key, value in line.items():
            if key.startswith("eval_"):
                scores.setdefault(key.removeprefix("eval_"), []).append((line["step"], value))
    figure = Figure(figsize=(11, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    if losses:
        left.plot(*zip(*losses, strict=True), linewidth=1)
        left.set_yscale("log")
    left.set(title=f"{name}: training loss", xlabel="step")
    for key, points in scores.items():
        right.plot(*zip(*points, strict=True), marker=".", label=key)
    right.set(title="held-out scores", xlabel="step")
    if scores:
        # Beside the axes, since looking for a free place among many lines takes longer than a step.
        figure.legend(loc="outside right upper", fontsize=6, ncols=1 + len(scores) // 18)
    figure.savefig(folder / f"loss-{name}.png")
