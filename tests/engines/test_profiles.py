"""Profiles hold what the preset's limits allow, and refuse the rest with the nearest size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vogue.engines.compiled.profiles import Axis, Profile, profile_of
from vogue.engines.compiled.signatures import Network, signature_of
from vogue.schemas.errors import ProfileExceeded
from vogue.schemas.presets import PRESETS, get_preset


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("network", list(Network))
def test_every_open_axis_has_a_range(preset: str, network: Network) -> None:
    chosen = get_preset(preset)
    assert set(profile_of(chosen, network).axes) == set(signature_of(chosen, network).open_axes)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_default_of_a_task_fits(preset: str) -> None:
    chosen = get_preset(preset)
    axes = profile_of(chosen, Network.MMDIT).axes
    side = chosen.vae.spatial_compression_ratio * chosen.mmdit.patch_size
    for task, one in chosen.tasks.items():
        frames = (one.num_frames - 1) // chosen.vae.temporal_compression_ratio + 1
        rows = frames * (2 if task.edits else 1) + chosen.limits.max_references
        assert axes["tokens"].allows(rows * (one.height_px // side) * (one.width_px // side))


@given(smallest=st.integers(1, 50), more=st.integers(0, 50), size=st.integers(0, 200))
def test_a_refusal_names_the_nearest_size(smallest: int, more: int, size: int) -> None:
    axis = Axis(smallest=smallest, usual=smallest, largest=smallest + more)
    profile = Profile(axes={"tokens": axis})
    if axis.allows(size):
        profile.check({"tokens": size}, "a clip")
        return
    nearest = min(range(smallest, smallest + more + 1), key=lambda one: abs(one - size))
    with pytest.raises(ProfileExceeded, match=f"a clip: {size} tokens .* runs is {nearest} tokens"):
        profile.check({"tokens": size}, "a clip")


def test_an_axis_goes_up() -> None:
    with pytest.raises(ValidationError, match="must go up"):
        Axis(smallest=2, usual=1, largest=3)
