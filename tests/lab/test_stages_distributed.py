"""A stage on two workers of Ray Train has the loss curve of one process."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vogue.engines.tiny import tiny_pipeline, write_tiny
from vogue.lab.train.distributed import train_distributed
from vogue.lab.train.encoded import Shelf, fill_shelf
from vogue.lab.train.pool import open_encoder
from vogue.lab.train.stage_runs import StageRun, open_task, open_trainer
from vogue.lab.train.stages import STAGES, exercise_shares
from vogue.schemas.presets import get_preset
from vogue.services.local import ray_folder

STEPS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A small Ray of two CPUs."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("pandas")
    with ray_folder(Path("/tmp")) as folder:
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=folder,
            object_store_memory=100 * 2**20, logging_level=logging.ERROR, log_to_driver=False,
        )  # fmt: skip
        try:
            yield
        finally:
            ray.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    """Stage 2 on tiny networks: connector, MMDiT and the reader all have gradients."""
    write_tiny(tmp_path / "weights")
    shutil.copytree(tmp_path / "weights" / "mllm", tmp_path / "mllm")
    torch.save(tiny_pipeline().vae.state_dict(), tmp_path / "codec-final.pt")  # type: ignore[attr-defined]
    encoder = open_encoder(tmp_path, get_preset("tiny"))
    shelf = tmp_path / "encoded"
    fill_shelf(encoder, shelf, exercise_shares(STAGES["stage2"]), 16)
    torch.save(encoder.negative_states().clone(), shelf / "negative.pt")
    return StageRun(
        "stage2", str(tmp_path), "tiny", steps=STEPS, tokens=256, weights=str(tmp_path / "weights"), threads=1,
        autocast=False, report_every_steps=2,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Ray's own.
@pytest.mark.usefixtures("cluster")
def test_two_workers_have_one_process_loss_curve(run: StageRun) -> None:
    alone = open_trainer(run, open_task(run))
    curve = [alone.step()["loss"] for _ in range(STEPS)]
    reported = train_distributed(run, workers=2)
    assert [line["step"] for line in reported] == [1, 2, 3, 4]
    assert [line["loss"] for line in reported] == pytest.approx(curve, rel=1e-3)
    resumed = dataclasses.replace(run, resume=True)
    together = open_trainer(resumed, open_task(resumed))
    assert together.budget.step == STEPS
    state = together.task.network.state_dict()
    for key, value in alone.task.network.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-2, atol=2e-4, msg=key)
    assert len(Shelf(Path(run.folder) / "encoded", ["t2i"]).cases) > 0
