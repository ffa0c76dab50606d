"""The way back from shipped weights to a run folder, so that training goes on where no checkpoint was kept.

Optimizer states are never shipped: the next sitting starts with fresh ones from the averaged weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

__all__ = ["adopt_frozen", "start_from"]


def adopt_frozen(weights: Path, run: Path) -> None:
    """Put the shipped codec and MLLM where `pool`, `mmdit` and `export` look for them.

    Raises:
        FileExistsError: the run has trained a codec or an MLLM of its own.
        FileNotFoundError: the weights folder lacks one of them.
    """
    codec, mllm = run / "codec-final.pt", run / "mllm"
    for taken in (codec, mllm):
        if taken.exists():
            raise FileExistsError(f"{taken} exists; adopt shipped weights into a new run folder (--run DIR)")
    run.mkdir(parents=True, exist_ok=True)
    state = load_file(weights / "vae.safetensors")
    torch.save({name: value.float() for name, value in state.items()}, codec)
    shutil.copytree(weights / "mllm", mllm)


def start_from(weights: Path, generator: nn.Module) -> None:
    """Load the shipped connector and MMDiT into the module that trains them together."""
    for part in ("connector", "mmdit"):
        state = load_file(weights / f"{part}.safetensors")
        generator.get_submodule(part).load_state_dict({name: value.float() for name, value in state.items()})
