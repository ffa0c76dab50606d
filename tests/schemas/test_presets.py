"""Presets agree with themselves: what the engines build, what the limits allow, what the defaults ask."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vogue.schemas.config import Preset, Task, Variant
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.presets import PRESETS, get_preset

EACH = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())


@EACH
def test_widths_meet(preset: Preset) -> None:
    assert sum(preset.mmdit.rope_axes_dim) == preset.mmdit.attention_head_dim
    assert all(axis % 2 == 0 for axis in preset.mmdit.rope_axes_dim)
    assert preset.connector.in_dim == preset.mmdit.text_embed_dim
    assert preset.connector.out_dim == preset.mmdit.context_dim
    assert preset.vae.latent_channels == preset.mmdit.in_channels == preset.mmdit.out_channels


@EACH
def test_the_side_step_is_what_the_networks_need(preset: Preset) -> None:
    needed = preset.vae.spatial_compression_ratio * preset.mmdit.patch_size
    assert preset.limits.side_multiple_px % needed == 0


@EACH
def test_defaults_are_within_the_limits(preset: Preset) -> None:
    for task, defaults in preset.tasks.items():
        sides = (defaults.height_px, defaults.width_px)
        assert all(side % preset.limits.side_multiple_px == 0 for side in sides), task
        assert all(preset.limits.min_side_px <= side <= preset.limits.max_side_px for side in sides), task
        assert defaults.height_px * defaults.width_px <= preset.limits.max_area_px, task
        assert defaults.num_frames <= preset.limits.max_frames, task
        assert (defaults.num_frames - 1) % preset.vae.temporal_compression_ratio == 0, task
        assert (defaults.num_frames > 1) == task.makes_video, task
        assert defaults.steps <= preset.limits.max_steps and defaults.guidance <= preset.limits.max_guidance, task
    assert preset.area_px <= preset.limits.max_area_px


@EACH
def test_every_task_has_a_prompt(preset: Preset) -> None:
    assert set(preset.tasks) <= set(preset.prompts.tasks)


@EACH
def test_queries_belong_to_their_variant(preset: Preset) -> None:
    assert (preset.mllm.num_queries > 0) == (preset.mllm.variant is Variant.QUERIES)


@EACH
def test_presets_are_frozen(preset: Preset) -> None:
    with pytest.raises(ValidationError):
        preset.fps = 30.0  # type: ignore[misc]
    with pytest.raises(ValidationError):
        preset.limits.max_steps = 1  # type: ignore[misc]


def test_the_release_has_every_task() -> None:
    assert set(get_preset("univideo-hidden").tasks) == {task for task in Task if task.makes_media}


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(RequestInvalid, match="mini") as caught:
        get_preset("maxi")
    assert caught.value.param == "preset"
