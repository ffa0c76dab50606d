"""A discrete-event simulation of a deployment: jobs arrive, wait for replicas of each stage, and leave.

It knows stations, replicas, what a replica gains from holding several jobs at once, and autoscaling as Ray Serve does it (replicas
follow the ongoing requests, after delays). It knows nothing about networks: how long a visit takes is told with the job.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from numpy.typing import NDArray

__all__ = ["Autoscaling", "Job", "Outcome", "Station", "Visit", "poisson_arrivals", "simulate"]


@dataclass(frozen=True, slots=True)
class Visit:
    """Work at a station: the seconds that it takes a replica which holds nothing else."""

    station: str
    work_s: float


@dataclass(frozen=True, slots=True)
class Job:
    """A request. Steps follow each other; the visits of one step run beside each other."""

    arrival_s: float
    steps: tuple[tuple[Visit, ...], ...]


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Replicas between two bounds, so that each has about `target` ongoing jobs; new ones take `start_s` to be ready."""

    least: int
    most: int
    target: float = 1.0
    every_s: float = 10.0
    start_s: float = 120.0
    idle_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Station:
    """A stage's replicas. gain[n − 1]: work that a replica does in a second while it holds n jobs, in seconds of `Visit.work_s`.

    A replica holds at most len(gain) jobs; more wait in line.
    """

    name: str
    replicas: int
    gain: tuple[float, ...] = (1.0,)
    autoscaling: Autoscaling | None = None


@dataclass(frozen=True)
class Outcome:
    """What happened. waits_s: a job's time in lines, of the longest branch where it has several; latencies_s: from arrival to end.

    busy: share of the replicas' time in which they worked; replica_s: seconds of replicas that were there.
    """

    waits_s: NDArray[np.float64]
    latencies_s: NDArray[np.float64]
    finished_s: NDArray[np.float64]
    busy: Mapping[str, float]
    replica_s: Mapping[str, float]
    most_replicas: Mapping[str, int]

    @property
    def end_s(self) -> float:
        """When the last job left."""
        return float(self.finished_s.max())


@dataclass(eq=False)
class _Replica:
    gain: tuple[float, ...]
    left: dict[int, float] = field(default_factory=dict)  # visit → work left, in seconds
    since_s: float = 0.0
    version: int = 0
    idle_since_s: float = 0.0
    gone: bool = False

    def speed(self) -> float:
        return self.gain[len(self.left) - 1] / len(self.left)

    def advance(self, now_s: float) -> None:
        if self.left:
            done = (now_s - self.since_s) * self.speed()
            self.left = {visit: work - done for visit, work in self.left.items()}
        self.since_s = now_s


@dataclass(eq=False)
class _Line:
    station: Station
    replicas: list[_Replica]
    waiting: deque[tuple[int, float]] = field(default_factory=deque)
    idle: list[_Replica] = field(default_factory=list)  # may hold some that work again or are gone
    starting: int = 0
    working: int = 0
    busy_s: float = 0.0
    there_s: float = 0.0
    counted_s: float = 0.0
    most: int = 0

    def count_time(self, now_s: float) -> None:
        """Add what passed since the last change."""
        passed = now_s - self.counted_s
        self.there_s += passed * (len(self.replicas) + self.starting)
        self.busy_s += passed * self.working
        self.counted_s = now_s
        self.most = max(self.most, len(self.replicas) + self.starting)


def poisson_arrivals(
    rate_per_s: float, duration_s: float, rng: np.random.Generator, *, swing: float = 0.0, day_s: float = 86_400.0
) -> NDArray[np.float64]:
    """Arrival times of a Poisson stream; with `swing` its rate follows a day: rate · (1 + swing · sin)."""
    most = rate_per_s * (1 + swing)
    times = np.cumsum(rng.exponential(1 / most, int(most * duration_s + 6 * math.sqrt(most * duration_s) + 10)))
    times = times[times < duration_s]
    now = rate_per_s * (1 + swing * np.sin(2 * np.pi * times / day_s))
    return times[rng.random(len(times)) < now / most]


def simulate(jobs: Sequence[Job], stations: Sequence[Station]) -> Outcome:
    """Run all jobs to their ends.

    Raises:
        ValueError: a visit names no station, or a station can never work.
    """
    return _Simulation(jobs, stations).run()


