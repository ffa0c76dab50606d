"""The released files at a width that fits a test: random values under the released names, in the released layout.

For tests, and to rehearse an import and a deployment without the real downloads.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vogue.schemas.config import HunyuanVAEConfig, Preset, Variant
from vogue.schemas.presets import get_preset

from ..loading import POOLED_TEXT
from ..mllm_loading import EMBEDDING, QUERY_MARKS
from ..models.connector import Connector
from ..models.mmdit import MMDiT
from ..models.vae import build_vae, weights_of
from ..tiny import byte_tokenizer, randomise, tiny_architecture, tiny_mllm
from ..weights import CHECKPOINT_PREFIX
from .keys import Origin, Part, released_key

__all__ = ["narrow", "write_released"]

NARROW_VAE = HunyuanVAEConfig(block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2)
NUM_QUERIES = 4


def narrow(preset: Preset) -> Preset:
    """A released preset with everything but its widths, depths and picture sizes."""
    tiny = get_preset("tiny")
    sizes = {"min_pixels": tiny.mllm.min_pixels, "max_pixels": tiny.mllm.max_pixels}
    if preset.mllm.variant is Variant.QUERIES:
        sizes["num_queries"] = NUM_QUERIES
    return preset.model_copy(
        update={
            "mllm": preset.mllm.model_copy(update=sizes),
            "connector": tiny.connector,
            "mmdit": tiny.mmdit,
            "vae": NARROW_VAE,
            "tasks": tiny.tasks,
            "limits": tiny.limits,
            "area_px": tiny.area_px,
        }
    )


def write_released(folder: Path, preset: Preset, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write random released files of a narrow preset: the trained ones over base files that alone would not do."""
    connector, mmdit, vae = Connector(preset.connector), MMDiT(preset.mmdit), build_vae(preset.vae)
    for offset, network in enumerate((connector, mmdit, weights_of(vae)), start=1):
        randomise(network, seed + offset)
    trained = {key: value.to(dtype) for key, value in mmdit.state_dict().items()}
    projection = {
        released_key(Part.CONNECTOR, key, Origin.MODEL): v.to(dtype) for key, v in connector.state_dict().items()
    }

    # The last block is in the base alone, as weights are that training did not touch.
    untouched = {
        key for key in trained if key.startswith(f"single_transformer_blocks.{preset.mmdit.num_single_layers - 1}.")
    }
    base = {key: value if key in untouched else torch.zeros_like(value) for key, value in trained.items()}
    base[POOLED_TEXT + "linear_1.weight"] = torch.zeros(2, 2, dtype=dtype)
    own = {key: value for key, value in trained.items() if key not in untouched}

    checkpoint = folder / f"univideo_qwen2p5vl7b_{preset.mllm.variant.value}_hunyuanvideo"
    checkpoint.mkdir(parents=True)
    torch.save(
        {CHECKPOINT_PREFIX + key: value for key, value in {**own, **projection}.items()}, checkpoint / "model.ckpt"
    )
    _write_shards(folder / "HunyuanVideo" / "transformer", base)
    _write_vae(folder / "HunyuanVideo" / "vae", preset, weights_of(vae).state_dict())
    _write_mllm(folder, checkpoint, preset, seed, dtype)


def _write_shards(folder: Path, state: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True)
    keys = list(state)
    halves = {"diffusion_pytorch_model-1.safetensors": keys[::2], "diffusion_pytorch_model-2.safetensors": keys[1::2]}
    for name, own in halves.items():
        save_file({key: state[key].contiguous() for key in own}, folder / name)
    index = {"weight_map": {key: name for name, own in halves.items() for key in own}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _write_vae(folder: Path, preset: Preset, state: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "diffusion_pytorch_model.safetensors")
    sizes = preset.vae.model_dump(mode="json", exclude={"family"})
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")


def _write_mllm(folder: Path, checkpoint: Path, preset: Preset, seed: int, dtype: torch.dtype) -> None:
    """The base, and for *queries* the state over it, whose embedding has more rows."""
    tokenizer = byte_tokenizer()
    full = {key: value.to(dtype) for key, value in tiny_mllm(preset, seed).model.state_dict().items()}
    queries = preset.mllm.variant is Variant.QUERIES
    rows = full[EMBEDDING].shape[0] - (preset.mllm.num_queries + QUERY_MARKS if queries else 0)
    base = {
        released_key(Part.MLLM, key, Origin.QWEN): (value[:rows] if key in (EMBEDDING, "lm_head.weight") else value)
        for key, value in full.items()
    }
    qwen = folder / "Qwen2.5-VL-7B-Instruct"
    qwen.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in base.items()}, qwen / "model.safetensors")
    tiny_architecture(tokenizer, preset.connector.in_dim).save_pretrained(qwen)
    tokenizer.save(str(qwen / "tokenizer.json"))
    if queries:
        torch.save(
            {released_key(Part.MLLM, key, Origin.MLLM): value for key, value in full.items()}, checkpoint / "mllm.ckpt"
        )
