"""The graph decides a canvas before any pixel is read; the engines must come to the same one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vogue.engines.models.vae import latent_shape as engine_latent_shape
from vogue.engines.preprocess import causal_frames, size_source
from vogue.graph.nodes import latent_shape
from vogue.graph.shapes import canvas, usable_frames
from vogue.schemas.config import Task
from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.presets import PRESETS
from vogue.schemas.requests import JobSpec


@given(
    height=st.integers(1, 8000), width=st.integers(1, 8000), area=st.sampled_from([p.area_px for p in PRESETS.values()])
)
def test_the_graph_and_the_engines_agree_on_the_canvas(height: int, width: int, area: int) -> None:
    made = canvas(height, width, area, 16)
    try:
        size = size_source(height, width, area)
    except ShapeUnsupported:
        assert min(made) < 16
    else:
        assert made == (size.height, size.width)


@given(available=st.integers(1, 500), most=st.integers(1, 200))
def test_they_agree_on_the_frames(available: int, most: int) -> None:
    assert usable_frames(available, most) == causal_frames(available, most)


def test_they_agree_on_the_latents() -> None:
    for preset in PRESETS.values():
        defaults = preset.tasks[Task.T2V]
        spec = JobSpec(
            task=Task.T2V,
            instruction="x",
            negative_prompt="",
            height_px=defaults.height_px,
            width_px=defaults.width_px,
            num_frames=defaults.num_frames,
            fps=preset.fps,
            steps=1,
            guidance=1.0,
            image_guidance=1.0,
            seed=0,
        )
        size = (spec.num_frames, spec.height_px, spec.width_px)
        assert latent_shape(spec, preset) == engine_latent_shape(preset.vae, *size)
