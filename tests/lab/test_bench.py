"""The bench: exact targets score full marks, wrong results do not, and numbers come with honest intervals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vogue.lab import bench
from vogue.lab.bars import BARS, dimension
from vogue.lab.charts import Entry, contact_sheet
from vogue.lab.labels import plan_choices, plan_is_right, right_plan
from vogue.lab.maker import Maker
from vogue.lab.measure import MEASURES
from vogue.lab.rounds import score_turn
from vogue.lab.scoring import edit_done, estimate, merge, psnr, score_case
from vogue.lab.world.analyse import analyse
from vogue.lab.world.cases import sample_case
from vogue.lab.world.change import sample_conversation
from vogue.lab.world.edits import EDIT_KINDS
from vogue.lab.world.exercises import NAMES, sample_exercise
from vogue.lab.world.render import render
from vogue.schemas.plan import Plan


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_an_exact_edit_is_done_and_an_untouched_source_is_not(kind: str) -> None:
    case = sample_case("v2v_edit", 3, "eval", kind)
    assert case.edit is not None and case.source is not None
    assert edit_done(case.edit, analyse(case.target))
    assert not edit_done(case.edit, analyse(case.source))


def test_exact_generations_get_full_marks() -> None:
    for task in ("t2i", "t2v", "i2v"):
        scores = score_case(*(lambda case: (case, case.target))(sample_case(task, 5, "eval")))  # type: ignore[arg-type]
        assert all(all(values) for values in scores.values())


@pytest.mark.parametrize(
    "name",
    ["t2i_related", "i2i_wide", "ref_i2i_edit", "ref_i2i_style", "ref2i", "drawn_edit", "i2i_composed", "multiid_one"],
)
def test_exact_results_get_full_marks_in_new_exercises_too(name: str) -> None:
    case = sample_exercise(name, 2, "eval")
    scores = score_case(case, case.target)
    shares = {name: values for name, values in scores.items() if not name.endswith("dB")}
    assert shares and all(value == 1.0 for values in shares.values() for value in values), shares


def test_another_creature_is_not_the_right_one() -> None:
    case = sample_exercise("ref2i", 1, "eval")
    right = case.identities[0]
    other = next(one for one in case.line_ups[0] if one != right)
    swapped = tuple(
        replace(actor, identity=other) if getattr(actor, "identity", None) == right else actor
        for actor in case.target_scene.subjects
    )
    wrong = render(replace(case.target_scene, subjects=swapped), 1)
    assert score_case(case, wrong)["identity"][0] == 0.0


def test_a_turn_is_scored_by_subjects_and_sides() -> None:
    turns = [turn for seed in range(3) for turn in sample_conversation(seed).turns]
    turn = next(one for one in turns if len(one.target_scene.subjects) == 2)
    assert score_turn(turn, turn.target) == {"precision": 1.0, "recall": 1.0, "F1": 1.0, "relations": 1.0}
    alone = render(replace(turn.target_scene, subjects=turn.target_scene.subjects[:1]))
    lost = score_turn(turn, alone)
    assert (lost["precision"], lost["recall"]) == (1.0, 0.5) and lost["F1"] == pytest.approx(2 / 3)
    empty = score_turn(turn, render(replace(turn.target_scene, subjects=())))
    assert empty == {"precision": 0.0, "recall": 0.0, "F1": 0.0, "relations": 0.0}
    mirrored = tuple(replace(one, x=64 - one.x, y=64 - one.y) for one in turn.target_scene.subjects)
    assert score_turn(turn, render(replace(turn.target_scene, subjects=mirrored)))["relations"] == 0.0


def test_plans_are_judged_by_what_they_would_do() -> None:
    case, other = (sample_exercise("drawn_edit", seed, "eval") for seed in (0, 1))
    assert plan_is_right(case, right_plan(case)) and not plan_is_right(case, right_plan(other))
    assert right_plan(case).roles in [choice.roles for choice in plan_choices(case)]
    lost = sample_exercise("unmeetable", 0, "eval")
    assert plan_is_right(lost, right_plan(lost))
    assert not plan_is_right(lost, Plan(clarification="what do you mean?"))
    assert not plan_is_right(case, Plan(clarification="what do you mean?"))


def test_every_bar_belongs_to_a_measure_and_every_score_speaks_of_something() -> None:
    assert set(BARS) <= set(MEASURES) and set(NAMES) <= set(MEASURES)
    told = {name: dimension(name) for name in ("colour", "identity", "outside dB", "quality dB", "first frame dB")}
    assert list(told.values()) == ["following", "identity", "preservation", "quality", "preservation"]


def test_a_scene_in_another_place_is_as_good_when_places_are_free_only() -> None:
    case = sample_case("t2i", 21, "eval")
    moved = replace(case.target_scene, subjects=tuple(replace(s, x=64 - s.x) for s in case.target_scene.subjects))
    assert score_case(case, render(moved, 1))["all facts"] == [1.0]
    wrong = replace(case.target_scene, subjects=case.target_scene.subjects[1:])
    assert score_case(case, render(wrong, 1))["all facts"] == [0.0]


def test_psnr_by_hand() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    grey = np.full_like(black, 16)
    assert psnr(black, grey) == pytest.approx(20 * math.log10(255 / 16))
    assert psnr(black, black) == 60.0
    mask = np.zeros((1, 4, 4), bool)
    assert math.isnan(psnr(black, grey, mask))
    mask[0, 0, 0] = True
    assert psnr(black, grey, mask) == pytest.approx(20 * math.log10(255 / 16))


def test_intervals_by_hand() -> None:
    # Wilson's interval for 8 of 10, as tabulated.
    share = estimate([1.0] * 8 + [0.0] * 2, share=True)
    assert (share.value, share.count) == (0.8, 10)
    assert share.low == pytest.approx(0.490, abs=1e-3) and share.high == pytest.approx(0.943, abs=1e-3)
    mean = estimate([20.0, 22.0, 24.0], share=False)
    # Student's quantiles as tabulated, for 2, 10 and 60 degrees of freedom.
    assert mean.high - mean.value == pytest.approx(4.303 * 2 / math.sqrt(3), abs=1e-3)
    for count, quantile in ((11, 2.228), (61, 2.000)):
        values = [float(at % 2) for at in range(count)]
        one = estimate(values, share=False)
        spread = float(np.std(values, ddof=1)) / math.sqrt(count)
        assert (one.high - one.value) / spread == pytest.approx(quantile, abs=2e-3)
    assert math.isnan(estimate([], share=True).value)


def test_merging_drops_what_was_not_measured() -> None:
    merged = merge([{"a dB": [math.nan]}, {"a dB": [3.0], "b": [1.0, 0.0]}])
    assert merged["a dB"].count == 1 and merged["b"].value == 0.5


def test_the_command_scores_renders_and_writes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--made-by", "render", "--count", "2", "--task", "t2i", "--task", "i2i_edit", "--task", "codec"]
    files = ["--json", str(tmp_path / "out" / "b.json"), "--png", str(tmp_path / "out" / "b.png")]
    assert bench.main([*arguments, *files, "--strict"]) == 0
    told = json.loads((tmp_path / "out" / "b.json").read_text())
    assert told["measures"]["t2i"]["scores"]["colour"] == {
        **told["measures"]["t2i"]["scores"]["colour"], "value": 1.0, "bar": 0.9, "passed": True
    }  # fmt: skip
    assert (tmp_path / "out" / "b.png").stat().st_size > 1000
    assert "pass" in capsys.readouterr().out


def test_a_missed_bar_fails_under_strict_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def blank(self: Maker, clips: list[np.ndarray]) -> list[np.ndarray]:
        return [np.zeros_like(clip) for clip in clips]

    monkeypatch.setattr(Maker, "round_trip", blank)
    arguments = ["--made-by", "render", "--count", "2", "--task", "t2i"]
    assert bench.main(arguments) == 0
    assert bench.main([*arguments, "--strict"]) == 1


def test_a_model_answers_every_task_in_batches(tmp_path: Path) -> None:
    from vogue.engines.tiny import write_tiny

    write_tiny(tmp_path)
    maker = Maker.load("model", preset="tiny", weights=tmp_path, steps=1, batch=1, threads=1)
    for task in ("t2i", "i2v", "i2i_edit"):
        result = bench.run(task, maker, count=2, seed=0, split="eval")
        assert len(result.entries) == 2 and result.estimates["all facts"].count == 2
        case = sample_case(task, 1, "eval")  # type: ignore[arg-type]
        assert result.entries[1].strips[-1][1].shape == case.target.shape


def test_what_weights_have_not_learnt_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vogue.engines.tiny import write_tiny

    write_tiny(tmp_path)
    learnt = {"tasks": {"t2i": {"steps": 1, "guidance": 1.0, "height_px": 64, "width_px": 64, "num_frames": 1}}}
    (tmp_path / "preset.json").write_text(json.dumps(learnt))
    weights = ["--preset", "tiny", "--weights", str(tmp_path), "--count", "1"]
    assert bench.main([*weights, "--task", "multiid"]) == 3
    assert "multiid" in capsys.readouterr().err
    assert bench.main([*weights, "--task", "drawn_edit"]) == 3
    assert "plans" in capsys.readouterr().err


@pytest.mark.parametrize("without", ["mmdit-visuals", "mllm-visuals"])
def test_an_ablation_blinds_one_network(tmp_path: Path, without: str) -> None:
    from vogue.engines.tiny import write_tiny

    write_tiny(tmp_path)
    case = sample_case("i2i_edit", 0, "eval")
    settings = {"preset": "tiny", "weights": tmp_path, "steps": 1, "batch": 1, "threads": 1}
    whole = Maker.load("model", **settings).make([case])  # type: ignore[arg-type]
    blind = Maker.load("model", without=without, **settings).make([case])  # type: ignore[arg-type]
    assert blind[0].shape == whole[0].shape and not np.array_equal(blind[0], whole[0])


def test_questions_and_plans_are_answered_in_batches(tmp_path: Path) -> None:
    perfect = Maker.load("render")
    for measure, name in (("caption", "right"), ("question", "right"), ("unmeetable", "plan")):
        result = bench.run(measure, perfect, count=3, seed=0, split="eval")
        assert result.estimates[name].value == 1.0 and len(result.entries) == 3


def test_a_sheet_holds_clips_and_pictures() -> None:
    case = sample_case("v2v_edit", 1)
    assert case.source is not None
    page = contact_sheet("both", [Entry(case.prompt, (("given", case.source), ("made", case.target)), True)])
    assert page.width > 240 and page.height > 2 * 64
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet("none", [])
