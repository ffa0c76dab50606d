"""The doctor: finds obstacles by looking, never by loading."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from vogue.cli import build_app
from vogue.cli.doctor import judge
from vogue.cli.machine import Machine, look_around
from vogue.cli.session import Session
from vogue.cli.weights import inspect_file, inspect_folder
from vogue.testing import FakeServer

LAPTOP = Machine(
    python="3.11.7",
    system="Linux x86_64",
    cpus=2,
    memory_gib=8.0,
    free_disk_gib=50.0,
    gpus=(),
    ffmpeg="/usr/bin/ffmpeg",
    ffmpeg_version="7.1",
    base={"httpx": "0.28"},
    serve={"torch": "2.13.0", "ray": "2.50"},
)


def _safetensors(path: Path, *, stop: int = 8, shape: tuple[int, ...] = (2,), cut: int = 0) -> Path:
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "F32", "shape": shape, "data_offsets": [0, stop]}}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content[: len(content) - cut])
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for name in ("mllm/model", "connector", "mmdit", "vae"):
        _safetensors(tmp_path / f"{name}.safetensors")
    return tmp_path


def test_whole_weights_have_no_faults(weights: Path) -> None:
    assert inspect_folder(weights) == []
    assert judge("mini", LAPTOP, weights).obstacles == ()


def test_missing_and_damaged_parts_are_named(weights: Path) -> None:
    (weights / "connector.safetensors").unlink()
    _safetensors(weights / "mmdit.safetensors", cut=3)
    (weights / "mllm" / "model.safetensors").unlink()
    faults = inspect_folder(weights)
    assert len(faults) == 3
    assert "connector" in faults[1] and "3 bytes are missing" in faults[2]


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 7, b"\xff" * 40, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 4) + b"{no}"]
)
def test_what_is_no_safetensors_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert inspect_file(path)


def test_a_tensor_must_fit_its_shape(tmp_path: Path) -> None:
    fault = inspect_file(_safetensors(tmp_path / "x.safetensors", shape=(3,)))
    assert fault is not None and "[3]" in fault


def test_obstacles_name_the_need_and_what_is_there(weights: Path) -> None:
    small = replace(LAPTOP, memory_gib=2.0, ffmpeg=None, serve={"torch": None})
    words = " ".join(judge("mini", small, weights).obstacles)
    assert "2.0" in words and "torch not installed" in words and "ffmpeg" in words
    assert "GPU" in " ".join(judge("univideo-hidden", LAPTOP, weights).obstacles)
    big = replace(LAPTOP, gpus=(("H100", 80.0),))
    assert judge("univideo-hidden", big, weights).obstacles == ()


def test_the_large_presets_say_which_gpu_build_and_compiler_are_missing(weights: Path) -> None:
    finding = judge("univideo-queries", LAPTOP, weights)
    assert "there is none here" in " ".join(finding.obstacles)
    assert "TensorRT is not installed" in " ".join(finding.notes)
    server = replace(LAPTOP, gpus=(("H100", 79.6),), serve={"torch": "2.13.0+cpu"}, gpu={"tensorrt": "11.0"})
    finding = judge("univideo-queries", server, weights)
    assert "without CUDA" in " ".join(finding.obstacles) and finding.notes == ()
    assert judge("mini", server, weights).obstacles == ()


def test_imported_weights_may_lie_in_shards(weights: Path) -> None:
    (weights / "mmdit").mkdir()
    (weights / "mmdit.safetensors").rename(weights / "mmdit" / "model-00001-of-00001.safetensors")
    assert inspect_folder(weights) == []


def test_the_next_command_leads_on(weights: Path, tmp_path: Path) -> None:
    bare = replace(LAPTOP, serve={"torch": None})
    server = replace(LAPTOP, gpus=(("H100", 79.6),))
    missing = tmp_path / "nothing"
    assert judge("mini", bare, weights).next.startswith("pip install")
    assert judge("mini", LAPTOP, None).next == "vogue serve --preset mini"
    assert judge("mini", replace(LAPTOP, memory_gib=1.0), None).next == ""
    assert judge("univideo-hidden", LAPTOP, missing).next.startswith(
        "vogue weights import SRC --preset univideo-hidden"
    )
    assert judge("univideo-hidden", LAPTOP, weights).next.startswith("vogue capacity --preset univideo-hidden")
    assert judge("univideo-hidden", server, weights).next.startswith(f"vogue weights verify {weights}; vogue serve")


def test_this_machine_can_be_looked_at() -> None:
    machine = look_around()
    assert machine.cpus >= 1 and machine.base["pydantic"] is not None
    assert {"torch", "ray"} <= set(machine.serve)


@pytest.mark.parametrize(("state", "faults"), [("ready", 0), ("does not answer (start one with `vogue serve`)", 1)])
def test_doctor_reports(monkeypatch: pytest.MonkeyPatch, weights: Path, state: str, faults: int) -> None:
    server = FakeServer()
    server.fail_next(*[httpx.ConnectError("refused")] * faults)
    monkeypatch.setattr("vogue.cli.doctor.look_around", lambda: LAPTOP)

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(build_app(), list(arguments), obj=Session(connect=lambda _: server.client()))

    document = json.loads(call("doctor", "--json", "--weights", str(weights)).stdout)
    assert document["server"]["state"] == state
    presets = {preset["name"]: preset["obstacles"] for preset in document["presets"]}
    assert presets["mini"] == [] and presets["univideo-hidden"] != []
    words = call("doctor", "--weights", str(weights)).stdout
    assert "mini: can run here" in words and "next: vogue serve --preset mini" in words


def test_doctor_fails_where_nothing_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    server.fail_next(httpx.ConnectError("refused"))
    monkeypatch.setattr("vogue.cli.doctor.look_around", lambda: replace(LAPTOP, ffmpeg=None))
    result = CliRunner().invoke(build_app(), ["doctor"], obj=Session(connect=lambda _: server.client()))
    assert result.exit_code == 1 and "cannot run here" in result.stdout
