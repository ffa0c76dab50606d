"""The page of scores: order of the bench, the last file wins, floors told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vogue.lab.score_page import main


def _file(path: Path, measures: dict[str, dict[str, float | None]]) -> str:
    scored = {
        measure: {
            "seconds": 1.0,
            "scores": {
                name: {"value": value, "low": None, "high": None, "count": 4, "passed": False}
                for name, value in scores.items()
            },
        }
        for measure, scores in measures.items()
    }
    path.write_text(json.dumps({"settings": {}, "measures": scored}))
    return str(path)


def test_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = _file(tmp_path / "a.json", {"i2v": {"motion": 0.5}, "t2v": {"motion": 0.1}})
    new = _file(tmp_path / "b.json", {"t2v": {"motion": 0.25, "count": None}})
    assert main([old, new]) == 0
    said = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:3] for row in said] == [
        ["| t2v", "motion", "0.250"],
        ["| t2v", "count", "–"],
        ["| i2v", "motion", "0.500"],
    ]
    assert said[0].endswith("| 0.85 | missed |")
    main([new, "--key-figures"])
    assert len(capsys.readouterr().out.splitlines()) == 3
