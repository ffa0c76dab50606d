"""The engines' step loop where a device is too small: what does not fit together goes on in pieces, and fails nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vogue.engines.models.mmdit import MMDiT
from vogue.engines.port import Row
from vogue.engines.torch_engine import TorchEngine
from vogue.schemas.config import Task
from vogue.schemas.errors import DeviceOutOfMemory
from vogue.schemas.presets import get_preset
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, Pass
from vogue.services.blobs import BlobStore
from vogue.services.denoiser import DenoiserService
from vogue.services.stepping import EngineLoop, free_bytes

PRESET = get_preset("tiny")


class SmallDevice:
    """A torch engine on a device that holds so many latent frames at once."""

    def __init__(self, frames: int) -> None:
        torch.manual_seed(0)
        self._inner = TorchEngine(MMDiT(PRESET.mmdit))
        self.frames = frames
        self.calls: list[int] = []

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        if sum(row.latents.shape[1] for row in rows) > self.frames:
            raise DeviceOutOfMemory("injected")
        self.calls.append(len(rows))
        return self._inner.forward(rows)


def _job(blobs: BlobStore, job_id: str, frames: int = 2, seed: int = 0) -> DenoiseJob:
    rng = np.random.default_rng(3)
    contexts = {
        name: blobs.put_tensor(rng.standard_normal((rows, PRESET.connector.out_dim), dtype=np.float32))
        for name, rows in ((Pass.NEGATIVE, 3), (Pass.CONDITIONAL, 5))
    }
    return DenoiseJob(
        job_id=job_id,
        task=Task.T2V,
        contexts=contexts,
        latent_shape=(PRESET.vae.latent_channels, frames, 4, 4),
        steps=4,
        guidance=4.0,
        image_guidance=1.0,
        seed=seed,
        checkpoint_every_steps=100,
    )


async def _run(engine: SmallDevice, blobs: BlobStore, jobs: Sequence[DenoiseJob]) -> list[DenoiseEvent]:
    service = DenoiserService(EngineLoop(engine, PRESET, blobs), blobs)
    for job in jobs:
        await service.start(job)
    ends = [[event async for event in service.events(job.job_id)][-1] for job in jobs]
    await service.close()
    return ends


@pytest.mark.parametrize("frames", [12, 5, 4, 3, 2])
async def test_what_does_not_fit_together_goes_on_in_pieces_with_the_same_result(tmp_path: Path, frames: int) -> None:
    blobs = BlobStore(tmp_path)
    jobs = [_job(blobs, f"job{i}", seed=i) for i in range(3)]
    engine = SmallDevice(frames)
    ends = await _run(engine, blobs, jobs)
    exact = await _run(SmallDevice(1000), blobs, jobs)
    assert max(engine.calls) <= frames // 2
    for end, whole in zip(ends, exact, strict=True):
        assert end.latents is not None and whole.latents is not None
        np.testing.assert_allclose(blobs.get_tensor(end.latents), blobs.get_tensor(whole.latents), atol=1e-4, rtol=0)


async def test_a_job_that_cannot_fit_fails_and_the_others_do_not(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    jobs = [_job(blobs, "small1"), _job(blobs, "large", frames=5), _job(blobs, "small2", seed=1)]
    ends = await _run(SmallDevice(4), blobs, jobs)
    assert [end.kind for end in ends] == ["completed", "failed", "completed"]
    assert ends[1].error is not None and ends[1].error.code == "device_out_of_memory"


def test_what_the_processor_cannot_allocate_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(MMDiT(PRESET.mmdit))
    row = Row(torch.zeros(PRESET.mmdit.in_channels, 1, 4, 4), 500.0, torch.zeros(2, PRESET.connector.out_dim))

    def full(rows: Sequence[Row]) -> list[Tensor]:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(engine, "_run", full)
    with pytest.raises(DeviceOutOfMemory, match="too little memory"):
        engine.forward([row])

    def wrong(rows: Sequence[Row]) -> list[Tensor]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(engine, "_run", wrong)
    with pytest.raises(RuntimeError, match="mat1"):
        engine.forward([row])


def test_memory_that_is_left() -> None:
    left = free_bytes("cpu")
    assert left is None or left > 0
