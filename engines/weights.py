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

__all__ = [
    "CHECKPOINT_PREFIX",
    "CONNECTOR_PREFIX",
    "MLLM_PREFIX",
    "describe_misfit",
    "load_into",
    "modern_mllm_key",
    "modern_mllm_keys",
    "overlay",
    "read_weights",
    "split_prefix",
    "weight_files",
]

CHECKPOINT_PREFIX = "transformer."
"""What the released transformer checkpoint may put before every key."""

CONNECTOR_PREFIX = "qwen_project_in."
"""Where the released transformer checkpoint keeps the connector."""

MLLM_PREFIX = "mllm_backbone."
"""What the released MLLM checkpoint puts before every key."""

SHOWN = 12

State = Mapping[str, Tensor]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file (`.safetensors`, `.ckpt`, `.pt`, `.bin`), or in a folder of safetensors.

    A leading `transformer.` and a `state_dict` wrapper, which the release's checkpoints may carry, are taken off.

    Raises:
        WeightsMismatch: no such file, or it does not hold a state dict of tensors.
    """
    if path.is_dir():
        state: dict[str, Tensor] = {}
        for file in weight_files(path):
            state |= read_weights(file)
        return state
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


def weight_files(path: Path) -> list[Path]:
    """The files that hold a state dict: the path itself, or a folder's safetensors, by its index where it has one.

    Raises:
        WeightsMismatch: the folder has no index and not one file, or an index that cannot be used.
    """
    if not path.is_dir():
        return [path]
    indices = sorted(path.glob("*.safetensors.index.json"))
    if not indices:
        single = sorted(path.glob("*.safetensors"))
        if len(single) != 1:
            raise WeightsMismatch(f"{path} holds {len(single)} safetensors files and no index; expected one of them")
        return single
    index = indices[0]
    try:
        names = sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WeightsMismatch(f"{index} is not an index of shards: {error}") from error
    strangers = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if strangers:
        raise WeightsMismatch(f"{index} points outside its folder: {_some(strangers)}")
    return [path / name for name in names]


def _plain(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise WeightsMismatch(f"{path} holds a {type(loaded).__name__}, not a state dict")
    strangers = [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strangers:
        raise WeightsMismatch(f"{path} holds entries that are not tensors: {_some(strangers)}")
    state = {str(key).removeprefix(CHECKPOINT_PREFIX): value for key, value in loaded.items()}
    if len(state) < len(loaded):
        raise WeightsMismatch(f"{path} holds keys both with and without {CHECKPOINT_PREFIX!r}")
    return state


def split_prefix(state: State, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(entries under `prefix`, without it; all others)."""
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    return inside, {key: value for key, value in state.items() if not key.startswith(prefix)}


def overlay(base: State, top: State) -> dict[str, Tensor]:
    """The authors' files lie over base weights: `top` wins. The merged state is what has to match the model."""
    return {**base, **top}


def modern_mllm_key(key: str) -> str:
    """A name of transformers 4.51 (with or without the release's `mllm_backbone.`) as transformers 5 has it.

    `visual.…` → `model.visual.…`, `model.layers.…` → `model.language_model.layers.…`; newer names stay.
    """
    name = re.sub(r"^visual\.", "model.visual.", key.removeprefix(MLLM_PREFIX))
    return re.sub(r"^model\.(?!visual\.|language_model\.)", "model.language_model.", name)


def modern_mllm_keys(state: State) -> dict[str, Tensor]:
    """A state dict under the names of transformers 5."""
    return {modern_mllm_key(key): value for key, value in state.items()}


def load_into(module: nn.Module, state: State, what: str, *, tied: Iterable[str] = ()) -> None:
    """Copy a state dict into a module; every key must fit. Values keep the module's dtype and device.

    Args:
        what: the network's name, for the message.
        tied: keys that may be missing because the module shares them with another.
    Raises:
        WeightsMismatch: names the missing, the unexpected and the mis-shaped keys.
    """
    own = module.state_dict()
    misfit = describe_misfit(
        {key: tuple(value.shape) for key, value in own.items()},
        {key: tuple(value.shape) for key, value in state.items()},
        tied=tied,
    )
    if misfit:
        raise WeightsMismatch(f"the weights do not fit the {what}. {misfit}")
    # Loading by assignment would keep the file's dtype and memory map; the module decides both.
    module.load_state_dict({key: state[key] for key in own if key in state}, strict=not tuple(tied))


def describe_misfit(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], *, tied: Iterable[str] = ()
) -> str:
    """What keeps tensors of these shapes from being a network's: missing, unexpected and mis-shaped keys, or nothing."""
    misshaped = [
        f"{key} {list(given[key])} instead of {list(wanted[key])}"
        for key in sorted(wanted.keys() & given.keys())
        if given[key] != wanted[key]
    ]
    faults = (
        ("missing", sorted(wanted.keys() - given.keys() - set(tied))),
        ("unexpected", sorted(given.keys() - wanted.keys())),
        ("mis-shaped", misshaped),
    )
    return "; ".join(f"{label}: {_some(keys)}" for label, keys in faults if keys)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
