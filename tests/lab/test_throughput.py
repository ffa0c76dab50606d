"""The sections of the speed report that need no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from vogue.engines.tiny import tiny_pipeline
from vogue.lab import throughput
from vogue.lab.throughput import measure_sharing, measure_ticks
from vogue.schemas.presets import get_preset


def test_the_step_loop_is_measured_and_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    found = measure_ticks(tiny_pipeline(get_preset("tiny")), rounds=1)
    assert min(found.in_a_row_s, found.together_s, found.gain, found.fast_gain) > 0
    assert torch.get_num_threads() == before


class _Result:
    def wait(self) -> None: ...

    def save(self, path: Path) -> None: ...


class _Client:
    """Makes clips in no time."""

    def generate(self, *_: object, **__: object) -> _Result:
        return _Result()


def test_how_busy_the_cores_were_is_told_beside_what_sharing_gained(tmp_path: Path, monkeypatch: Any) -> None:
    ticks = iter([(100, 50), (190, 60)])
    monkeypatch.setattr(throughput, "_core_ticks", lambda: next(ticks))
    found = measure_sharing(cast("Any", _Client()), tmp_path, rounds=1)
    assert found.busy == 0.9
    assert min(found.in_a_row_s, found.at_once_s, found.ratio) > 0
