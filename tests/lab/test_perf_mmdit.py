"""The comparison with diffusers: same weights give the same velocities, and the figures are what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vogue.lab.perf_mmdit import Comparison, Growth, compare, flops_of, grow, plot_growth, profile
from vogue.schemas.presets import get_preset

SMALL = get_preset("tiny").mmdit


def test_both_models_give_the_same_velocities() -> None:
    found = compare(SMALL, (16, 5, 4, 6), 7, torch.float32, repeats=1)
    assert found.difference < 1e-4
    assert min(found.ours_s, found.diffusers_s, found.three_passes_s, found.peak_flops_per_s) > 0


def test_figures_are_ratios_of_what_was_measured() -> None:
    found = Comparison("float32", 2.0, 5.0, 4.0, 0.0, 100.0, 200.0)
    assert (found.speedup, found.three_over_one, found.share_of_peak) == (2.5, 2.0, 0.25)


def test_operations_are_counted_layer_by_layer() -> None:
    one = flops_of(SMALL, 10, 2)
    more = flops_of(SMALL.model_copy(update={"num_single_layers": 2}), 10, 2)
    assert more - one == 12 * 2 * 12 * 32 * 32 + 4 * 12 * 12 * 32


def test_growth_like_the_operations_has_slope_one(tmp_path: Path) -> None:
    assert Growth((1, 2, 4), (1.0, 3.0, 9.0), (2.0, 6.0, 18.0)).over_flops == pytest.approx(1.0)
    found = grow(SMALL, (20, 40), 3, torch.float32, repeats=1)
    plot_growth(found, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 0


def test_a_profile_names_the_products() -> None:
    assert "aten::addmm" in profile(SMALL, (16, 5, 4, 6), 7, torch.float32)
