"""What tests of the stages share: tiny random networks and a few encoded cases of every exercise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from vogue.engines.tiny import tiny_pipeline, write_tiny
from vogue.lab.train import encoded
from vogue.lab.train.stage_runs import StageRun, encode
from vogue.schemas.presets import get_preset

CASES = 40
TOKENS = 256


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with tiny random networks and a few encoded cases of every exercise."""
    run = tmp_path_factory.mktemp("run")
    write_tiny(run / "weights")
    shutil.copytree(run / "weights" / "mllm", run / "mllm")
    torch.save(tiny_pipeline().vae.state_dict(), run / "codec-final.pt")  # type: ignore[attr-defined]
    held_out, encoded.HELD_OUT = encoded.HELD_OUT, 1  # type: ignore[misc]
    try:
        encode(run, get_preset("tiny"), CASES, in_context="table-7", blind=True)
    finally:
        encoded.HELD_OUT = held_out  # type: ignore[misc]
    return run


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> StageRun:
    """A run of stage 1 in a folder of its own, with the same networks and encoded cases."""
    for name in ("encoded", "mllm", "codec-final.pt"):
        (tmp_path / name).symlink_to(folder / name)
    return StageRun(
        "stage1",
        str(tmp_path),
        "tiny",
        steps=6,
        tokens=TOKENS,
        weights=str(folder / "weights"),
        autocast=False,
        threads=1,
    )
