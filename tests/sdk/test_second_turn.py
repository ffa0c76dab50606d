"""The measurement of second turns: what it reads from logs, and that a whole run on tiny networks encodes a source once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vogue.lab import second_turn
from vogue.lab.second_turn import TURNS, Took, ratios, took
from vogue.schemas.jobs import EventKind, JobEvent, Stage


def _event(kind: EventKind, time_s: float, stage: Stage | None = None) -> JobEvent:
    return JobEvent(job_id="job_1", seq=1, kind=kind, time_s=time_s, stage=stage)


def test_time_in_the_queue_does_not_count() -> None:
    log = [
        _event(EventKind.QUEUED, 1.0),
        _event(EventKind.STAGE, 10.0, Stage.INGEST),
        _event(EventKind.STAGE, 10.5, Stage.ENCODE),
        _event(EventKind.STAGE, 12.0, Stage.DENOISE),
        _event(EventKind.COMPLETED, 20.0),
    ]
    assert took(log) == Took(2.0, 10.0)
    with pytest.raises(ValueError, match="no end"):
        took(log[:-1])


def test_ratios_are_medians_by_the_first_turn() -> None:
    conversations = [[Took(2.0, 10.0), Took(0.5 * n, 8.0), Took(1.0, 9.0), Took(0.1, 7.0)] for n in (1, 2, 3)]
    rows = ratios(conversations)
    assert [row["turn"] for row in rows] == list(TURNS)
    assert (rows[0]["before_ratio"], rows[1]["before_ratio"], rows[1]["before_s"]) == (1.0, 0.5, 1.0)
    assert rows[3]["total_ratio"] == 0.7


def test_a_run_encodes_each_source_once(live_tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--frames", "5", "--side-px", "32", "--steps", "1", "--conversations", "1"]
    assert second_turn.main(["--server", live_tiny.url, *size, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    encoded = [(one["codec.prepare"], one["codec.encode"]) for one in told["encoded"]]
    assert encoded == [(1, 1), (0, 0), (0, 0), (0, 0)]
    assert [one["understanding.look"] for one in told["encoded"]] == [1, 0, 1, 0]
    assert second_turn.main(["--server", live_tiny.url, *size, "--seed", "9"]) == 0
    assert "× " in capsys.readouterr().out
