"""The paper's stages: frozen specs, runs that resume to the bit, batches of one shape, and nothing zero-shot in training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vogue.lab.train import stage_cli
from vogue.lab.train.buckets import Buckets, measure_padding
from vogue.lab.train.encoded import Blindness, Key, Layout, Shelf, draw_case
from vogue.lab.train.stage_runs import StageRun, open_task, open_trainer
from vogue.lab.train.staged import collate
from vogue.lab.train.stages import (
    NOT_GENERATED,
    RECONSTRUCTION,
    STAGES,
    as_markdown,
    exercise_shares,
    get_stage,
)
from vogue.lab.train.trainer import Trainer
from vogue.lab.world.edits import PICTURE_ONLY_EDITS
from vogue.lab.world.exercises import EXERCISES, NAMES, trained_names
from vogue.schemas.errors import RequestInvalid

CASES = 40
TOKENS = 256


def steps_of(run: StageRun, count: int) -> Trainer:
    trainer = open_trainer(run, open_task(run))
    for _ in range(count):
        trainer.step()
    return trainer


def test_specs_are_the_papers_table() -> None:
    one, two, three = STAGES.values()
    assert [stage.trains for stage in STAGES.values()] == [("connector",), *[("connector", "mmdit")] * 2]
    assert [stage.paper.learning_rate for stage in STAGES.values()] == [1e-4, 2e-5, 2e-5]
    assert [stage.paper.steps for stage in STAGES.values()] == [15_000, 5_000, 15_000]
    assert [stage.paper.ema_decay for stage in STAGES.values()] == [None, 0.9999, 0.9999]
    assert {(stage.paper.warmup_steps, stage.paper.shift, stage.paper.eps) for stage in STAGES.values()} == {
        (50, 5.0, 1e-15)
    }
    assert one.mixing == two.mixing == {"t2i": 0.7, "t2v": 0.2, RECONSTRUCTION: 0.1}
    for stage in (one, two, three):
        assert sum(exercise_shares(stage).values()) == pytest.approx(1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            stage.name = "other"  # type: ignore[misc]
        with pytest.raises(TypeError):
            stage.mixing["t2i"] = 1.0  # type: ignore[index]
    with pytest.raises(RequestInvalid, match="no stage 'stage4'"):
        get_stage("stage4")


def test_in_context_shares_are_a_setting() -> None:
    by_seven, by_one = exercise_shares(STAGES["stage3"]), exercise_shares(STAGES["stage3"], "table-1")
    assert sum(by_seven[name] for name in ("v2v_edit", "v2v_wide", "v2v_style", "ref_v2v_edit")) == pytest.approx(0.1)
    assert sum(by_one[name] for name in ("v2v_edit", "v2v_wide", "v2v_style", "ref_v2v_edit")) == pytest.approx(0.2)


def test_stage_three_draws_every_trained_exercise_and_nothing_zero_shot() -> None:
    shares = exercise_shares(STAGES["stage3"])
    assert set(shares) == set(trained_names()) - set(NOT_GENERATED)
    zero_shot = [name for name in NAMES if name in EXERCISES and not EXERCISES[name].kinds_of("train")]
    assert set(zero_shot) == {"v2v_free", "i2i_composed", "v2v_composed"}
    assert not set(shares) & set(zero_shot)
    for name in zero_shot:
        with pytest.raises(ValueError, match="zero-shot"):
            draw_case(Key(name, 0, "train"))


def test_no_case_that_is_drawn_holds_what_is_zero_shot() -> None:
    for name in exercise_shares(STAGES["stage3"]):
        for seed in range(8):
            case, words = draw_case(Key(name, seed, "train"))
            assert len(case.asked) <= 1, f"{name} {seed}: two edits at once are a composition"
            if len(case.target) > 1 and case.source is not None:
                assert case.asked[0].kind not in PICTURE_ONLY_EDITS
            assert words


def test_page_holds_the_table(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage_cli.main(["stages"]) == 0
    assert capsys.readouterr().out == as_markdown()
    assert as_markdown() in (repository / "docs" / "stages.md").read_text(encoding="utf-8")


def test_encoded_cases_are_whole_and_unpadded(folder: Path) -> None:
    shelf = Shelf(folder / "encoded", exercise_shares(STAGES["stage3"]))
    by_name = {case.key.exercise: case for case in shelf.cases}
    assert by_name["t2v"].layout == Layout(0, 5, 0, 0)
    assert by_name["i2v"].layout == Layout(0, 5, 0, 1)
    assert by_name["i2i_edit"].layout == Layout(0, 1, 1, 0)
    assert by_name["ref_v2v_edit"].layout == Layout(1, 5, 5, 0)
    assert by_name["multiid"].layout.references in (2, 3, 4)
    for case in shelf.cases:
        assert len(case.frames) == case.layout.total
        assert len(case.weight) == len(case.labels) == case.layout.target
        assert case.states.abs().sum(dim=1).min() > 0, "a row of zeros would be padding"
    sighted = by_name["i2v"]
    assert len(sighted.blind) < len(sighted.states) > len(by_name["t2v"].blind) - 300
    assert Shelf(folder / "encoded", exercise_shares(STAGES["stage3"])).digest == shelf.digest


def test_a_picture_to_rebuild_goes_to_the_mllm_only(folder: Path) -> None:
    case = Shelf(folder / "encoded", [RECONSTRUCTION]).cases[0]
    assert case.layout == Layout(0, 1, 0, 0)
    text = next(one for one in Shelf(folder / "encoded", ["t2i"]).cases if one.key.seed == case.key.seed)
    assert torch.equal(case.frames, text.frames)
    assert not torch.equal(case.states[:5], text.states[:5])


def test_batches_mix_tasks_of_one_shape_in_their_shares(folder: Path) -> None:
    shares = exercise_shares(STAGES["stage3"])
    shelf = Shelf(folder / "encoded", shares)
    buckets = Buckets(shelf.cases, shares, tokens_per_frame=16, tokens=2048)
    rng, mixed = np.random.default_rng(0), 0
    for _ in range(60):
        batch = [shelf.cases[n] for n in buckets.draw(rng)]
        assert len({case.layout.total for case in batch}) == 1
        assert max(len(case.states) for case in batch) - min(len(case.states) for case in batch) < 8
        mixed += len({case.key.exercise for case in batch}) > 1
    assert mixed > 0
    rows: dict[str, float] = dict.fromkeys(shares, 0.0)
    for chance, size, members, within in zip(
        *(buckets.chances, buckets.sizes, buckets.members, buckets.within), strict=True
    ):
        for number, part in zip(members, within, strict=True):
            rows[shelf.cases[number].key.exercise] += chance * size * part
    for name, share in shares.items():
        assert rows[name] / sum(rows.values()) == pytest.approx(share), name


def test_buckets_need_a_case_of_everything(folder: Path) -> None:
    cases = Shelf(folder / "encoded", ["t2i"]).cases
    with pytest.raises(ValueError, match="no cases of t2v"):
        Buckets(cases, {"t2i": 0.5, "t2v": 0.5}, tokens_per_frame=16, tokens=512)
    with pytest.raises(ValueError, match="not to 1"):
        Buckets(cases, {"t2i": 0.5}, tokens_per_frame=16, tokens=512)


def test_buckets_leave_little_padding(folder: Path) -> None:
    shares = exercise_shares(STAGES["stage3"])
    padding = measure_padding(Shelf(folder / "encoded", shares).cases, shares, tokens_per_frame=16, tokens=4096)
    assert padding.by_frames_and_context < 0.06 < padding.by_frames < padding.worst


def test_given_frames_stay_clean_and_only_made_ones_count(folder: Path) -> None:
    cases = {case.key.exercise: case for case in Shelf(folder / "encoded", ["i2v", "ref_v2v_edit"]).cases}
    bare = torch.zeros(3, 32)
    batch = collate([cases["i2v"]], [False], bare)
    assert batch.free.tolist() == [[False, True, True, True, True]]
    batch = collate([cases["ref_v2v_edit"]], [False], bare)
    assert batch.free.tolist() == [[False, *[True] * 5, *[False] * 5]]
    assert batch.asked.view(11, 16).any(1).tolist() == [False, *[True] * 5, *[False] * 5]
    unseen = collate([cases["ref_v2v_edit"]], [False], bare, Blindness(mmdit=True))
    assert unseen.clean.shape[2] == 5 and unseen.free.all()
    torch.testing.assert_close(unseen.clean, batch.clean[:, :, 1:6])
    assert collate([cases["i2v"]], [True], bare).states.shape[1] == len(cases["i2v"].negative)
    blind = collate([cases["i2v"]], [False], bare, Blindness(mllm=True))
    assert blind.states.shape[1] == len(cases["i2v"].blind) < len(cases["i2v"].states)


def test_stage_one_moves_the_connector_only(run: StageRun) -> None:
    trainer = open_trainer(run, open_task(run))
    before = {key: value.clone() for key, value in trainer.task.network.state_dict().items()}
    trainer.step()
    moved = {
        key.split(".")[0]
        for key, value in trainer.task.network.state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert moved == {"connector"}
    assert trainer.average is None
    rates = [group["lr"] for member in trainer.task.optimizers.members for group in member.param_groups]
    assert rates == pytest.approx([get_stage("stage1").mini.learning_rate / 50])


def test_stages_follow_each_other(run: StageRun) -> None:
    first = steps_of(run, 2)
    with pytest.raises(RequestInvalid, match="train stage1 first"):
        open_task(dataclasses.replace(run, stage="stage2", weights=None))
    first.save()
    run = dataclasses.replace(run, stage="stage2", weights=None)
    second = open_trainer(run, open_task(run))
    there = first.task.network.state_dict()
    assert all(torch.equal(value, there[key]) for key, value in second.task.network.state_dict().items())
    before = {key: value.clone() for key, value in there.items()}
    second.step()
    moved = {
        key.split(".")[0]
        for key, value in second.task.network.state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert moved == {"connector", "mmdit", "reader"}
    assert second.average is not None


@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_resumed_stage_is_the_unbroken_one(run: StageRun, tmp_path: Path, folder: Path, stage: str) -> None:
    run = dataclasses.replace(run, stage=stage)
    whole = steps_of(run, 5)
    elsewhere = tmp_path / "broken"
    elsewhere.mkdir()
    (elsewhere / "encoded").symlink_to(folder / "encoded")
    broken = dataclasses.replace(run, folder=str(elsewhere), steps=3)
    steps_of(broken, 3).save()
    resumed = steps_of(dataclasses.replace(broken, steps=6, resume=True), 2)
    for key, value in whole.task.network.state_dict().items():
        assert torch.equal(value, resumed.task.network.state_dict()[key]), key
    for key, value in (whole.average or {}).items():
        assert resumed.average is not None and torch.equal(value, resumed.average[key]), key


def test_a_run_is_not_resumed_on_other_terms(run: StageRun) -> None:
    with pytest.raises(RequestInvalid, match="no run of stage1 to resume"):
        open_trainer(dataclasses.replace(run, resume=True), open_task(dataclasses.replace(run, resume=True)))
    steps_of(run, 1).save()
    other = dataclasses.replace(run, resume=True, seed=1)
    with pytest.raises(RequestInvalid, match="other seed"):
        open_trainer(other, open_task(other))


def test_two_workers_share_a_batch(run: StageRun) -> None:
    """Rows of the workers together are the batch, and the mean of their gradients is the batch's gradient."""
    run = dataclasses.replace(run, stage="stage3")
    tasks = [open_task(run, worker, workers) for worker, workers in ((0, 1), (0, 2), (1, 2))]
    gradients, losses = [], []
    for task in tasks:
        task.network.load_state_dict(tasks[0].network.state_dict())
        task.network.train()
        loss, _ = task.loss(np.random.default_rng(4), torch.Generator().manual_seed(4))
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append({name: one.grad for name, one in task.network.named_parameters() if one.grad is not None})
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, rel=1e-5)
    for name, whole in gradients[0].items():
        torch.testing.assert_close((gradients[1][name] + gradients[2][name]) / 2, whole, rtol=1e-3, atol=1e-5, msg=name)


def test_commands_refuse_with_reasons(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage_cli.main(["stage1", "--run", str(tmp_path), "--preset", "tiny"]) == 3
    assert "encode" in capsys.readouterr().err
    (tmp_path / "encoded").symlink_to(folder / "encoded")
    assert stage_cli.main(["stage1", "--run", str(tmp_path), "--preset", "tiny"]) == 3
    assert "--start-from" in capsys.readouterr().err


def test_a_command_trains_a_stage(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "encoded").symlink_to(folder / "encoded")
    arguments = ["stage1", "--run", str(tmp_path), "--preset", "tiny", "--steps", "2", "--tokens", str(TOKENS)]
    arguments += ["--threads", "1", "--start-from", str(folder / "weights")]
    assert stage_cli.main(arguments) == 0
    assert {"stage1.pt", "stage1.jsonl", "stage1.json", "loss-stage1.png"} <= {path.name for path in tmp_path.iterdir()}
