"""Weights from files into modules, strictly: every key that is missing, unexpected or of another shape is named.

Reads safetensors, single or sharded, and the released `.ckpt` layout. Nothing is ever unpickled: a `.ckpt` is opened with
`weights_only=True` (NUMERICS, weights a user downloads).
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vogue.schemas.errors import WeightsMismatch

__all__ = ["CONNECTOR_PREFIX", "load_into", "modern_mllm_keys", "overlay", "read_weights", "split_prefix"]

CONNECTOR_PREFIX = "qwen_project_in."
"""Where the released transformer checkpoint keeps the connector."""

SHOWN = 12

State = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file (`.safetensors`, `.ckpt`, `.pt`, `.bin`), or in a folder of safetensors.

    A leading `transformer.` and a `state_dict` wrapper, which the release's checkpoints may carry, are taken off.

    Raises:
        WeightsMismatch: no such file, or it does not hold a state dict of tensors.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise WeightsMismatch(f"there are no weights at {path}")
    if path.suffix == ".safetensors":
        try:
            return _plain(load_file(path), path)
        except (SafetensorError, OSError) as error:
            raise WeightsMismatch(f"{path} is not a safetensors file: {error}") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise WeightsMismatch(f"{path} cannot be read as plain tensors: {error}") from error
    return _plain(loaded, path)


def _read_folder(folder: Path) -> dict[str, Tensor]:
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if not indices:
        single = sorted(folder.glob("*.safetensors"))
        if len(single) != 1:
            raise WeightsMismatch(f"{folder} holds {len(single)} safetensors files and no index; expected one of them")
        return read_weights(single[0])
    index = indices[0]
    shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    state: dict[str, Tensor] = {}
    for shard in shards:
        if Path(shard).name != shard:
            raise WeightsMismatch(f"{index} points outside its folder: {shard}")
        state |= read_weights(folder / shard)
    return state


def _plain(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise WeightsMismatch(f"{path} holds a {type(loaded).__name__}, not a state dict")
    strangers = [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strangers:
        raise WeightsMismatch(f"{path} holds entries that are not tensors: {_some(strangers)}")
    prefix = "transformer."
    return {str(key).removeprefix(prefix): value for key, value in loaded.items()}


def split_prefix(state: State, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(entries under `prefix`, without it; all others)."""
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return inside, {key: value for key, value in state.items() if not key.startswith(prefix)}


def overlay(base: State, top: State) -> dict[str, Tensor]:
    """The authors' files lie over base weights: `top` wins. The merged state is what has to match the model."""
    return {**base, **top}


def modern_mllm_keys(state: State) -> dict[str, Tensor]:
    """Names of transformers 4.51 (with or without the release's `mllm_backbone.`) to those of transformers 5.

    `visual.…` → `model.visual.…`, `model.layers.…` → `model.language_model.layers.…`; newer names stay.
    """
    renamed = {}
    for key, value in state.items():
        name = key.removeprefix("mllm_backbone.")
        name = re.sub(r"^visual\.", "model.visual.", name)
        renamed[re.sub(r"^model\.(?!visual\.|language_model\.)", "model.language_model.", name)] = value
    return renamed


def load_into(module: nn.Module, state: State, what: str, *, tied: Iterable[str] = ()) -> None:
    """Copy a state dict into a module; every key must fit. Values keep the module's dtype and device.

    Args:
        what: the network's name, for the message.
        tied: keys that may be missing because the module shares them with another.
    Raises:
        WeightsMismatch: names the missing, the unexpected and the mis-shaped keys.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys() - set(tied))
    unexpected = sorted(state.keys() - own.keys())
    misshaped = [
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if state[key].shape != own[key].shape
    ]
    problems = [
        f"{label}: {_some(keys)}"
        for label, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshaped))
        if keys
    ]
    if problems:
        raise WeightsMismatch(f"the weights do not fit the {what}. " + "; ".join(problems))
    # Loading by assignment would keep the file's dtype and memory map; the module decides both.
    module.load_state_dict({key: state[key] for key in own if key in state}, strict=not tuple(tied))


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
