"""The sections of the speed report that need no server."""

from __future__ import annotations

import torch

from vogue.engines.tiny import tiny_pipeline
from vogue.lab.throughput import measure_ticks
from vogue.schemas.presets import get_preset


def test_the_step_loop_is_measured_and_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    found = measure_ticks(tiny_pipeline(get_preset("tiny")), rounds=1)
    assert min(found.in_a_row_s, found.together_s, found.gain, found.fast_gain) > 0
    assert torch.get_num_threads() == before
