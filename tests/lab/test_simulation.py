"""The simulation of a deployment: exact where the answer is known, and honest about what waits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.lab.simulation import Autoscaling, Job, Station, Visit, poisson_arrivals, simulate


def one(arrival_s: float, *steps: tuple[str, float]) -> Job:
    return Job(arrival_s, tuple((Visit(*step),) for step in steps))


def test_a_job_alone_takes_its_work() -> None:
    outcome = simulate([one(2.0, ("a", 3.0), ("b", 4.0))], [Station("a", 1), Station("b", 1)])
    assert outcome.latencies_s.tolist() == [7.0]
    assert outcome.waits_s.tolist() == [0.0]
    assert outcome.end_s == 9.0
    assert outcome.busy["a"] == pytest.approx(3 / 9)


def test_jobs_wait_in_line_first_come_first_served() -> None:
    jobs = [one(0.0, ("a", 4.0)), one(1.0, ("a", 4.0)), one(2.0, ("a", 4.0))]
    assert simulate(jobs, [Station("a", 1)]).waits_s.tolist() == [0.0, 3.0, 6.0]
    assert simulate(jobs, [Station("a", 2)]).waits_s.tolist() == [0.0, 0.0, 2.0]


def test_visits_of_a_step_run_beside_each_other() -> None:
    job = Job(0.0, ((Visit("a", 2.0), Visit("b", 5.0)), (Visit("c", 1.0),)))
    assert simulate([job], [Station(name, 1) for name in "abc"]).latencies_s.tolist() == [6.0]


def test_a_shared_replica_slows_down_by_its_gain() -> None:
    jobs = [one(0.0, ("a", 4.0)), one(0.0, ("a", 4.0))]
    assert simulate(jobs, [Station("a", 1, (1.0, 1.0))]).latencies_s.tolist() == [8.0, 8.0]
    assert simulate(jobs, [Station("a", 1, (1.0, 1.6))]).latencies_s.tolist() == pytest.approx([5.0, 5.0])
    later = [one(0.0, ("a", 4.0)), one(2.0, ("a", 4.0))]
    # Two seconds alone, then half speed: 2 + 4; the other has 2 left when it is alone again.
    assert simulate(later, [Station("a", 1, (1.0, 1.0))]).latencies_s.tolist() == [6.0, 6.0]


def test_waiting_times_are_those_of_queueing_theory() -> None:
    """M/M/c: the mean wait follows from Erlang's C."""
    rng = np.random.default_rng(0)
    servers, rate, work = 3, 0.6, 3.0
    arrivals = poisson_arrivals(rate, 40_000.0, rng)
    jobs = [one(float(at), ("a", float(rng.exponential(work)))) for at in arrivals]
    load = rate * work
    blocked = load**servers / math.factorial(servers) / (1 - load / servers)
    erlang_c = blocked / (sum(load**n / math.factorial(n) for n in range(servers)) + blocked)
    expected = erlang_c * work / (servers - load)
    outcome = simulate(jobs, [Station("a", servers)])
    assert outcome.waits_s.mean() == pytest.approx(expected, rel=0.15)
    assert outcome.busy["a"] == pytest.approx(load / servers, rel=0.03)


def test_sharing_has_the_mean_time_of_queueing_theory() -> None:
    """Processor sharing: mean latency is work / (1 − load), whatever the work's distribution."""
    rng = np.random.default_rng(1)
    arrivals = poisson_arrivals(0.2, 20_000.0, rng)
    jobs = [
        one(float(at), ("a", float(work))) for at, work in zip(arrivals, rng.uniform(1, 5, len(arrivals)), strict=True)
    ]
    outcome = simulate(jobs, [Station("a", 1, (1.0,) * 200)])
    assert outcome.latencies_s.mean() == pytest.approx(3.0 / (1 - 0.6), rel=0.12)


def test_arrivals_follow_the_day() -> None:
    times = poisson_arrivals(1.0, 86_400.0, np.random.default_rng(0), swing=0.5)
    assert len(times) == pytest.approx(86_400, rel=0.02)
    morning = (times < 43_200).mean()
    assert morning == pytest.approx(0.5 + 0.5 / math.pi, abs=0.01)


def test_replicas_follow_the_load() -> None:
    rule = Autoscaling(least=1, most=4, start_s=20.0, idle_s=50.0)
    jobs = [one(0.0, ("a", 100.0)) for _ in range(4)] + [one(2000.0, ("a", 10.0))]
    outcome = simulate(jobs, [Station("a", 1, autoscaling=rule)])
    assert outcome.most_replicas["a"] == 4
    assert outcome.waits_s[:4].tolist() == [0.0, 20.0, 20.0, 20.0]
    assert outcome.replica_s["a"] < 2010 + 3 * 250
    fixed = simulate(jobs, [Station("a", 1)])
    assert fixed.waits_s.max() > outcome.waits_s.max()


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_every_job_ends_and_none_is_faster_than_its_work(
    rows: list[tuple[float, float, float]], n: int, room: int
) -> None:
    jobs = [one(at, ("a", first), ("b", second)) for at, first, second in rows]
    outcome = simulate(jobs, [Station("a", n, (1.0,) * room), Station("b", 1)])
    least = np.array([first + second for _, first, second in rows])
    assert (outcome.latencies_s >= least - 1e-6).all()
    assert (outcome.waits_s >= 0).all() and (outcome.waits_s <= outcome.latencies_s - least + 1e-6).all()


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="no stations"):
        simulate([one(0.0, ("b", 1.0))], [Station("a", 1)])
    with pytest.raises(ValueError, match="can never work"):
        simulate([], [Station("a", 0)])
