"""The released files in a folder: where each part is, and what tensors it holds. Nothing is copied into memory here.

SRC/model.ckpt                    or SRC/univideo_qwen2p5vl7b_{hidden,queries}_hunyuanvideo/model.ckpt
SRC/mllm.ckpt                     beside model.ckpt; variant *queries* only
SRC/Qwen2.5-VL-7B-Instruct/       or SRC/mllm/: config.json, tokenizer.json, safetensors
SRC/HunyuanVideo/vae/             or SRC/vae/
SRC/HunyuanVideo/transformer/     or SRC/transformer/: under model.ckpt; not needed where that is complete
SRC/prompts.json                  the release's wording, if you have it
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor

from vogue.schemas.config import HunyuanVAEConfig, Prompts, Variant
from vogue.schemas.errors import WeightsMismatch

from ..weights import read_weights, weight_files
from .keys import Origin, Part, our_key

__all__ = [
    "DTYPES",
    "Located",
    "ReleasedFiles",
    "check_codec",
    "check_prompts",
    "find_files",
    "locate_tensors",
]

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""What weights may be stored in, with safetensors' names."""

_SHOWN = 8
_PLACES: Mapping[Origin, tuple[str, ...]] = {
    Origin.MODEL: ("model.ckpt", "univideo_qwen2p5vl7b_{variant}_hunyuanvideo/model.ckpt"),
    Origin.MLLM: ("mllm.ckpt", "univideo_qwen2p5vl7b_{variant}_hunyuanvideo/mllm.ckpt"),
    Origin.QWEN: ("mllm", "Qwen2.5-VL-7B-Instruct"),
    Origin.VAE: ("vae", "HunyuanVideo/vae"),
    Origin.TRANSFORMER: ("transformer", "HunyuanVideo/transformer"),
}
# Later ones lie over earlier ones.
_ORDER = (Origin.TRANSFORMER, Origin.MODEL, Origin.QWEN, Origin.MLLM, Origin.VAE)


@dataclass(frozen=True)
class ReleasedFiles:
    """Where the released files are; a variant that needs no `mllm.ckpt` has none here."""

    root: Path
    paths: Mapping[Origin, Path]
    prompts: Path | None

    @property
    def qwen(self) -> Path:
        """Qwen2.5-VL's folder."""
        return self.paths[Origin.QWEN]

    def weight_files(self) -> Iterator[tuple[Origin, Path]]:
        """Every file with weights, base files first."""
        for origin in _ORDER:
            if origin in self.paths:
                yield from ((origin, path) for path in weight_files(self.paths[origin]))


@dataclass(frozen=True)
class Located:
    """One tensor of ours, and where its values are."""

    part: Part
    key: str
    file: Path
    file_key: str
    shape: tuple[int, ...]
    dtype: torch.dtype


def find_files(root: Path, variant: Variant) -> ReleasedFiles:
    """Find the released files of a variant in a folder.

    Raises:
        WeightsMismatch: names what is missing, and where it was looked for.
    """
    paths: dict[Origin, Path] = {}
    missing = []
    for origin, patterns in _PLACES.items():
        if origin is Origin.MLLM and variant is not Variant.QUERIES:
            continue
        places = [root / pattern.format(variant=variant.value) for pattern in patterns]
        found = next((place for place in places if place.exists()), None)
        if found is not None:
            paths[origin] = found
        elif origin is not Origin.TRANSFORMER:
            missing.append(" or ".join(pattern.format(variant=variant.value) for pattern in patterns))
    if missing:
        raise WeightsMismatch(
            f"{root} lacks released files: {'; '.join(missing)} (docs/released-weights.md lists them)"
        )
    for name in ("config.json", "tokenizer.json"):
        if not (paths[Origin.QWEN] / name).is_file():
            raise WeightsMismatch(f"{paths[Origin.QWEN]} has no {name}; expected Qwen2.5-VL in Hugging Face's layout")
    prompts = root / "prompts.json"
    return ReleasedFiles(root, paths, prompts if prompts.is_file() else None)


def locate_tensors(files: ReleasedFiles) -> list[Located]:
    """Every tensor of the merged files under our names: where two files hold one, the upper file's counts.

    Files are mapped, not read; a checkpoint is opened with `weights_only=True`.

    Raises:
        WeightsMismatch: a file cannot be read, or holds a tensor twice or one that no network can use.
    """
    merged: dict[tuple[Part, str], Located] = {}
    unusable = []
    for origin in _ORDER:
        own: dict[tuple[Part, str], Located] = {}
        for path in weight_files(files.paths[origin]) if origin in files.paths else ():
            for file_key, tensor in read_weights(path).items():
                name = our_key(origin, file_key)
                if name is None:
                    continue
                if name in own:
                    raise WeightsMismatch(f"{path}: {file_key} is there twice, under two spellings or in two files")
                if not _is_usable(tensor):
                    unusable.append(f"{file_key} in {path.name} is {_kind(tensor)}")
                own[name] = Located(*name, path, file_key, tuple(tensor.shape), tensor.dtype)
        merged |= own
    if unusable:
        more = f" and {len(unusable) - _SHOWN} more" if len(unusable) > _SHOWN else ""
        raise WeightsMismatch(f"expected float32, bfloat16 or float16 values: {', '.join(unusable[:_SHOWN])}{more}")
    return sorted(merged.values(), key=lambda one: (one.part, one.key))


def check_codec(files: ReleasedFiles, config: HunyuanVAEConfig) -> None:
    """A codec of the same shapes with another scaling factor would decode to grey; its own `config.json` says.

    Raises:
        WeightsMismatch: it says something else than the preset.
    """
    path = files.paths[Origin.VAE] / "config.json"
    if not path.is_file():
        return
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        differing = [
            f"{name} {said[name]} instead of {value}"
            for name, value in config.model_dump(mode="json", exclude={"family"}).items()
            if name in said and said[name] != value
        ]
    except (ValueError, TypeError, OSError) as error:
        raise WeightsMismatch(f"{path} cannot be read: {error}") from error
    if differing:
        raise WeightsMismatch(f"{path} describes another codec: {', '.join(differing)}")


def check_prompts(files: ReleasedFiles) -> None:
    """Whether a given `prompts.json` can be read.

    Raises:
        WeightsMismatch: it cannot.
    """
    if files.prompts is None:
        return
    try:
        Prompts.model_validate_json(files.prompts.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise WeightsMismatch(f"{files.prompts} is not a file of prompts ({where}: {fault['msg']})") from error


def _is_usable(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized and tensor.dtype in DTYPES


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype if tensor.layout is torch.strided else tensor.layout).removeprefix("torch.")
