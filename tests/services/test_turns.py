"""Whose turn it is: fair to short jobs and across shapes, within the budget, and no job waits for ever."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from vogue.services.turns import Turns


@dataclass(eq=False)
class Job:
    name: str
    shape_class: str
    steps_left: int
    cost: float = 1.0
    rows: int = 2
    num_bytes: int = 1
    ready: bool = True
    aside: bool = False
    last_tick: int = 0


def play(turns: Turns, jobs: list[Job], ticks: int) -> list[list[str]]:
    """Ticks of so many jobs; each costs as much as its dearest job."""
    told = []
    for number in range(1, ticks + 1):
        group = turns.choose(jobs)
        turns.charge(jobs, group, max(job.cost for job in group))
        for job in group:
            job.steps_left -= 1
            job.last_tick = number
        jobs[:] = [job for job in jobs if job.steps_left]
        told.append([job.name for job in group])
        if not jobs:
            break
    return told


def test_a_short_job_does_not_wait_for_a_long_one() -> None:
    jobs = [Job("clip", "clip", 50, cost=10.0), Job("picture", "picture", 20, cost=0.1)]
    told = play(Turns(32), jobs, 25)
    # All of the picture's steps cost less than one of the clip's.
    assert told.index(["clip"]) <= 1
    assert told[:22].count(["picture"]) == 20


def test_jobs_and_not_shapes_share_the_time() -> None:
    jobs = [Job(f"a{i}", "a", 1000) for i in range(3)] + [Job("b", "b", 1000)]
    told = play(Turns(32), jobs, 400)
    assert told.count(["b"]) == 100


def test_a_shape_that_comes_later_starts_where_the_others_stand() -> None:
    turns, jobs = Turns(32), [Job("a", "a", 1000)]
    play(turns, jobs, 100)
    jobs.append(Job("b", "b", 1000))
    told = play(turns, jobs, 20)
    assert 9 <= told.count(["b"]) <= 11


def test_a_class_that_is_too_large_for_a_tick_goes_round() -> None:
    jobs = [Job(f"a{i}", "a", 100) for i in range(5)]
    told = play(Turns(max_rows=4), jobs, 30)
    assert all(len(group) == 2 for group in told)
    for start in range(28):
        assert {name for group in told[start : start + 3] for name in group} == {f"a{i}" for i in range(5)}


def test_memory_bounds_a_tick_and_a_larger_job_has_one_to_itself() -> None:
    jobs = [Job("big", "a", 9, num_bytes=50), Job("small", "a", 9, num_bytes=4), Job("other", "a", 9, num_bytes=4)]
    told = play(Turns(32, max_bytes=10), jobs, 4)
    assert told == [["big"], ["small", "other"], ["big"], ["small", "other"]]


def test_nobody_waits_for_a_disk_and_everybody_for_a_moment() -> None:
    turns = Turns(32)
    slow = Job("slow", "a", 5, ready=False, aside=True)
    here = Job("here", "a", 5)
    assert turns.choose([slow, here]) == [here]
    slow.aside = False
    assert turns.choose([slow, here]) == []
    slow.ready = True
    assert turns.choose([slow, here]) == [slow, here]
    assert turns.choose([]) == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 20), st.floats(0.01, 50), st.integers(1, 3)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 8),
)
def test_every_job_ends_and_every_tick_is_of_one_shape_within_the_budget(
    drawn: list[tuple[str, int, float, int]], max_rows: int
) -> None:
    jobs = [Job(f"{name}{i}", name, steps, cost, rows) for i, (name, steps, cost, rows) in enumerate(drawn)]
    rows = {job.name: job.rows for job in jobs}
    steps = sum(job.steps_left for job in jobs)
    told = play(Turns(max_rows), jobs, steps)
    assert not jobs
    for group in told:
        assert len({name[0] for name in group}) == 1
        assert len(group) == 1 or sum(rows[name] for name in group) <= max_rows
