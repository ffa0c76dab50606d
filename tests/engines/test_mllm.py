"""The MLLM wrapper on a tiny random network: batches, both variants, clips, answers."""

from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import numpy as np
import pytest
import torch

from vogue.engines.generation import Continuation, Sampling, continue_rows
from vogue.engines.mllm import MLLM, CachedRows
from vogue.engines.preprocess import evenly_spaced
from vogue.engines.processor import VisionProcessor
from vogue.engines.prompting import Reading, VisualKind
from vogue.engines.tiny import tiny_mllm
from vogue.schemas.config import MLLMConfig, Variant
from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.presets import get_preset

TOLERANCE = 1e-4
TINY = get_preset("tiny")
QUERIES = MLLMConfig(variant=Variant.QUERIES, num_queries=5, min_pixels=16 * 16, max_pixels=64 * 64)


def picture(height: int, width: int, frames: int | None = None, seed: int = 0) -> np.ndarray:
    shape = (height, width, 3) if frames is None else (frames, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


READINGS = [
    Reading("bad"),
    Reading("a red ball rolls over the meadow", "make a video: "),
    Reading("swap", "edit: ", images=(picture(32, 48), picture(20, 20, seed=1))),
    Reading("recolour", "edit: ", videos=(picture(32, 32, frames=3),)),
    Reading("both", images=(picture(48, 32, seed=2),), videos=(picture(16, 32, frames=2, seed=3),)),
]


@pytest.fixture(scope="module", params=["hidden", "queries"])
def mllm(request: pytest.FixtureRequest) -> MLLM:
    return tiny_mllm(TINY, config=TINY.mllm if request.param == "hidden" else QUERIES)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_a_mixed_batch_gives_each_reading_its_own_states(mllm: MLLM, padding: Literal["left", "right"]) -> None:
    together = mllm.encode(READINGS, padding)
    for reading, states in zip(READINGS, together, strict=True):
        [alone] = mllm.encode([reading])
        assert states.shape == alone.shape
        assert (states - alone).abs().max() < TOLERANCE


def test_each_visual_changes_the_states(mllm: MLLM) -> None:
    first, second = (Reading("x", images=(picture(32, 32, seed=seed),)) for seed in (1, 2))
    a, b = mllm.encode([first, second])
    assert (a - b).abs().max() > TOLERANCE


def test_queries_give_one_state_each_after_the_text() -> None:
    mllm = tiny_mllm(TINY, config=QUERIES)
    chat, _ = mllm.chat(READINGS[1])
    rows = mllm.model.get_input_embeddings().weight.shape[0]
    assert chat.ids[-2] == rows - QUERIES.num_queries - 1  # end = V + 1
    assert [chat.ids[i] for i in chat.context[-5:]] == list(range(rows - 5, rows))


def test_answers_stream_and_end(mllm: MLLM) -> None:
    pieces = list(mllm.answer(READINGS[2], max_new_tokens=12))
    assert all(pieces)
    assert "".join(pieces) == "".join(mllm.answer(READINGS[2], max_new_tokens=12))
    assert list(mllm.answer(READINGS[0], max_new_tokens=0)) == []


def test_cached_generation_equals_reading_the_whole_text_again(mllm: MLLM) -> None:
    patches = [mllm.processor.image(frame) for frame in READINGS[2].images]
    chat = mllm.tokenizer.question("s", [(p.kind, p.num_tokens) for p in patches], "what?")
    row = Continuation(mllm._end, 6)
    for _ in continue_rows(CachedRows(mllm, mllm._batch([chat.ids], patches, "left")), [row]):
        pass
    assert row.ids
    for count, token in enumerate(row.ids):
        whole = mllm._batch([chat.ids + row.ids[:count]], patches, "left")
        with torch.inference_mode():
            states = mllm._forward(whole, mllm._positions(whole))
            expected = int(mllm.model.lm_head(states[:, -1]).argmax(-1))
        assert token == expected


def test_answers_given_together_are_those_given_alone(mllm: MLLM) -> None:
    together = mllm.answers(READINGS, 10)
    assert together == ["".join(mllm.answer(reading, 10)) for reading in READINGS]


def test_tokens_are_counted_as_they_are_read_and_written() -> None:
    counted: list[tuple[int, int]] = []
    mllm = tiny_mllm(TINY)
    mllm.count = lambda read, written: counted.append((read, written))
    mllm.encode(READINGS)
    assert counted == [(sum(len(mllm.chat(reading)[0].ids) for reading in READINGS), 0)]
    counted.clear()
    answers = mllm.answers(READINGS[:2], 4)
    assert len(answers) == 2
    assert counted[0][0] > 0 and 0 < sum(written for _, written in counted) <= 8
    counted.clear()
    pieces = mllm.answer(READINGS[1], 50)
    next(pieces)
    pieces.close()  # whoever asked has gone
    assert counted[-1][0] == 0 and 1 <= counted[-1][1] <= 50


def test_a_temperature_draws_by_its_seed(mllm: MLLM) -> None:
    drawn = [mllm.answers(READINGS[:1], 24, Sampling(2.0, seed))[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == "".join(mllm.answer(READINGS[0], 24, Sampling(2.0, 1)))


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "string", "minLength": 1, "maxLength": 9}}, "required": ["a"]},
    {"type": "integer", "minimum": 0, "maximum": 10},
    {"enum": ["left", "right"]},
    {"type": "array", "items": {"type": "string", "maxLength": 200}, "maxItems": 50},
    {"type": "array", "items": {"enum": ["image1"]}, "minItems": 1, "maxItems": 2},
]


