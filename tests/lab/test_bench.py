"""The bench: exact targets score full marks, wrong results do not, and numbers come with honest intervals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vogue.lab import bench
from vogue.lab.charts import Entry, contact_sheet
from vogue.lab.maker import Maker
from vogue.lab.scoring import edit_done, estimate, merge, psnr, score_case
from vogue.lab.world.analyse import analyse
from vogue.lab.world.cases import sample_case
from vogue.lab.world.edits import EDIT_KINDS
from vogue.lab.world.render import render


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
    assert mean.high - mean.value == pytest.approx(1.96 * 2 / math.sqrt(3), abs=1e-3)
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


def test_a_sheet_holds_clips_and_pictures() -> None:
    case = sample_case("v2v_edit", 1)
    assert case.source is not None
    page = contact_sheet("both", [Entry(case.prompt, (("given", case.source), ("made", case.target)), True)])
    assert page.width > 240 and page.height > 2 * 64
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet("none", [])
