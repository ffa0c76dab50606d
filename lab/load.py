"""Whether the simulation is to be believed: it must foretell a measured load on the mini graph.

One run does both, since both must see the same machine: jobs alone and in bursts give what the server gains from holding several,
then jobs arrive at random, then bursts once more, because a machine that others use changes. The simulation is given the bursts'
figures and the arrival times, nothing of what the load measured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

import numpy as np

from .simulation import Job, Station, Visit, simulate

__all__ = ["Calibration", "Verdict", "calibrate", "foretell", "measure_load", "rehearse"]

Generate = Callable[[int], None]
"""Make one clip with a seed, and come back when it is there."""


@dataclass(frozen=True)
class Calibration:
    """Seconds that bursts of n jobs took, by n, each measured several times."""

    bursts: dict[int, tuple[float, ...]]

    @property
    def alone_s(self) -> float:
        """A job by itself."""
        return mean(self.bursts[1])

    def gain(self, room: int = 64) -> tuple[float, ...]:
        """Work a second while n jobs are held, n from 1 to `room`, in seconds of a job alone; beyond the largest burst constant."""
        sizes = sorted(self.bursts)
        rates = [size * self.alone_s / mean(self.bursts[size]) for size in sizes]
        return tuple(float(one) for one in np.interp(range(1, room + 1), sizes, rates))


@dataclass(frozen=True)
class Verdict:
    """Foretold and measured: mean and median latency, and jobs a second from the first arrival to the last end.

    drift: how much longer the bursts after the load took than those before, all together.
    """

    foretold: tuple[float, float, float]
    measured: tuple[float, float, float]
    drift: float = 1.0

    @property
    def steady(self) -> bool:
        """Whether the machine kept its speed; else the calibration says nothing of the load between."""
        return 1 / 1.2 <= self.drift <= 1.2

    @property
    def errors(self) -> tuple[float, float, float]:
        """Relative error of each."""
        told, seen = self.foretold, self.measured
        return told[0] / seen[0] - 1, told[1] / seen[1] - 1, told[2] / seen[2] - 1

    @property
    def holds(self) -> bool:
        """Whether mean latency and throughput are within 20 %."""
        return abs(self.errors[0]) <= 0.2 and abs(self.errors[2]) <= 0.2


def calibrate(
    generate: Generate,
    sizes: Sequence[int],
    first_seed: int,
    clock: Callable[[], float] = time.monotonic,
    repeats: int = 3,
) -> Calibration:
    """Run bursts of each size, all sizes in turn and that `repeats` times: all at once, until all are done."""
    bursts: dict[int, tuple[float, ...]] = {size: () for size in sizes}
    seed = first_seed
    for size in [*sizes] * repeats:
        began = clock()
        _together([lambda seed=seed + n: generate(seed) for n in range(size)])  # type: ignore[misc]
        bursts[size] += (clock() - began,)
        seed += size
    return Calibration(bursts)


def measure_load(
    generate: Generate, arrivals_s: Sequence[float], first_seed: int, clock: Callable[[], float] = time.monotonic
) -> list[float]:
    """Let jobs arrive at these times; returns the latency of each, in seconds."""
    began = clock()
    latencies = [0.0] * len(arrivals_s)

    def one(number: int) -> None:
        pause = threading.Event()
        pause.wait(max(0.0, arrivals_s[number] - (clock() - began)))
        generate(first_seed + number)
        latencies[number] = clock() - began - arrivals_s[number]

    _together([lambda number=number: one(number) for number in range(len(arrivals_s))])  # type: ignore[misc]
    return latencies


def foretell(calibration: Calibration, arrivals_s: Sequence[float]) -> list[float]:
    """Latencies of these arrivals in the simulation: one machine that all jobs share."""
    visit = Visit("server", calibration.alone_s)
    jobs = [Job(float(at), ((visit,),)) for at in arrivals_s]
    return [float(one) for one in simulate(jobs, [Station("server", 1, calibration.gain(len(jobs)))]).latencies_s]


def rehearse(
    generate: Generate, *, jobs: int = 40, share: float = 0.7, sizes: Sequence[int] = (1, 2, 4, 8), seed: int = 0,
    told: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = time.monotonic,
) -> Verdict:  # fmt: skip
    """Calibrate, load, calibrate again, and compare.

    share: of what the server can take (by the first bursts) that the load asks for.
    """
    generate(0)  # Whatever is slow the first time.
    before = calibrate(generate, sizes, 1000, clock)
    capacity = before.gain(max(sizes))[-1] / before.alone_s
    told(f"alone {before.alone_s:.2f} s; bursts {before.bursts}; capacity {capacity:.3f} jobs/s")
    gaps = np.random.default_rng(seed).exponential(1 / (share * capacity), jobs)
    arrivals = [float(one) for one in np.cumsum(gaps) - gaps[0]]
    measured = measure_load(generate, arrivals, 2000, clock)
    after = calibrate(generate, sizes, 3000, clock)
    told(f"bursts after the load {after.bursts}")
    both = Calibration({size: before.bursts[size] + after.bursts[size] for size in sizes})
    drift = sum(mean(after.bursts[size]) for size in sizes) / sum(mean(before.bursts[size]) for size in sizes)
    return Verdict(_figures(foretell(both, arrivals), arrivals), _figures(measured, arrivals), drift)


def _figures(latencies_s: Sequence[float], arrivals_s: Sequence[float]) -> tuple[float, float, float]:
    end = max(at + latency for at, latency in zip(arrivals_s, latencies_s, strict=True))
    return mean(latencies_s), median(latencies_s), len(latencies_s) / end


def _together(calls: Sequence[Callable[[], None]]) -> None:
    """Run calls on threads of their own; the first error is raised when all are over."""
    errors: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
