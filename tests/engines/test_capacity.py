"""The laws that computed memory obeys, and the figures it is held to."""

from __future__ import annotations

import json
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from vogue.engines.capacity.activations import Shape, codec_piece_bytes, denoiser_bytes, shapes_of
from vogue.engines.capacity.gpus import GPUS, Gpu, get_gpu
from vogue.engines.capacity.plan import Capacity, Precision, Stage, capacity_of, weight_bytes
from vogue.engines.capacity.tracing import peak_bytes
from vogue.engines.release.blueprint import Blueprint, blueprint, read_architecture
from vogue.engines.release.keys import Part
from vogue.engines.tiny import byte_tokenizer, tiny_architecture
from vogue.engines.weights import modern_mllm_key
from vogue.schemas.config import MMDiTConfig, Preset
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.presets import get_preset

MINI = Path(str(resources.files("vogue.weights"))) / "mini"
FILES = {Part.MLLM: "mllm/model", Part.CONNECTOR: "connector", Part.MMDIT: "mmdit", Part.CODEC: "vae"}


def _shape(latent_frames: int = 4, context_tokens: int = 64, side_px: int = 256) -> Shape:
    tokens = latent_frames * (side_px // 16) ** 2
    return Shape("s", side_px, side_px, 13, latent_frames, tokens, context_tokens)


@pytest.fixture(scope="module")
def wide() -> Preset:
    """The released preset with one block of each kind."""
    preset = get_preset("univideo-hidden")
    return preset.model_copy(
        update={"mmdit": preset.mmdit.model_copy(update={"num_layers": 1, "num_single_layers": 1})}
    )


def test_live_bytes_are_counted_until_they_are_freed() -> None:
    def call(network: nn.Linear) -> None:
        x = torch.empty(8, 100, dtype=torch.bfloat16)  # 1,600 bytes
        y = network(x)  # 3,200
        z = y.view(-1, 10) * 2  # 3,200 more; the view is no memory of its own
        del x, y
        z.add_(1)
        z.float()  # 6,400, while 3,200 are left

    assert peak_bytes(lambda: nn.Linear(100, 200), call) == 9600


def test_attention_is_fused() -> None:
    def run(length: int) -> int:
        def call(_: nn.Identity) -> None:
            q = torch.empty(1, 2, length, 16)
            nn.functional.scaled_dot_product_attention(q, q, q)

        return peak_bytes(nn.Identity, call)

    assert run(20_000) == 2 * run(10_000)


@pytest.mark.parametrize("part", Part)
def test_minis_computed_weights_are_its_files(part: Part) -> None:
    plan = blueprint(get_preset("mini"), read_architecture(MINI / "mllm"))
    path = MINI / f"{FILES[part]}.safetensors"
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    assert weight_bytes(plan, part) == path.stat().st_size - 8 - header
    with safe_open(path, framework="pt") as stored:
        assert {modern_mllm_key(key) for key in stored.keys()} <= plan.parts[part].keys()  # noqa: SIM118 - not a mapping


def test_fp8_halves_matrices_and_little_else(full_size: dict[str, Blueprint]) -> None:
    plan = full_size["univideo-hidden"]
    for part, low, high in (
        (Part.MMDIT, 0.5, 0.52),
        (Part.MLLM, 0.5, 0.6),
        (Part.CODEC, 1.0, 1.0),
        (Part.CONNECTOR, 1.0, 1.0),
    ):
        share = weight_bytes(plan, part, Precision.FP8) / weight_bytes(plan, part)
        assert low <= share <= high


def test_denoising_grows_with_tokens_and_not_with_depth(wide: Preset) -> None:
    def coefficient(preset: Preset, shape: Shape, rows: int = 1) -> float:
        return denoiser_bytes(preset, shape, rows) / (
            rows * (shape.tokens + shape.context_tokens) * preset.mmdit.hidden_size
        )

    shape = _shape(16, 256)
    assert coefficient(wide, shape) == pytest.approx(44, rel=0.02)
    assert coefficient(wide, _shape(32, 512)) == pytest.approx(44, rel=0.02)
    assert coefficient(wide, shape, rows=2) == pytest.approx(44, rel=0.02)
    assert denoiser_bytes(get_preset("univideo-hidden"), shape, 1) == denoiser_bytes(wide, shape, 1)
    alone = wide.model_copy(update={"mmdit": MMDiTConfig.model_validate({**wide.mmdit.model_dump(), "num_layers": 0})})
    assert coefficient(alone, shape) == pytest.approx(30.4, rel=0.02)


def test_the_codecs_tile_obeys_its_law() -> None:
    config = get_preset("univideo-hidden").vae
    assert codec_piece_bytes(config, 128, 128, 17) / (17 * 128 * 128) == pytest.approx(2320, rel=0.02)
    assert codec_piece_bytes(config, 128, 128, 17, encodes=True) / (17 * 128 * 128) == pytest.approx(1330, rel=0.03)


@pytest.fixture(scope="module")
def tiny_capacity() -> Capacity:
    preset = get_preset("tiny")
    return capacity_of(preset, GPUS["h100-80g"], 2, architecture=tiny_architecture(byte_tokenizer(), 32))


def test_cards_hold_what_their_stages_need(tiny_capacity: Capacity) -> None:
    for card in tiny_capacity.cards:
        needs = {need.stage: need.total for need in tiny_capacity.stages[card.shape]}
        assert card.needed == sum(needs[stage] for stage in card.stages) and card.fits
    assert {card.stages for card in tiny_capacity.cards} == {
        (Stage.DENOISER,), (Stage.UNDERSTANDING, Stage.CONNECTOR, Stage.CODEC),
    }  # fmt: skip
    assert {card.stages for card in tiny_capacity.together} == {(Stage.UNDERSTANDING, Stage.CODEC)}


def test_each_rung_of_the_ladder_makes_room(tiny_capacity: Capacity) -> None:
    for rungs in tiny_capacity.ladder.values():
        assert rungs[0].freed == 0 and rungs[0].today
        for before, after in pairwise(rungs):
            assert after.needed == before.needed - after.freed
            assert after.freed >= 0 and after.needed > 0


def test_a_card_without_fp8_is_not_offered_it() -> None:
    preset, architecture = get_preset("tiny"), tiny_architecture(byte_tokenizer(), 32)
    small = Gpu("small", 1, 32.0, False)
    found = capacity_of(preset, small, architecture=architecture)
    assert not any("fp8" in rung.what for rungs in found.ladder.values() for rung in rungs)
    assert not found.cards[0].fits  # four processes alone have 3 GiB of context
    with pytest.raises(RequestInvalid, match="h100-80g"):
        get_gpu("abacus")


def test_shapes_are_those_of_the_preset(full_size: dict[str, Blueprint]) -> None:
    for name, plan in full_size.items():
        preset = get_preset(name)
        t2v, edit, largest = shapes_of(preset, plan.architecture)
        assert (t2v.num_frames, t2v.latent_frames) == (61, 16)
        assert edit.latent_frames == 2 * 33 and edit.tokens == 66 * 30 * 53
        assert largest.height_px * largest.width_px <= preset.limits.max_area_px
        assert largest.latent_frames == 2 * 33 + preset.limits.max_references
    hidden, queries = (shapes_of(get_preset(name), plan.architecture)[1] for name, plan in full_size.items())
    # Eight frames instead of two, in pairs, and the queries with their marks.
    assert queries.context_tokens - hidden.context_tokens == 3 * (480 * 854 // 28**2) + 514


def test_the_released_presets_fit_as_deployed(full_size: dict[str, Blueprint]) -> None:
    """deploy/h100.yaml rests on this: default jobs on two H100, MLLM and codec together."""
    for name, plan in full_size.items():
        found = capacity_of(get_preset(name), GPUS["h100-80g"], 2, architecture=plan.architecture)
        assert all(card.fits for card in found.cards if card.shape.startswith("default"))
        assert all(card.fits for card in found.together)
        assert (found.queries > 0) == (name == "univideo-queries")
        largest = found.ladder["largest v2v_edit"]
        assert not largest[0].fits and largest[-1].fits
        json.dumps({"gpu": found.gpu.name, "needs": [need.total for need in found.stages["default t2v"]]})
