"""How fast and how large the served model is: `python -m vogue.lab.perf [--preset mini] [--json]`.

Starts a server of its own, and measures the seconds until it is ready, what all its processes hold in memory while idle,
and a warm text-to-video at the preset's default size through HTTP. The same call in one process gives the ratio: what
services, storage and HTTP add. With `--rounds`, the same server makes eight clips in a row and eight at once, and is asked how long
jobs will take.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from vogue import Vogue
from vogue.engines.media import write_image, write_video
from vogue.engines.pipeline import Pipeline
from vogue.engines.tiny import tiny_pipeline
from vogue.schemas.config import Preset
from vogue.schemas.presets import get_preset

from .local_server import local_server
from .perf_mmdit import CONTEXT, LATENTS, MODEL, compare, grow, plot_growth, profile
from .throughput import (
    Estimates,
    Sharing,
    Ticks,
    clip_request,
    make_clip,
    measure_estimates,
    measure_sharing,
    measure_ticks,
)

__all__ = ["Report", "idle_memory_bytes", "main", "measure"]

_THREADS = 2
_PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}
TOKENS = (500, 1000, 2000, 4000, 8000)


@dataclass(frozen=True)
class Report:
    """The figures. Times are medians of warm calls."""

    preset: str
    ready_s: float
    idle_bytes: int
    http_s: float
    in_process_s: float
    ratio: float
    sharing: Sharing | None = None
    estimates: Estimates | None = None
    ticks: Ticks | None = None


def measure(preset: Preset, repeats: int, rounds: int = 0) -> Report:
    """Run all measurements, one after the other."""
    with tempfile.TemporaryDirectory(prefix="vogue-perf-") as folder:
        before = time.perf_counter()
        with local_server(Path(folder), preset=preset.name) as url:
            ready_s = time.perf_counter() - before
            with Vogue(url) as client:
                http_s = _median_s(lambda seed: make_clip(client, Path(folder), seed), repeats)
                estimates = measure_estimates(client, rounds) if rounds else None
                sharing = measure_sharing(client, Path(folder), rounds) if rounds else None
            idle_bytes = idle_memory_bytes(os.getpid())
        torch.set_num_threads(_THREADS)
        pipeline = _load(preset)
        in_process_s = _median_s(lambda seed: _in_process(pipeline, Path(folder), seed), repeats)
        ticks = measure_ticks(pipeline, repeats)
    ratio = http_s / in_process_s
    return Report(preset.name, ready_s, idle_bytes, http_s, in_process_s, ratio, sharing, estimates, ticks)


def _median_s(call: Callable[[int], None], repeats: int) -> float:
    """Median seconds of a call, after one that warms up. Each has a seed of its own, so that nothing is looked up."""
    call(0)
    taken = []
    for seed in range(1, repeats + 1):
        before = time.perf_counter()
        call(seed)
        taken.append(time.perf_counter() - before)
    return median(taken)


def _load(preset: Preset) -> Pipeline:
    if preset.name == "tiny":
        return tiny_pipeline(preset)
    return Pipeline.load(preset, Path(str(resources.files("vogue.weights"))) / preset.name)


def _in_process(pipeline: Pipeline, folder: Path, seed: int) -> None:
    preset = pipeline.preset
    (frames,) = pipeline.generate([clip_request(preset, seed)])
    write_video(frames, preset.fps, folder / f"here-{seed}.mp4")
    write_image(frames[0], folder / f"here-{seed}.png")


def idle_memory_bytes(parent_pid: int) -> int:
    """Memory of all descendants of a process, pages that several share counted once (proportional set size)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
    family = {parent_pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(_pss_bytes(pid) for pid in family - {parent_pid})


def _pss_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def _compare_models(repeats: int, precisions: Sequence[str], plot: Path | None, as_json: bool) -> int:
    torch.set_num_threads(_THREADS)
    found = [compare(MODEL, LATENTS, CONTEXT, dtype, repeats) for dtype in map(_PRECISIONS.__getitem__, precisions)]
    growth = grow(MODEL, TOKENS, CONTEXT, torch.bfloat16, repeats) if plot is not None else None
    if growth is not None and plot is not None:
        plot_growth(growth, plot)
    if as_json:
        whole = [
            asdict(one)
            | {"speedup": one.speedup, "share_of_peak": one.share_of_peak, "three_over_one": one.three_over_one}
            for one in found
        ]
        rising = asdict(growth) | {"over_flops": growth.over_flops} if growth is not None else None
        sys.stdout.write(json.dumps({"mmdit": whole, "growth": rising}) + "\n")
        return 0
    table = Table("", *precisions, "to reach")
    for name, read, bar in (
        ("one forward", lambda one: f"{one.ours_s:.2f} s", ""),
        ("diffusers", lambda one: f"{one.diffusers_s:.2f} s", ""),
        ("diffusers over ours", lambda one: f"{one.speedup:.2f}", "1.80, 1.15"),
        ("share of the fastest product", lambda one: f"{one.share_of_peak:.2f}", "0.65"),
        ("three passes over one", lambda one: f"{one.three_over_one:.2f}", "2.50"),
        ("outputs apart", lambda one: f"{one.difference:.1e}", "float32: 1e-4"),
    ):
        table.add_row(name, *(read(one) for one in found), bar)
    if growth is not None:
        row = [f"{growth.over_flops:.2f}", *("" for _ in precisions[1:]), "1.15"]
        table.add_row("slope of time over that of operations", *row)
    Console().print(table)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Measure and show. Speeds are reported, not judged: the exit code is 0 whatever they are."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.perf", description=__doc__)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--rounds", type=int, default=0, help="of jobs that share steps, and of estimates; 0 leaves them out"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--mmdit", action="store_true", help="the MMDiT's forward beside diffusers'")
    parser.add_argument(
        "--precision", choices=tuple(_PRECISIONS), action="append", help="with --mmdit: by default one after the other"
    )
    parser.add_argument("--profile", action="store_true", help="where the MMDiT's forward spends one thread's time")
    parser.add_argument("--growth", type=Path, help="with --mmdit: time against tokens, plotted to this file")
    options = parser.parse_args(arguments)
    if options.profile:
        # With two, whatever else the machine does shows up as waiting in the smallest operators.
        torch.set_num_threads(1)
        for precision in options.precision or list(_PRECISIONS):
            found = profile(MODEL, LATENTS, CONTEXT, _PRECISIONS[precision])
            sys.stdout.write(f"{precision}\n{found}\n")
        return 0
    if options.mmdit:
        return _compare_models(options.repeats, options.precision or list(_PRECISIONS), options.growth, options.json)
    report = measure(get_preset(options.preset), options.repeats, options.rounds)
    if options.json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        return 0
    table = Table("", "measured", "promised for mini")
    table.add_row("from `vogue serve` to ready", f"{report.ready_s:.1f} s", "45 s")
    table.add_row("all processes, idle", f"{report.idle_bytes / 1e9:.2f} GB", "6 GB")
    table.add_row("warm text-to-video through HTTP", f"{report.http_s:.2f} s", "15 s")
    table.add_row("the same in one process", f"{report.in_process_s:.2f} s", "")
    table.add_row("ratio", f"{report.ratio:.2f}", "1.20")
    if report.ticks is not None:
        table.add_row("a step of eight clips in one tick, of processor time", f"{report.ticks.gain:.2f}", "")
        table.add_row("steps of the tier fast, likewise", f"{report.ticks.fast_gain:.2f}", "2.50")
    if report.sharing is not None:
        table.add_row("eight clips in a row", f"{report.sharing.in_a_row_s:.2f} s", "")
        table.add_row("eight clips at once", f"{report.sharing.at_once_s:.2f} s", "")
        table.add_row("gain of sharing steps", f"{report.sharing.ratio:.2f}", "2.00")
        table.add_row("share of all cores' time used in a row", f"{report.sharing.busy:.2f}", "")
    if report.estimates is not None:
        table.add_row("median error of estimated seconds", f"{report.estimates.median_error:.0%}", "20%")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
