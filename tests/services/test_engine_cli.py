"""`vogue engine` as a user meets it: what is built, what is wrong with it, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml  # type: ignore[import-untyped]
from typer.testing import CliRunner, Result

from vogue.cli import build_app
from vogue.cli.exits import ExitCode
from vogue.engines.compiled.signatures import Network
from vogue.engines.compiled.store import builds_in, new_build
from vogue.schemas.engines import EngineSetting, OnnxRuntimeSpec, TorchSpec
from vogue.services.config import AppConfig

Call = Callable[..., Result]
FACTS = {"precision": "fp32", "weights": "a" * 64}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(build_app(), ["engine", *arguments])

    return run


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / ".vogue" / "engines"
    with new_build(folder, "trial", Network.MMDIT, "tensorrt", FACTS) as (scratch, _):
        (scratch / "engine.plan").write_bytes(b"plan")
    return folder


def _document(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_an_empty_folder_says_what_to_run(call: Call) -> None:
    result = call("list")
    assert result.exit_code == ExitCode.OK
    assert "vogue engine build" in result.stdout


@pytest.mark.usefixtures("built")
def test_list_and_verify(call: Call) -> None:
    assert "trial" in call("list").stdout
    (one,) = _document(call("list", "--json"))["builds"]
    assert one["network"] == "mmdit"
    assert one["bytes"] == 4
    assert _document(call("verify", "--json"))["builds"] == 1


def test_verify_names_what_was_changed(call: Call, built: Path) -> None:
    (build,) = builds_in(built)
    (build.folder / "engine.plan").write_bytes(b"else")
    result = call("verify", "--json")
    assert result.exit_code != ExitCode.OK
    error = _document(result)["error"]
    assert error["code"] == "engine_not_built"
    assert "engine.plan was changed" in error["message"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_plain_tensorrt_without_a_gpu_says_what_it_needs(call: Call) -> None:
    for extra in ([], ["--target", "sm90"]):
        result = call("build", "--preset", "tiny", "--engine", "tensorrt", *extra, "--json")
        error = _document(result)["error"]
        assert error["code"] == "engine_not_built"
        assert "NVIDIA GPU" in error["message"]


def test_targets_belong_to_tensorrt(call: Call) -> None:
    result = call("build", "--preset", "tiny", "--target", "sm89", "--json")
    assert _document(result)["error"]["code"] == "request_invalid"


def test_bench_without_a_build_says_what_to_run(call: Call) -> None:
    result = call("bench", "--preset", "tiny", "--rounds", "1", "--json")
    assert "vogue engine build --preset tiny" in _document(result)["error"]["message"]


def test_bench_measures_torch(call: Call) -> None:
    result = call("bench", "--preset", "tiny", "--engine", "torch", "--engine", "torch", "--rounds", "2", "--json")
    one, other = _document(result)["engines"]
    assert one["identity"] == other["identity"] == f"torch-{torch.__version__}-cpu"
    assert one["median_s"] > 0
    assert other["apart"] == 0.0


def test_a_still_decoder_is_built_and_found_again(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import vogue.services.engine_cli as engine_cli

    monkeypatch.setattr(engine_cli, "_networks", lambda _: [Network.DECODER_STILL])
    (one,) = _document(call("build", "--preset", "tiny", "--json"))["builds"]
    assert Path(one["folder"], "model.onnx").is_file()
    (again,) = _document(call("build", "--preset", "tiny", "--json"))["builds"]
    assert again == one
    assert _document(call("verify", "--json"))["builds"] == 1


def test_the_setting_of_the_page_is_one(repository: Path) -> None:
    page = (repository / "docs" / "engines.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    (application,) = example["applications"]
    config = AppConfig.model_validate(application["args"])
    assert config.engines.denoiser == EngineSetting(engine=OnnxRuntimeSpec(), fallback=TorchSpec())
    assert config.engines.decoder == EngineSetting()
