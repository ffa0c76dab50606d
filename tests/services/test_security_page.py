"""docs/security.md tells the truth: its commands and programs run against a server with keys, its tables are what there is."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from fastapi import FastAPI
from typer.testing import CliRunner

from vogue.cli import build_app
from vogue.schemas.access import Scope, TenantLimits
from vogue.schemas.errors import RequestInvalid
from vogue.services.config import AppConfig, KeysConfig, OrchestratorConfig
from vogue.services.keys.exposure import guarded

from ..live import on_a_port
from ..pages import blocks
from .keyed import keyed_gateway, keys_of


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "security.md").read_text(encoding="utf-8")


def _rows(page: str, head: str) -> list[list[str]]:
    lines = page[page.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines]


@asynccontextmanager
async def _gateway(state_dir: Path) -> AsyncIterator[FastAPI]:
    async with keyed_gateway(state_dir) as gateway:
        yield gateway.app


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with keys on a real port, and a key of the scope write in the environment; gives its URL."""
    state_dir = tmp_path / ".vogue"
    state_dir.mkdir()
    with on_a_port(lambda: _gateway(state_dir)) as url:
        with keys_of(state_dir) as keys:
            monkeypatch.setenv("VOGUE_API_KEY", keys.create("alice", Scope.WRITE)[1])
        monkeypatch.setenv("VOGUE_SERVER", url)
        monkeypatch.chdir(tmp_path)
        yield url


def test_the_commands_run(page: str, served: str) -> None:
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("vogue ")]
    assert len(commands) >= 5
    told = {}
    for line in commands:
        done = CliRunner().invoke(build_app(), shlex.split(line)[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{line}: {done.output}"
        told[line] = done.stdout
    assert "alice" in told["vogue keys list --state-dir .vogue"]
    assert json.loads(told["vogue me --json"])["key"]["name"] == "alice"
    assert json.loads(told["vogue forget --yes --json"])["num_jobs"] == 0


def test_the_program_runs(page: str, served: str, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks(page, "python")
    exec(compile(program, "security.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("alice write ") and second.startswith("invalid_api_key the API key is unknown")


def test_the_calls_with_curl_run(page: str, served: str, require: Any) -> None:
    require(shutil.which("curl") is not None, "there is no curl")
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("curl ")]
    answers = []
    for line in lines:
        command = line.replace("http://127.0.0.1:8000", served)
        answers.append(json.loads(subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout))
    assert answers[0]["key"]["name"] == "alice" and answers[1]["data"] == []


def test_the_configuration_is_one(page: str) -> None:
    (text,) = blocks(page, "yaml")
    config = AppConfig.model_validate(yaml.safe_load(text)["args"])
    assert config.keys.required and config.keys.limits.max_open_jobs == 4
    # Every field is shown, so that a new one is written about.
    assert set(KeysConfig.model_fields) == set(yaml.safe_load(text)["args"]["keys"])
    assert set(TenantLimits.model_fields) == set(yaml.safe_load(text)["args"]["keys"]["limits"])


def test_the_table_of_limits_has_the_defaults(page: str) -> None:
    shown = {name: float(value) for name, value, _ in _rows(page, "| `keys.limits` |")}
    assert shown == {name: float(value) for name, value in TenantLimits().model_dump().items()}
    assert OrchestratorConfig().blob_retention_s == 86_400


def test_the_table_of_scopes_has_all(page: str) -> None:
    assert [name for name, _ in _rows(page, "| scope |")] == [scope.value for scope in Scope]


def test_the_table_of_starts_is_what_happens(page: str, tmp_path: Path) -> None:
    with keys_of(tmp_path) as keys:
        keys.create("alice", Scope.WRITE)
    rows = _rows(page, "| listening on |")
    starts: list[tuple[str, tuple[str, ...]]] = [
        ("127.0.0.1", ()),
        ("127.0.0.1", ("vogue.example.com",)),
        ("0.0.0.0", ()),
    ]
    for row, (host, names) in zip(rows, starts, strict=True):
        for said, required in zip(row[1:], (None, False, True), strict=True):
            config = AppConfig(state_dir=tmp_path, hosts=names, keys=KeysConfig(required=required))
            if said.startswith("refused"):
                with pytest.raises(RequestInvalid):
                    guarded(config, host)
            else:
                assert guarded(config, host) is (not said.startswith("no keys")), (host, names, required)