@pytest.mark.parametrize("budget", [1, 12, 40])
def test_what_is_written_has_its_form_whatever_the_weights_say(mllm: MLLM, budget: int) -> None:
    schemas = [{**schema, "additionalProperties": False} if "properties" in schema else schema for schema in SCHEMAS]
    written = mllm.write(READINGS, schemas, budget)
    for text, schema in zip(written, schemas, strict=True):
        jsonschema.validate(json.loads(text), schema)
        assert len(text.encode()) <= budget + 24
    assert written[3:] == [mllm.write([r], [s], budget)[0] for r, s in zip(READINGS[3:], schemas[3:], strict=True)]


def processor(**changes: int) -> VisionProcessor:
    sizes = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2, "min_pixels": 16 * 16, "max_pixels": 64 * 64}
    return VisionProcessor(**{**sizes, **changes})


@pytest.mark.parametrize(("height", "width"), [(5, 7), (16, 16), (200, 100), (64, 300), (63, 65)])
def test_pictures_are_sized_in_steps_within_bounds(height: int, width: int) -> None:
    patches = processor().image(picture(height, width))
    _, rows, columns = patches.grid
    assert rows % 2 == 0
    assert columns % 2 == 0
    assert 16 * 16 <= rows * columns * 64 <= 64 * 64
    assert patches.values.shape == (rows * columns, 3 * 2 * 8 * 8)
    assert patches.num_tokens == rows * columns // 4


def test_a_clip_packs_two_frames_a_patch_and_repeats_the_last() -> None:
    made = processor()
    frames = picture(32, 32, frames=3)
    clip = made.video(frames)
    assert clip.kind is VisualKind.VIDEO
    assert clip.grid == (2, 4, 4)
    values = clip.values.view(2, 16, 3, 2, 64)
    for place, index in (((0, 0), 0), ((0, 1), 1), ((1, 0), 2), ((1, 1), 2)):
        single = made.image(frames[index]).values.view(16, 3, 2, 64)[:, :, 0]
        assert torch.equal(values[place[0], :, :, place[1]], single)


def test_a_sliver_is_refused_by_its_size() -> None:
    with pytest.raises(ShapeUnsupported, match="1×201"):
        processor().image(picture(201, 1))


def test_frames_are_evenly_spaced_with_both_ends() -> None:
    assert evenly_spaced(9, 2) == [0, 8]
    assert evenly_spaced(9, 8) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert evenly_spaced(3, 8) == [0, 1, 2]
    assert evenly_spaced(5, 1) == [0]