class _Simulation:
    def __init__(self, jobs: Sequence[Job], stations: Sequence[Station]) -> None:
        self.jobs = jobs
        self.lines: dict[str, _Line] = {}
        for station in stations:
            if station.replicas < 1 or not station.gain:
                raise ValueError(f"{station.name} has {station.replicas} replicas and can never work")
            replicas = [_Replica(station.gain) for _ in range(station.replicas)]
            self.lines[station.name] = _Line(station, replicas, idle=replicas[::-1], most=station.replicas)
        named = {visit.station for job in jobs for step in job.steps for visit in step}
        if unknown := sorted(named - set(self.lines)):
            raise ValueError(f"jobs visit {', '.join(unknown)}, which are no stations")
        self.events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self.order = count()
        self.visits: dict[int, tuple[int, str]] = {}  # visit → job, station
        self.numbers = count()
        self.step = [-1] * len(jobs)
        self.open = [0] * len(jobs)
        self.lined_s: dict[int, float] = {}
        self.step_wait = np.zeros(len(jobs))
        self.waits, self.finished = np.zeros(len(jobs)), np.zeros(len(jobs))
        self.remaining = len(jobs)

    def run(self) -> Outcome:
        for number, job in enumerate(self.jobs):
            self._at(job.arrival_s, "next", number)
        for line in self.lines.values():
            if line.station.autoscaling is not None:
                self._at(0.0, "scale", line)
        now_s = 0.0
        while self.remaining:
            now_s, _, kind, given = heapq.heappop(self.events)
            getattr(self, f"_{kind}")(now_s, *given)
        for line in self.lines.values():
            line.count_time(now_s)
        arrivals = np.array([job.arrival_s for job in self.jobs])
        return Outcome(
            self.waits,
            self.finished - arrivals,
            self.finished,
            {name: line.busy_s / line.there_s if line.there_s else 0.0 for name, line in self.lines.items()},
            {name: line.there_s for name, line in self.lines.items()},
            {name: line.most for name, line in self.lines.items()},
        )

    def _at(self, when_s: float, kind: str, *given: object) -> None:
        heapq.heappush(self.events, (when_s, next(self.order), kind, given))

    def _next(self, now_s: float, number: int) -> None:
        """A job begins its next step, or leaves."""
        self.waits[number] += self.step_wait[number]
        self.step_wait[number] = 0.0
        self.step[number] += 1
        steps = self.jobs[number].steps
        if self.step[number] == len(steps):
            self.finished[number] = now_s
            self.remaining -= 1
            return
        step = steps[self.step[number]]
        self.open[number] = len(step)
        if not step:
            self._next(now_s, number)
            return
        for one in step:
            visit = next(self.numbers)
            self.visits[visit] = (number, one.station)
            line = self.lines[one.station]
            line.waiting.append((visit, one.work_s))
            self.lined_s[visit] = now_s
            self._fill(now_s, line)

    def _fill(self, now_s: float, line: _Line) -> None:
        """Give what waits to replicas with room, the emptiest first."""
        while line.waiting:
            replica = self._room(line)
            if replica is None:
                return
            visit, work_s = line.waiting.popleft()
            number, _ = self.visits[visit]
            self.step_wait[number] = max(self.step_wait[number], now_s - self.lined_s.pop(visit))
            line.count_time(now_s)
            replica.advance(now_s)
            line.working += not replica.left
            replica.left[visit] = work_s
            self._await(now_s, line, replica)

    def _room(self, line: _Line) -> _Replica | None:
        while line.idle:
            if not (replica := line.idle.pop()).left and not replica.gone:
                return replica
        if len(line.station.gain) == 1 or not line.replicas:
            return None
        replica = min(line.replicas, key=lambda one: len(one.left))
        return replica if len(replica.left) < len(line.station.gain) else None

    def _await(self, now_s: float, line: _Line, replica: _Replica) -> None:
        replica.version += 1
        if replica.left:
            soonest = min(replica.left, key=replica.left.__getitem__)
            self._at(
                now_s + max(0.0, replica.left[soonest]) / replica.speed(),
                "done",
                line,
                replica,
                soonest,
                replica.version,
            )
        else:
            replica.idle_since_s = now_s
            line.working -= 1
            line.idle.append(replica)

    def _done(self, now_s: float, line: _Line, replica: _Replica, visit: int, version: int) -> None:
        if version != replica.version:
            return  # The replica's load has changed since; another event tells when this visit ends.
        line.count_time(now_s)
        replica.advance(now_s)
        del replica.left[visit]
        self._await(now_s, line, replica)
        self._fill(now_s, line)
        number, _ = self.visits.pop(visit)
        self.open[number] -= 1
        if self.open[number] == 0:
            self._next(now_s, number)

    def _scale(self, now_s: float, line: _Line) -> None:
        rule = line.station.autoscaling
        if rule is None:
            return
        ongoing = len(line.waiting) + sum(len(replica.left) for replica in line.replicas)
        wanted = min(rule.most, max(rule.least, math.ceil(ongoing / rule.target)))
        line.count_time(now_s)
        for _ in range(wanted - len(line.replicas) - line.starting):
            line.starting += 1
            self._at(now_s + rule.start_s, "ready", line)
        idle = [one for one in line.replicas if not one.left and now_s - one.idle_since_s >= rule.idle_s]
        for replica in idle[: max(0, len(line.replicas) + line.starting - wanted)]:
            line.replicas.remove(replica)
            replica.gone = True
        self._at(now_s + rule.every_s, "scale", line)

    def _ready(self, now_s: float, line: _Line) -> None:
        line.count_time(now_s)
        line.starting -= 1
        line.replicas.append(_Replica(line.station.gain, since_s=now_s, idle_since_s=now_s))
        line.idle.append(line.replicas[-1])
        self._fill(now_s, line)
