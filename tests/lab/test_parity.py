"""The parity command on the golden vectors, and on vectors that are wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vogue.lab.parity import main, run
from vogue.lab.parity_report import BARS


@pytest.fixture(scope="module")
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden"


@pytest.fixture
def copied(golden: Path, tmp_path: Path) -> Path:
    """A copy with one small case, `hidden/t2i`; media stay where the cases point to."""
    folder = tmp_path / "golden"
    shutil.copytree(golden, folder, ignore=shutil.ignore_patterns("*_edit*", "multiid*", "i2v*", "t2v*"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    cases = json.loads((folder / "cases.json").read_text())
    (folder / "cases.json").write_text(json.dumps([case for case in cases if case["file"] == "hidden/t2i.safetensors"]))
    return folder


@pytest.mark.usefixtures("ffmpeg_path")
def test_every_case_agrees(golden: Path) -> None:
    reports = list(run(golden))
    assert len(reports) == len(json.loads((golden / "cases.json").read_text()))
    failed = [f"{report.case}: {report.differences} {report.error or ''}" for report in reports if not report.passed]
    assert not failed, "\n".join(failed)
    assert set().union(*(report.differences for report in reports)) == set(BARS)


def test_one_case_as_json(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--golden", str(copied), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"]
    assert told["cases"][0]["case"] == "hidden/t2i"


@pytest.mark.parametrize(
    ("key", "quantity"),
    [
        ("mllm.txt.input_ids", "ids"),
        ("mllm.uncond.embeds", "embeddings"),
        ("dit.step1.txt.velocity", "velocity"),
        ("dit.step2.negtxt.hidden_states", "latents"),
        ("frames", "frames"),
    ],
)
def test_a_difference_is_found_where_it_is(
    copied: Path, capsys: pytest.CaptureFixture[str], key: str, quantity: str
) -> None:
    path = copied / "hidden" / "t2i.safetensors"
    tensors = load_file(path)
    changed = tensors[key].clone()
    changed.view(-1)[-1] += 1 if changed.dtype is torch.int64 else 2 * BARS[quantity]
    save_file({**tensors, key: changed}, path)
    assert main(["--golden", str(copied), "--json"]) == 1
    [case] = json.loads(capsys.readouterr().out)["cases"]
    assert case["differences"][quantity] > BARS[quantity]


def test_other_passes_or_shapes_fail(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied / "hidden" / "t2i.safetensors"
    tensors = load_file(path)
    del tensors["dit.step2.txt.velocity"]
    save_file({**tensors, "frames": tensors["frames"][:, :, 1:].contiguous()}, path)
    assert main(["--golden", str(copied)]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_folder_without_vectors_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--golden", str(tmp_path)]) == 1
    assert "cannot be read" in capsys.readouterr().err
