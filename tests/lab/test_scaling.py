"""Foretelling a load, and how many H100s a deployment needs."""

from __future__ import annotations

import threading

import pytest

from vogue.lab import simulate as command
from vogue.lab.h100 import MIX, Clip, job_of, seconds_of
from vogue.lab.load import Calibration, Verdict, foretell, measure_load, rehearse
from vogue.lab.scaling import CELL, live_through, needed_for, traffic_of
from vogue.schemas.config import Task
from vogue.schemas.presets import get_preset

PRESET = get_preset("univideo-hidden")


def test_published_time_comes_out_again() -> None:
    """117 frames of 1280×768 in 50 steps of one pass: 945 s (arXiv:2502.04507)."""
    clip = Clip(Task.T2V, 117, 768, 1280, 50, 1.0, 1.0, 0)
    assert seconds_of(clip, PRESET).denoise == pytest.approx(945.0, rel=1e-6)
    assert seconds_of(clip, PRESET, speed_up=2.98).denoise == pytest.approx(317, rel=0.01)


def test_longer_requests_take_longer() -> None:
    seconds = {task: seconds_of(Clip.of(PRESET, task), PRESET) for task in MIX}
    assert seconds[Task.T2I].gpu < seconds[Task.I2I_EDIT].gpu < seconds[Task.T2V].gpu < seconds[Task.I2V].gpu
    assert seconds[Task.V2V_EDIT].denoise > 3 * seconds[Task.I2V].denoise
    assert seconds[Task.T2V].encode == 0 < seconds[Task.V2V_EDIT].encode
    assert sum(MIX.values()) == pytest.approx(1)


def test_a_request_goes_through_its_stages() -> None:
    job = job_of(5.0, seconds_of(Clip.of(PRESET, Task.V2V_EDIT), PRESET))
    assert [[visit.station for visit in step] for step in job.steps] == [
        ["understanding", "codec"], ["denoiser"], ["codec"], ["delivery"],
    ]  # fmt: skip


def test_more_clips_need_more_gpus_and_patience_saves_some() -> None:
    few, many = (needed_for(load, PRESET, wait_s=60.0) for load in (500, 2_000))
    assert few.gpus < many.gpus
    assert few.waits_s[1] <= 60 and many.waits_s[1] <= 60
    assert needed_for(2_000, PRESET, wait_s=900.0).gpus < many.gpus
    assert needed_for(2_000, PRESET, wait_s=60.0, speed_up=3.0).gpus < many.gpus
    work = sum(share * seconds_of(Clip.of(PRESET, task), PRESET).denoise for task, share in MIX.items())
    assert many.replicas["denoiser"] >= 2_000 / 86_400 * 1.5 * work


def test_large_loads_are_cells() -> None:
    one = needed_for(CELL, PRESET, wait_s=600.0, speed_up=20.0)
    three = needed_for(3 * CELL, PRESET, wait_s=600.0, speed_up=20.0)
    assert (one.cells, three.cells) == (1, 3)
    assert three.gpus == 3 * one.gpus


def test_a_fleet_that_follows_the_load_is_smaller_on_average() -> None:
    day = live_through(needed_for(1_000, PRESET, wait_s=60.0), PRESET)
    assert day.scaled_gpu_h < day.fixed_gpu_h
    assert day.most_gpus >= 3


def test_bytes_grow_with_clips() -> None:
    once, twice = traffic_of(PRESET, 1_000_000), traffic_of(PRESET, 2_000_000)
    assert {name: pytest.approx(2 * value) for name, value in once.items()} == twice
    assert once["mp4"] < once["latents"] < once["frames"]


def test_a_burst_says_what_sharing_gains() -> None:
    made = Calibration({1: (2.0, 2.0), 2: (3.0,), 4: (5.0,)})
    assert made.gain(6) == pytest.approx((1.0, 4 / 3, (4 / 3 + 1.6) / 2, 1.6, 1.6, 1.6))
    # Two together take what the burst of two took; one alone what it takes alone.
    assert foretell(made, [0.0, 0.0]) == pytest.approx([3.0, 3.0])
    assert foretell(made, [0.0, 100.0]) == pytest.approx([2.0, 2.0])


def test_a_verdict_is_twenty_percent() -> None:
    assert Verdict((1.1, 2.0, 1.0), (1.0, 1.0, 1.0)).holds
    assert not Verdict((1.3, 1.0, 1.0), (1.0, 1.0, 1.0)).holds
    assert not Verdict((1.0, 1.0, 0.7), (1.0, 1.0, 1.0)).holds
    assert Verdict((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), drift=1.1).steady
    assert not Verdict((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), drift=2.4).steady


def test_a_load_reports_latencies_and_errors() -> None:
    seen: list[int] = []
    assert len(measure_load(seen.append, [0.0, 0.001, 0.002], 7)) == 3
    assert sorted(seen) == [7, 8, 9]

    def fail(seed: int) -> None:
        raise RuntimeError(f"no clip {seed}")

    with pytest.raises(RuntimeError, match="no clip"):
        measure_load(fail, [0.0], 0)


def test_a_rehearsal_calibrates_before_and_after() -> None:
    calls: list[int] = []
    lock = threading.Lock()

    def generate(seed: int) -> None:
        with lock:
            calls.append(seed)

    verdict = rehearse(generate, jobs=3, sizes=(1, 2))
    assert len(calls) == 1 + 3 * 3 + 3 + 3 * 3
    assert len(verdict.foretold) == len(verdict.measured) == 3


def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LOADS", (200,))
    monkeypatch.setattr(command, "LIVED", (200,))
    assert command.main(["scale"]) == 0
    printed = capsys.readouterr().out
    assert "| 200 | 60 s | exact |" in printed
    assert "v2v_edit (15%)" in printed
