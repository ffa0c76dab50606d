"""Strict loading: what does not fit is named, what could run code is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vogue.engines.loading import load_connector, load_mmdit, load_vae, read_denoiser_weights
from vogue.engines.mllm_loading import load_mllm
from vogue.engines.models.connector import Connector
from vogue.engines.models.mmdit import MMDiT
from vogue.engines.models.vae import build_vae, weights_of
from vogue.engines.tiny import tiny_mllm, tiny_pipeline, write_tiny
from vogue.engines.weights import load_into, modern_mllm_keys, read_weights
from vogue.schemas.config import HunyuanVAEConfig, MLLMConfig, Variant
from vogue.schemas.errors import WeightsMismatch
from vogue.schemas.presets import get_preset

TINY = get_preset("tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    write_tiny(path)
    return path


def test_every_key_that_does_not_fit_is_named() -> None:
    state = nn.Linear(2, 3).state_dict()
    state["extra"] = state.pop("bias")
    state["weight"] = torch.zeros(3, 4)
    with pytest.raises(WeightsMismatch) as caught:
        load_into(nn.Linear(2, 3), state, "layer")
    message = caught.value.message
    assert "layer" in message
    assert "missing: bias" in message
    assert "unexpected: extra" in message
    assert "weight [3, 4] instead of [3, 2]" in message


def test_a_folder_loads_as_it_was_written(folder: Path) -> None:
    pipeline = tiny_pipeline()
    loaded = load_connector(folder, TINY.connector).state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in pipeline.connector.state_dict().items())


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_released_layout_with_a_base_under_it(folder: Path, tmp_path: Path, wrapped: bool) -> None:
    connector, mmdit = read_denoiser_weights(folder)
    trained = {f"transformer.qwen_project_in.{key}": value for key, value in connector.items()}
    base = {}
    for i, (key, value) in enumerate(mmdit.items()):
        if i % 2:
            trained[f"transformer.{key}"] = value
        base[key] = value if not i % 2 else torch.zeros_like(value)
    base["time_text_embed.text_embedder.linear_1.weight"] = torch.zeros(1)
    (tmp_path / "transformer").mkdir()
    shards = {"a.safetensors": dict(list(base.items())[:20]), "b.safetensors": dict(list(base.items())[20:])}
    for name, shard in shards.items():
        save_file(shard, tmp_path / "transformer" / name)
    index = {"weight_map": {key: name for name, shard in shards.items() for key in shard}}
    (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    torch.save({"state_dict": trained} if wrapped else trained, tmp_path / "model.ckpt")

    loaded = load_mmdit(tmp_path, TINY.mmdit).state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in mmdit.items())
    found = load_connector(tmp_path, TINY.connector).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in connector.items())


def test_the_merged_state_is_what_is_checked(folder: Path, tmp_path: Path) -> None:
    _, mmdit = read_denoiser_weights(folder)
    gone = next(iter(mmdit))
    torch.save({key: value for key, value in mmdit.items() if key != gone}, tmp_path / "model.ckpt")
    with pytest.raises(WeightsMismatch, match=f"MMDiT.*missing: {gone}"):
        load_mmdit(tmp_path, TINY.mmdit)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("content", ["pickle", "tensorless", "noise", "empty"])
def test_a_checkpoint_is_never_unpickled(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.ckpt"
    if content == "pickle":
        path.write_bytes(pickle.dumps({"weight": Bomb()}))
    elif content == "tensorless":
        torch.save({"weight": "words"}, path)
    else:
        path.write_bytes(b"\0" * 99 if content == "noise" else b"")
    with pytest.raises(WeightsMismatch, match=r"model\.ckpt"):
        read_weights(path)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match=r"connector\.safetensors"):
        load_connector(tmp_path, TINY.connector)
    (tmp_path / "vae.safetensors").write_bytes(b"no such thing")
    with pytest.raises(WeightsMismatch, match=r"vae\.safetensors"):
        load_vae(tmp_path, TINY.vae)
    with pytest.raises(WeightsMismatch, match=r"config\.json"):
        load_mllm(tmp_path, TINY.mllm, "s")
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../vae.safetensors"}}))
    with pytest.raises(WeightsMismatch, match="outside"):
        read_weights(tmp_path)


def test_older_names_of_the_mllm_are_understood() -> None:
    names = {
        "mllm_backbone.visual.merger.ln_q.weight": "model.visual.merger.ln_q.weight",
        "mllm_backbone.model.layers.0.mlp.up_proj.weight": "model.language_model.layers.0.mlp.up_proj.weight",
        "model.embed_tokens.weight": "model.language_model.embed_tokens.weight",
        "model.visual.blocks.0.norm1.weight": "model.visual.blocks.0.norm1.weight",
        "model.language_model.norm.weight": "model.language_model.norm.weight",
        "lm_head.weight": "lm_head.weight",
    }
    renamed = modern_mllm_keys({name: torch.tensor(i) for i, name in enumerate(names)})
    assert {name: int(renamed[new]) for name, new in names.items()} == {name: i for i, name in enumerate(names)}


def test_queries_lie_over_the_base_with_a_larger_vocabulary(folder: Path, tmp_path: Path) -> None:
    config = MLLMConfig(variant=Variant.QUERIES, num_queries=3, min_pixels=256, max_pixels=4096)
    full = tiny_mllm(TINY, config=config)
    old = {"mllm_backbone." + key.replace("language_model.", ""): v for key, v in full.model.state_dict().items()}
    old = {key.replace("mllm_backbone.model.visual.", "mllm_backbone.visual."): value for key, value in old.items()}
    torch.save(old, tmp_path / "mllm.ckpt")
    loaded = load_mllm(folder / "mllm", config, "s", overlaid=tmp_path / "mllm.ckpt")
    assert torch.equal(loaded.model.lm_head.weight, full.model.lm_head.weight)
    assert loaded.tokenizer.first_query_row == full.tokenizer.first_query_row
    with pytest.raises(WeightsMismatch, match="queries"):
        load_mllm(folder / "mllm", config.model_copy(update={"num_queries": 300}), "s", overlaid=tmp_path / "mllm.ckpt")


def test_both_codecs_load_strictly(tmp_path: Path) -> None:
    config = HunyuanVAEConfig(block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2)
    vae = build_vae(config)
    save_file(weights_of(vae).state_dict(), tmp_path / "vae.safetensors")
    loaded = load_vae(tmp_path, config).eval()
    pixels = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    with torch.no_grad():
        latents = loaded.encode(pixels)
        assert latents.shape == (1, 16, 2, 2, 2)
        assert torch.equal(latents, loaded.posterior(pixels).mean * config.scaling_factor)
        assert loaded.decode(latents).shape == pixels.shape
    with pytest.raises(ValueError, match="4k"):
        loaded.encode(pixels[:, :, :4])
    with pytest.raises(WeightsMismatch, match="codec"):
        load_vae(tmp_path, TINY.vae)


def test_weights_take_the_dtype_that_is_asked_for(folder: Path) -> None:
    model = load_mmdit(folder, TINY.mmdit, dtype=torch.bfloat16)
    assert isinstance(model, MMDiT)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert isinstance(load_connector(folder, TINY.connector, dtype=torch.bfloat16), Connector)
