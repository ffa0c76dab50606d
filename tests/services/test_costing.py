"""The cost model: shares of the machine, rates that are fitted, when a job's turn comes, and what can never fit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas.config import Task
from vogue.schemas.errors import DeviceOutOfMemory
from vogue.schemas.presets import get_preset
from vogue.schemas.requests import JobSpec
from vogue.services.costing import Finished, JobCost, Rates, check_fits, cost_of, shares
from vogue.services.queueing import starts_in

MINI = get_preset("mini")


def spec(task: Task = Task.T2V, **changes: object) -> JobSpec:
    fields = {
        "task": task,
        "instruction": "a red star",
        "negative_prompt": "bad",
        "height_px": 64,
        "width_px": 64,
        "num_frames": 17 if task.makes_video else 1,
        "fps": 8.0,
        "steps": 20,
        "guidance": 4.0,
        "image_guidance": 1.0,
        "seed": 0,
    }
    return JobSpec.model_validate(fields | changes)


def cost(**changes: object) -> JobCost:
    return cost_of(spec(**changes), 0, MINI, 4)  # type: ignore[arg-type]


def test_costs_follow_the_shape() -> None:
    clip, picture = cost(), cost(task=Task.T2I)
    assert clip.flops > 2 * picture.flops
    assert cost(steps=40).flops == 2 * clip.flops
    assert cost(guidance=1.0).flops == clip.flops / 2
    edit = cost(task=Task.V2V_EDIT, image_guidance=1.5)
    assert 2 * clip.flops < edit.flops < 4 * clip.flops
    assert edit.largest_row_bytes > clip.largest_row_bytes
    fast = cost(tier="fast", steps=8)
    assert fast.flops == pytest.approx(clip.flops * 14 / 40)
    assert cost_of(spec(Task.UNDERSTAND, steps=0), 0, MINI, 4).flops == 0


def test_machine_time_is_shared_by_those_at_work() -> None:
    jobs = [Finished(cost(), 0.0, 10.0), Finished(cost(), 5.0, 10.0), Finished(cost(), 20.0, 21.0)]
    assert shares(jobs) == [7.5, 2.5, 1.0]
    assert shares([]) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 50)), min_size=1, max_size=10))
def test_shares_add_up_to_the_time_in_which_anything_was_done(drawn: list[tuple[float, float]]) -> None:
    jobs = [Finished(cost(), begin, begin + length) for begin, length in drawn]
    moments = sorted({edge for job in jobs for edge in (job.began_s, job.ended_s)})
    busy = sum(
        end - start
        for start, end in pairwise(moments)
        if any(job.began_s <= start and job.ended_s >= end for job in jobs)
    )
    assert sum(shares(jobs)) == pytest.approx(busy)


@given(
    st.tuples(st.floats(0, 1), st.floats(0.001, 0.1), st.floats(0.001, 0.1), st.floats(0, 2)), st.integers(0, 2**32 - 1)
)
def test_rates_are_found_again_and_strangers_left_out(truth: tuple[float, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs = [
        cost(task=Task(task), steps=int(steps), guidance=float(guidance))
        for task, steps, guidance in zip(
            rng.choice([Task.T2I, Task.T2V], 24), rng.integers(2, 60, 24), rng.choice([1.0, 4.0], 24), strict=True
        )
    ]
    seconds = [float(np.dot(truth, one.parts) * rng.uniform(0.95, 1.05)) for one in costs]
    rates = Rates.fit(costs[:20], [*seconds[:19], seconds[19] * 30])
    assert rates is not None
    # The median, as what is promised of the machine: a single shape that the twenty did not show may be off by more.
    off = [abs(rates.seconds(one) / took - 1) for one, took in zip(costs[20:], seconds[20:], strict=True)]
    assert np.median(off) <= 0.2


def test_one_job_teaches_something_and_none_nothing() -> None:
    assert Rates.fit([], []) is None
    rates = Rates.fit([cost()], [2.0])
    assert rates is not None
    assert rates.seconds(cost()) == pytest.approx(2.0, rel=0.05)
    assert 0 < rates.seconds(cost(steps=10)) < 2.0


def test_when_a_turn_comes() -> None:
    assert starts_in([], [5.0, 5.0], places=2) == [0.0, 0.0]
    assert starts_in([3.0], [5.0, 7.0], places=1) == [3.0, 8.0]
    # Two share the machine: the first of them ends after twice its own time.
    assert starts_in([3.0, 9.0], [1.0], places=2) == [6.0]
    assert starts_in([1.0, 9.0], [1.0, 1.0], places=2) == [2.0, 4.0]


def test_what_can_never_fit_is_refused() -> None:
    large = cost()
    check_fits(large, None)
    check_fits(large, large.largest_row_bytes)
    with pytest.raises(DeviceOutOfMemory, match="smaller size") as caught:
        check_fits(large, large.largest_row_bytes - 1)
    assert not caught.value.retryable
