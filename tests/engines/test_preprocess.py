"""Sizes and pixels of visual inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from vogue.engines.conditioning import Canvas, Visual, codec_pixels, question, readings, shown
from vogue.engines.preprocess import (
    SourceSize,
    causal_frames,
    fit_source,
    pixels_of,
    place_reference,
    resize_image,
    size_source,
    square_reference,
    to_bytes,
)
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import ShapeUnsupported, TaskUnsupported
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.stages import Pass

SIDES = st.integers(1, 5000)


@given(height=SIDES, width=SIDES, area=st.sampled_from([64 * 64, 480 * 854, 720 * 1280]))
def test_a_source_keeps_its_ratio_at_the_area(height: int, width: int, area: int) -> None:
    assume(1 / 8 < width / height < 8)
    size = size_source(height, width, area)
    assert size.height % 16 == size.width % 16 == 0
    assert 0 <= size.resized_height - size.height < 16
    assert 0 <= size.resized_width - size.width < 16
    exact = (area * height / width) ** 0.5
    assert abs(size.resized_height - exact) <= 0.5
    assert abs(size.resized_width - exact * width / height) <= 0.5 + 1e-6
    assert fit_source(height, width, size.height, size.width, area) == size


@given(height=SIDES, width=SIDES, rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_any_source_covers_any_canvas(height: int, width: int, rows: int, columns: int) -> None:
    size = fit_source(height, width, 16 * rows, 16 * columns, 480 * 854)
    assert (size.height, size.width) == (16 * rows, 16 * columns)
    assert size.resized_height >= size.height
    assert size.resized_width >= size.width


def test_a_sliver_names_its_size_and_the_limit() -> None:
    with pytest.raises(ShapeUnsupported, match=r"10×5000 px .* at least 16 px"):
        size_source(5000, 10, 64 * 64)


@given(available=st.integers(1, 500), requested=st.integers(1, 500))
def test_causal_frames_are_4k_plus_1(available: int, requested: int) -> None:
    frames = causal_frames(available, requested)
    assert frames % 4 == 1
    assert frames <= min(available, requested) < frames + 4


def test_a_hundred_frames_at_a_request_of_129() -> None:
    assert (causal_frames(100, 129) - 1) // 4 + 1 == 25


def test_the_codec_gets_unrounded_floats_and_the_mllm_bytes() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    pixels = resize_image(frame, SourceSize(35, 49, 32, 48))
    assert pixels.shape == (3, 32, 48)
    assert not torch.equal(pixels, pixels.round())
    rounded = pixels_of(to_bytes(pixels)[None])
    assert (rounded - pixels_of(pixels)).abs().max() <= 0.5 / 127.5 + 1e-6


def test_references_stand_on_white() -> None:
    frame = np.zeros((20, 40, 3), dtype=np.uint8)
    square = square_reference(frame)
    assert square.shape == (40, 40, 3)
    assert (square[:10] == 255).all()
    assert (square[10:30] == 0).all()
    placed = place_reference(frame, 16, 48)
    assert placed.shape == (16, 48, 3)
    assert (placed[:, :16] == 255).all()
    assert (placed[:, 32:] == 255).all()
    assert (placed[6:10, 20:28] == 0).all()


def visual(role: Role, kind: MediaKind, frames: int = 1, side: int = 32) -> Visual:
    return Visual(role, kind, np.full((frames, side, side, 3), frames, dtype=np.uint8))


def test_the_mllm_is_shown_references_first_and_clips_thinned() -> None:
    visuals = [
        visual(Role.SOURCE, MediaKind.VIDEO, 9),
        visual(Role.FIRST_FRAME, MediaKind.IMAGE, side=64),
        visual(Role.REFERENCE, MediaKind.IMAGE, side=20),
    ]
    images, videos = shown(visuals, Canvas(32, 32, 32 * 32), 2)
    assert [image.shape for image in images] == [(20, 20, 3), (32, 32, 3)]
    assert [clip.shape for clip in videos] == [(2, 32, 32, 3)]


def test_only_the_full_prompt_carries_the_task_and_only_one_pass_is_blind() -> None:
    preset, canvas = get_preset("tiny"), Canvas(32, 32, 32 * 32)
    source = (visual(Role.SOURCE, MediaKind.IMAGE),)
    made = readings(Task.I2I_EDIT, "red", "bad", source, canvas, tuple(Pass), preset.prompts, preset.mllm)
    assert [reading.text for reading in made.values()] == ["bad", "bad", "red"]
    assert [bool(reading.task_instruction) for reading in made.values()] == [False, False, True]
    assert [len(reading.images) for reading in made.values()] == [0, 1, 1]
    bare = preset.prompts.model_copy(update={"tasks": {}})
    with pytest.raises(TaskUnsupported, match="i2i_edit"):
        readings(Task.I2I_EDIT, "red", "bad", source, canvas, tuple(Pass), bare, preset.mllm)


def test_a_question_shows_each_picture_in_its_own_ratio() -> None:
    wide = Visual(Role.SOURCE, MediaKind.IMAGE, np.zeros((1, 50, 100, 3), dtype=np.uint8))
    clip = visual(Role.SOURCE, MediaKind.VIDEO, 9)
    reading = question("what?", [clip, wide], get_preset("tiny").mllm, 64 * 64)
    assert [image.shape for image in reading.images] == [(32, 80, 3)]
    assert [frames.shape for frames in reading.videos] == [(8, 32, 32, 3)]
    assert reading.task_instruction == ""


@pytest.mark.parametrize(
    "frame", [visual(Role.REFERENCE, MediaKind.IMAGE, side=50), visual(Role.SOURCE, MediaKind.IMAGE)]
)
def test_codec_pixels_fill_the_canvas(frame: Visual) -> None:
    pixels = codec_pixels(frame, Canvas(32, 48, 32 * 48))
    assert pixels.shape == (1, 3, 1, 32, 48)
    assert pixels.abs().max() <= 1


def test_read_only_frames_are_fine() -> None:
    frames = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    frames.setflags(write=False)
    assert pixels_of(frames).shape == (1, 3, 1, 16, 16)
    assert codec_pixels(Visual(Role.SOURCE, MediaKind.IMAGE, frames), Canvas(16, 16, 256)).shape == (1, 3, 1, 16, 16)
