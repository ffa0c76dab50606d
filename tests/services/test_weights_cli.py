"""`vogue weights` and `vogue capacity` as a user meets them: answers, refusals, one JSON document whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vogue.cli import build_app
from vogue.cli.exits import ExitCode
from vogue.engines.pipeline import Pipeline, Request
from vogue.engines.release.rehearsal import narrow, write_released
from vogue.schemas.config import Preset, Task
from vogue.schemas.presets import PRESETS, get_preset
from vogue.schemas.requests import JobSpec
from vogue.services.config import AppConfig
from vogue.services.weights import served_preset

Call = Callable[..., Result]


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """`univideo-hidden`, as narrow as the files in `downloads`."""
    preset = narrow(get_preset("univideo-hidden"))
    monkeypatch.setitem(PRESETS, preset.name, preset)
    return preset


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(build_app(), list(arguments))

    return run


IMPORT = ("weights", "import", "downloads", "--preset", "univideo-hidden", "--out", "weights")


def test_the_commands_are_listed_without_loading_torch_or_ray() -> None:
    script = (
        "import sys, typer, vogue.services.weights_cli as w, vogue.services.capacity_cli as c\n"
        "app = typer.Typer(); w.register(app); c.register(app)\n"
        "sys.exit(' '.join({'torch', 'ray', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_from_downloads_to_pictures(hidden: Preset, call: Call, tmp_path: Path) -> None:
    write_released(tmp_path / "downloads", hidden)
    refused = call(*IMPORT, "--json")
    assert refused.exit_code == ExitCode.REQUEST_INVALID and not (tmp_path / "weights").exists()
    error = json.loads(refused.stdout)["error"]
    assert error["param"] == "accept_licences" and "Hunyuan" in error["message"]

    looked = json.loads(call(*IMPORT, "--dry-run", "--json").stdout)
    assert not looked["written"] and not (tmp_path / "weights").exists()
    told = call(*IMPORT, "--accept-licences", "--shard-mib", "1")
    assert told.exit_code == 0 and "next: vogue weights verify weights" in told.stdout
    assert "European Union" in told.stderr and "European Union" not in told.stdout
    again = json.loads(call(*IMPORT, "--accept-licences", "--shard-mib", "1", "--json").stdout)
    assert again["written"] and again["parts"]["mmdit"] == looked["parts"]["mmdit"]
    assert [licence["id"] for licence in again["licences"]] == [
        "tencent-hunyuan-community",
        "qwen2.5-vl-7b-apache-2.0",
        "univideo",
    ]

    whole = json.loads(call("weights", "verify", "weights", "--json").stdout)
    assert whole["preset"] == "univideo-hidden" and whole["files"] == again["files"]
    config = AppConfig(preset=hidden.name, weights_dir=tmp_path / "weights")
    assert served_preset(config) == hidden
    spec = JobSpec(
        task=Task.T2I, instruction="a star", negative_prompt="bad", height_px=32, width_px=32, num_frames=1,
        steps=2, guidance=2.0, image_guidance=1.0, seed=1, fps=8.0,
    )  # fmt: skip
    [frames] = Pipeline.load(hidden, tmp_path / "weights").generate([Request(spec)])
    assert frames.shape == (1, 32, 32, 3)

    path = tmp_path / "weights" / "vae.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = call("weights", "verify", "weights", "--json")
    assert damaged.exit_code == ExitCode.UNFORESEEN
    error = json.loads(damaged.stdout)["error"]
    assert error["code"] == "weights_mismatch" and "vae.safetensors" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("weights", "verify", "nowhere"), ExitCode.UNFORESEEN, "vogue weights import"),
        ((*IMPORT, "--accept-licences"), ExitCode.UNFORESEEN, "downloads lacks released files"),
        (("weights", "import", "d", "--preset", "mini", "--out", "w", "--dry-run"), ExitCode.REQUEST_INVALID, "univideo-hidden or"),
        (("capacity", "--preset", "tiny", "--gpu", "abacus"), ExitCode.REQUEST_INVALID, "h100-80g"),
        (("capacity", "--preset", "tiny", "--gpu", "a100-80g", "--precision", "fp8"), ExitCode.REQUEST_INVALID, "no fp8"),
        (("capacity", "--preset", "tiny", "--gpu", "h100-80g", "--precision", "int1"), ExitCode.REQUEST_INVALID, "bf16 or fp8"),
        (("capacity", "--preset", "huge", "--gpu", "h100-80g"), ExitCode.REQUEST_INVALID, "unknown preset"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    hidden: Preset, call: Call, arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    result = call(*arguments, "--json")
    assert result.exit_code == code
    assert words in json.loads(result.stdout)["error"]["message"]


def test_capacity_says_that_it_is_computed(call: Call) -> None:
    words = call("capacity", "--preset", "tiny", "--gpu", "rtx4090-24g").stdout
    assert words.startswith("Computed") and "nothing here was measured" in words
    for part in ("understanding", "connector", "denoiser", "codec", "together on one card", "making room"):
        assert part in words
    document = json.loads(call("capacity", "--preset", "tiny", "--gpu", "h100-80g", "--count", "3", "--json").stdout)
    assert document["computed"] and not document["measured"]
    assert {need["stage"] for needs in document["stages"].values() for need in needs} == {
        "understanding", "connector", "denoiser", "codec",
    }  # fmt: skip
