"""`python -m vogue.lab.simulate check|scale`: foretell a measured load on the mini graph; then how many H100s for how many clips a day.

check    start a server, calibrate, let jobs arrive, compare with the simulation (exit 1 when it is off by more than 20 %)
scale    print the tables of docs/scaling.md, and draw its plot
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vogue import Vogue
from vogue.schemas.presets import get_preset

from .h100 import MIX, Clip, seconds_of
from .load import rehearse
from .local_server import local_server
from .scaling import Answer, Day, live_through, needed_for, traffic_of

__all__ = ["main", "tables"]

LOADS = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
LIVED = (1_000, 10_000)
PRESET = "univideo-hidden"


def main(arguments: list[str] | None = None) -> int:
    """Run one command."""
    options = _parser().parse_args(arguments)
    if options.command == "check":
        return _check(options)
    preset = get_preset(PRESET)
    loads = [load for load in LOADS if load <= options.most]
    answers = {
        (load, wait_s, speed_up): needed_for(load, preset, wait_s=wait_s, speed_up=speed_up)
        for load in loads
        for wait_s, speed_up in ((60.0, 1.0), (600.0, 1.0), (60.0, 2.98))
    }
    days = [live_through(answers[load, 60.0, 1.0], preset) for load in loads if load in LIVED]
    sys.stdout.write(tables(list(answers.items()), days))
    if options.png:
        _draw(list(answers.items()), options.png)
    return 0


def tables(answers: Sequence[tuple[tuple[int, float, float], Answer]], days: Sequence[Day]) -> str:
    """The tables as Markdown."""
    preset = get_preset(PRESET)
    lines = ["| task (share) | MLLM s | encode s | denoise s | decode s | H100-seconds |", "| --- " * 6 + "|"]
    for task, share in MIX.items():
        one = seconds_of(Clip.of(preset, task), preset)
        lines.append(
            f"| {task} ({share:.0%}) | {one.understand:.2f} | {one.encode:.1f} | {one.denoise:,.0f} | {one.decode:.1f} | {one.gpu:,.0f} |"
        )
    lines += [
        "",
        "| clips a day | wait, p95 at most | denoiser | H100s: denoiser + codec + MLLM = all | CPU cores for mp4 |",
    ]
    lines[-1] += " wait p50 / p95 / p99 s | denoisers busy |"
    lines.append("| --- " * 7 + "|")
    for (load, wait_s, speed_up), answer in answers:
        r, w = answer.replicas, answer.waits_s
        kind = "exact" if speed_up == 1 else f"{speed_up:g}× faster"
        lines.append(
            f"| {load:,} | {wait_s:g} s | {kind} | {r['denoiser']:,} + {r['codec']:,} + {r['understanding']:,} = {answer.gpus:,} | "
            f"{r['delivery']:,} | {w[0]:.0f} / {w[1]:.0f} / {w[2]:.0f} | {answer.busy['denoiser']:.0%} |"
        )
    lines += [
        "",
        "| clips a day | fixed fleet: GPU-hours, wait p95 | autoscaled: GPU-hours, wait p95, most GPUs |",
        "| --- " * 3 + "|",
    ]
    for day in days:
        lines.append(
            f"| {day.clips_a_day:,} | {day.fixed_gpu_h:,.0f} h, {day.fixed_wait_s:.0f} s | "
            f"{day.scaled_gpu_h:,.0f} h, {day.scaled_wait_s:.0f} s, {day.most_gpus:,} |"
        )
    lines += ["", "| clips a day | lossless frames | latents and checkpoints | mp4s |", "| --- " * 4 + "|"]
    for load in sorted({load for (load, _, _), _ in answers}):
        moved = traffic_of(preset, load)
        lines.append(f"| {load:,} | " + " | ".join(_bytes(moved[name]) for name in ("frames", "latents", "mp4")) + " |")
    return "\n".join(lines) + "\n"


def _bytes(a_second: float) -> str:
    return f"{a_second / 1e9:.3g} GB/s" if a_second >= 1e9 else f"{a_second / 1e6:.3g} MB/s"


def _check(options: argparse.Namespace) -> int:
    def told(line: str) -> None:
        sys.stderr.write(line + "\n")

    with (
        tempfile.TemporaryDirectory(prefix="vogue-load-") as folder,
        local_server(Path(folder), preset=options.preset) as url,
        Vogue(url) as client,
    ):

        def generate(seed: int) -> None:
            words = f"a red star moves to the left, number {seed}"
            client.generate(words, task="t2v", seed=seed, steps=options.steps).wait()

        verdict = rehearse(generate, jobs=options.jobs, share=options.share, told=told)
    names = ("mean latency, s", "median latency, s", "jobs a second")
    for name, foretold, measured, error in zip(names, verdict.foretold, verdict.measured, verdict.errors, strict=True):
        sys.stdout.write(f"{name:18} foretold {foretold:8.3f}  measured {measured:8.3f}  {error:+.0%}\n")
    if options.json:
        options.json.write_text(json.dumps({"foretold": verdict.foretold, "measured": verdict.measured}) + "\n")
    if not verdict.steady:
        sys.stderr.write(
            f"no verdict: bursts after the load took {verdict.drift:.2g} times as long as before; use a quiet machine\n"
        )
        return 2
    return 0 if verdict.holds else 1


def _draw(answers: Sequence[tuple[tuple[int, float, float], Answer]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for wait_s, speed_up in sorted({(wait_s, speed_up) for (_, wait_s, speed_up), _ in answers}):
        some = [one for (_, w, s), one in answers if (w, s) == (wait_s, speed_up)]
        label = f"p95 wait ≤ {wait_s:g} s" + ("" if speed_up == 1 else f", denoiser {speed_up:g}×")
        left.loglog([one.clips_a_day for one in some], [one.gpus for one in some], marker=".", label=label)
        right.semilogx(
            [one.clips_a_day for one in some], [100 * one.busy["denoiser"] for one in some], marker=".", label=label
        )
    left.set(title="H100s at the busiest hour", xlabel="clips a day")
    right.set(title="how busy the denoisers are, %", xlabel="clips a day", ylim=(0, 105))
    left.legend(fontsize=7)
    figure.savefig(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("check", "scale"))
    parser.add_argument("--most", type=int, default=LOADS[-1], help="scale: largest load, in clips a day")
    parser.add_argument("--png", type=Path, help="scale: draw the plot here")
    parser.add_argument("--preset", default="mini", help="check: what the server runs")
    parser.add_argument("--steps", type=int, default=8, help="check: denoising steps of a clip")
    parser.add_argument("--jobs", type=int, default=40, help="check: how many arrive")
    parser.add_argument("--share", type=float, default=0.7, help="check: share of the capacity that is asked for")
    parser.add_argument("--json", type=Path, help="check: write the figures here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
