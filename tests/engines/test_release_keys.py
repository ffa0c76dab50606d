"""The released layout at full size, on the meta device: every key of theirs is one of ours, with its shape, and back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from vogue.engines.release.blueprint import Blueprint, read_architecture, released_architecture
from vogue.engines.release.keys import Origin, Part, our_key, released_key
from vogue.engines.weights import CHECKPOINT_PREFIX
from vogue.schemas.config import Variant
from vogue.schemas.presets import get_preset

VARIANTS = ("univideo-hidden", "univideo-queries")
ORIGINS = {
    Part.CONNECTOR: (Origin.MODEL,),
    Part.MMDIT: (Origin.MODEL, Origin.TRANSFORMER),
    Part.MLLM: (Origin.QWEN, Origin.MLLM),
    Part.CODEC: (Origin.VAE,),
}


def _templates(keys: Iterable[str]) -> set[str]:
    """Keys without the numbers of their blocks: what does not depend on depth."""
    return {re.sub(r"(?<=\.)\d+(?=\.)", "N", key) for key in keys}


def _stored(path: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(path, framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - not a mapping


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("part", Part)
def test_every_key_goes_there_and_back(full_size: dict[str, Blueprint], name: str, part: Part) -> None:
    for origin in ORIGINS[part]:
        ours = full_size[name].parts[part]
        theirs = {released_key(part, key, origin): key for key in ours}
        assert len(theirs) == len(ours)
        for released, key in theirs.items():
            assert our_key(origin, released) == (part, key)
            if origin is Origin.MODEL:
                assert our_key(origin, CHECKPOINT_PREFIX + released) == (part, key)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_parts_are_as_large_as_they_are_called(full_size: dict[str, Blueprint], name: str) -> None:
    plan = full_size[name]
    billions = {part: plan.parameters(part) / 1e9 for part in Part}
    assert 12.5 < billions[Part.MMDIT] < 13.1
    assert 8.2 < billions[Part.MLLM] < 8.4
    assert 0.1 < billions[Part.CONNECTOR] < 0.12
    assert 0.2 < billions[Part.CODEC] < 0.3


def test_queries_are_rows_behind_the_vocabulary(full_size: dict[str, Blueprint]) -> None:
    hidden, queries = (full_size[name].parts[Part.MLLM] for name in VARIANTS)
    differing = {key for key in hidden if hidden[key] != queries[key]}
    assert differing == {"model.language_model.embed_tokens.weight", "lm_head.weight"}
    for key in differing:
        assert queries[key] == (152_064 + 512 + 2, 3584)
    assert get_preset("univideo-queries").mllm.variant is Variant.QUERIES


def test_the_mmdit_is_what_diffusers_builds(full_size: dict[str, Blueprint]) -> None:
    """HunyuanVideo's own transformer, by an implementation that is not ours: its base weights must fit."""
    from diffusers import HunyuanVideoTransformer3DModel

    config = get_preset("univideo-hidden").mmdit
    sizes = config.model_dump(exclude={"text_embed_dim", "context_dim"})
    with torch.device("meta"):
        model = HunyuanVideoTransformer3DModel(**sizes, text_embed_dim=config.context_dim, pooled_projection_dim=768)
    theirs = {}
    for key, value in model.state_dict().items():
        found = our_key(Origin.TRANSFORMER, key)
        if found is not None:
            theirs[found[1]] = tuple(value.shape)
    assert theirs == dict(full_size["univideo-hidden"].parts[Part.MMDIT])


@pytest.mark.parametrize("name", VARIANTS)
def test_depth_apart_the_keys_are_those_of_the_recorded_files(
    full_size: dict[str, Blueprint], shared_dir: Path, name: str
) -> None:
    """The golden folder's files carry the released checkpoint's own key names."""
    plan = full_size[name]
    golden = shared_dir / "golden"
    recorded: dict[Part, set[str]] = {part: set() for part in Part}
    files = {Origin.MODEL: "transformer.safetensors", Origin.VAE: "vae.safetensors"}
    files |= {Origin.QWEN: "tiny-qwen2.5-vl/model.safetensors", Origin.MLLM: "queries/mllm.safetensors"}
    for origin, file in files.items():
        for key in _stored(golden / file):
            found = our_key(origin, key)
            assert found is not None
            recorded[found[0]].add(found[1])
    for part in (Part.CONNECTOR, Part.MMDIT, Part.MLLM):
        assert _templates(plan.parts[part]) == _templates(recorded[part])
    # The recorded codec has one resnet a level less, which changes which levels have shortcuts; its kinds of layers agree.
    assert _templates(recorded[Part.CODEC]) <= _templates(plan.parts[Part.CODEC])


def test_recorded_sizes_follow_from_their_configuration(shared_dir: Path) -> None:
    """The same construction at the recorded widths gives exactly the recorded files."""
    from vogue.engines.release.blueprint import blueprint
    from vogue.schemas.config import ConnectorConfig, HunyuanVAEConfig, MMDiTConfig

    golden = shared_dir / "golden"
    sizes = json.loads((golden / "configs.json").read_text(encoding="utf-8"))

    def known(contract: type, values: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in values.items() if key in contract.model_fields}  # type: ignore[attr-defined]

    queries = get_preset("univideo-queries")
    preset = queries.model_copy(
        update={
            "mllm": queries.mllm.model_copy(update={"num_queries": sizes["mllm"]["num_queries"]["queries"]}),
            "connector": ConnectorConfig(
                in_dim=sizes["transformer"]["text_embed_dim"], out_dim=sizes["transformer"]["context_dim"]
            ),
            "mmdit": MMDiTConfig.model_validate(known(MMDiTConfig, sizes["transformer"])),
            "vae": HunyuanVAEConfig.model_validate(known(HunyuanVAEConfig, sizes["vae"])),
        }
    )
    plan = blueprint(preset, read_architecture(golden / sizes["mllm"]["path"]))
    found: dict[Part, dict[str, tuple[int, ...]]] = {part: {} for part in Part}
    for origin, file in (
        (Origin.MODEL, "transformer.safetensors"),
        (Origin.VAE, "vae.safetensors"),
        (Origin.MLLM, "queries/mllm.safetensors"),
    ):
        for key, shape in _stored(golden / file).items():
            located = our_key(origin, key)
            assert located is not None
            found[located[0]][located[1]] = shape
    assert found == {part: dict(shapes) for part, shapes in plan.parts.items()}


def test_the_released_mllm_is_described_in_full() -> None:
    architecture = released_architecture()
    vision = architecture.vision_config
    text = architecture.get_text_config()
    assert text.hidden_size == vision.out_hidden_size == get_preset("univideo-hidden").connector.in_dim
    assert text.hidden_size // text.num_attention_heads == 2 * sum(text.rope_parameters["mrope_section"])
    assert math.prod((text.vocab_size, text.hidden_size)) > 5e8
    assert not architecture.tie_word_embeddings
