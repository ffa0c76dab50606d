"""Arms of the ablations: each changes what it says and nothing else, trains, and is scored as it was trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vogue.engines.models.rope import rope_grid
from vogue.lab.train import ablate
from vogue.lab.train.ablate import open_arm, score_arm, train_arm
from vogue.lab.train.ablation_report import as_page
from vogue.lab.train.arms import ARMS, MEASURED, QueryGenerator, ShiftedGenerator, shifted_rope
from vogue.lab.train.encoded import Layout
from vogue.lab.train.stage_runs import StageRun
from vogue.lab.train.stages import STAGES, exercise_shares
from vogue.schemas.errors import RequestInvalid

AXES = (4, 6, 6)


@pytest.fixture
def arm_run(run: StageRun) -> StageRun:
    """A run for arms: two steps."""
    return dataclasses.replace(run, stage="stage3", steps=2)


def test_arms_answer_the_issues_questions() -> None:
    assert set(MEASURED) <= set(exercise_shares(STAGES["stage3"]))
    assert ARMS["baseline"].measured == MEASURED
    assert [arm.name for arm in ARMS.values() if arm.only] == [f"single-{name}" for name in MEASURED]
    assert [arm.name for arm in ARMS.values() if arm.blind.mmdit] == ["no-mmdit-visuals"]
    assert [arm.name for arm in ARMS.values() if arm.blind.mllm] == ["no-mllm-visuals"]


def test_one_visual_alone_is_not_shifted() -> None:
    wanted = rope_grid((5, 4, 4), AXES, 256.0)
    for made, exact in zip(shifted_rope(Layout(0, 5, 0, 0), 4, 4, AXES, 256.0), wanted, strict=True):
        torch.testing.assert_close(made, exact)


def test_every_visual_begins_after_the_one_before() -> None:
    cos, sin = shifted_rope(Layout(1, 1, 0, 0), 2, 2, AXES, 256.0)
    angle = torch.atan2(sin, cos)
    first_of_each_axis = [0, AXES[0] // 2, (AXES[0] + AXES[1]) // 2]
    assert angle[0, first_of_each_axis].tolist() == [0.0, 0.0, 0.0]
    assert angle[4, first_of_each_axis].tolist() == pytest.approx([2.0, 2.0, 2.0])
    assert angle[7, first_of_each_axis].tolist() == pytest.approx([2.0, 3.0, 3.0])


def test_shifted_positions_change_what_references_do(arm_run: StageRun) -> None:
    network = open_arm(ARMS["all-axes"], arm_run).network
    assert isinstance(network, ShiftedGenerator)
    inputs = torch.randn(2, 16, 3, 4, 4), torch.tensor([10.0, 900.0]), torch.randn(2, 7, 32), torch.ones(2, 7) > 0
    made = []
    for layouts in ([Layout(2, 1, 0, 0)], [Layout(2, 1, 0, 0)] * 2, [Layout(0, 3, 0, 0)], []):
        network.mmdit.layouts = layouts
        made.append(network(*inputs))
    torch.testing.assert_close(made[0], made[1])
    torch.testing.assert_close(made[2], made[3])
    assert (made[0] - made[2]).abs().max() > 1e-5


def test_queries_learn_through_the_frozen_mllm(arm_run: StageRun) -> None:
    arm = dataclasses.replace(ARMS["queries"], queries=3)
    task = open_arm(arm, arm_run)
    network = task.network
    assert isinstance(network, QueryGenerator)
    assert network.queries.shape == (5, 32)
    task.network.train()
    loss, _ = task.loss(np.random.default_rng(0), torch.Generator().manual_seed(0))
    loss.backward()
    assert network.queries.grad is not None and network.queries.grad.abs().sum() > 0
    (mllm,) = network.frozen
    assert all(one.grad is None for one in mllm.model.parameters())
    assert not any(name.startswith("frozen") for name in network.state_dict())


def test_settled_queries_read_alike(arm_run: StageRun) -> None:
    from vogue.engines.prompting import Reading

    network = open_arm(dataclasses.replace(ARMS["queries"], queries=3), arm_run).network
    assert isinstance(network, QueryGenerator)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    asked = [Reading("a star", "make: ", (picture,)), Reading("a circle")]
    states, mask = network.read(asked)
    settled = network.settle().encode(asked)
    for row, one in enumerate(settled):
        torch.testing.assert_close(states[row][mask[row]], one, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["baseline", "single-ref_v2v_edit", "no-mmdit-visuals", "no-mllm-visuals", "queries", "all-axes"]
)
def test_an_arm_trains_and_is_scored(arm_run: StageRun, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("vogue.lab.train.arms.MEASURED", ("ref_v2v_edit",))
    arm = ARMS[name]
    train_arm(arm, arm_run)
    told = score_arm(arm, arm_run, count=1)
    assert told["steps"] == 2
    written = json.loads((Path(arm_run.folder) / "ablations" / f"{name}.json").read_text())
    assert 0 <= written["scores"]["ref_v2v_edit"]["done"]["value"] <= 1


def _write(folder: Path, name: str, steps: int, identity: float) -> None:
    one = {"value": identity, "low": 0.1, "high": 0.9, "count": 64}
    scores = {exercise: {"identity": one, "done": one} for exercise in ARMS[name].measured}
    (folder / f"{name}.json").write_text(json.dumps({"steps": steps, "seed": 0, "scores": scores}))


def test_page_stands_beside_the_paper(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="no scored arm"):
        as_page(tmp_path)
    _write(tmp_path, "baseline", 3000, 0.5)
    _write(tmp_path, "no-mmdit-visuals", 3000, 0.25)
    page = as_page(tmp_path)
    assert "| no-mmdit-visuals | 0.25 (0.10 … 0.90) |" in page
    assert "0.66 | 0.18 | 0.71" in page
    assert "Not run yet: single-multiid_one" in page
    _write(tmp_path, "queries", 1000, 0.5)
    with pytest.raises(RequestInvalid, match="different"):
        as_page(tmp_path)


def test_command_refuses_with_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["--run", str(tmp_path), "--report", str(tmp_path / "page.md")]) == 3
    assert "--arm" not in (tmp_path / "page.md").name and "no scored arm" in capsys.readouterr().err
