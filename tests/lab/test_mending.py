"""The decoder trained on the generator's latents: known clips, free frames only, an encoder that stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vogue.lab.train.groups import GROUPS, draw_case
from vogue.lab.train.mending import MendingTask
from vogue.lab.train.pool import SHARD, Rows, TaskPool


def _shard(first: int, count: int) -> dict[str, torch.Tensor]:
    return {
        "target": torch.arange(first, first + count).view(-1, 1, 1, 1, 1).expand(-1, 16, 2, 4, 4).half(),
        "states": torch.randn(count, 5, 32).half(),
        "lengths": torch.full((count,), 5),
        "mask": torch.zeros(count, 2, 4, 4).half(),
        "labels": torch.zeros(count, 2, 2, 2, 4, dtype=torch.int8),
        "places": torch.zeros(count, 2, 2, 2, 3).half(),
    }


def test_a_drawn_case_is_known_by_its_seed(tmp_path: Path) -> None:
    pool = TaskPool(tmp_path, "t2v")
    pool._shards = {f"t2v-{number:03d}.safetensors": _shard(number * SHARD, 3) for number in (0, 1, 2)}
    rows, seeds = pool.draw_known(np.random.default_rng(0), 8, torch.zeros(1, 32))
    assert rows.target[:, 0, 0, 0, 0].tolist() == seeds
    case, _ = draw_case(GROUPS["t2v"], seeds[0])
    assert case.target.shape == (17, 64, 64, 3)


@pytest.mark.parametrize("held", [0, 1])
def test_only_free_frames_are_remade(held: int) -> None:
    task = MendingTask.__new__(MendingTask)
    seen: list[torch.Tensor] = []

    def still(latents: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append(latents)
        return torch.zeros_like(latents)

    task.generator = still  # type: ignore[assignment]
    target, reference = torch.randn(2, 16, 3, 4, 4), torch.randn(2, 16, 1, 4, 4)
    empty = torch.zeros(2, 1)
    rows = Rows(target, target + 1, reference, empty, empty.bool(), empty, empty, empty)
    made = task._remake(rows, held, np.random.default_rng(0), torch.Generator().manual_seed(0))
    assert torch.equal(made[:, :, :held], target[:, :, :held])
    assert not torch.isclose(made[:, :, held:], target[:, :, held:]).any()
    assert torch.equal(seen[0][:, :, :1], reference) and torch.equal(seen[0][:, :, -3:], target + 1)
