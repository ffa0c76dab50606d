"""docs/released-weights.md: its commands are run, in order, on files of the released layout at tiny width."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vogue.cli import build_app
from vogue.cli.session import Session
from vogue.engines.release.licences import LICENCES
from vogue.engines.release.rehearsal import narrow, write_released
from vogue.schemas.presets import PRESETS, get_preset
from vogue.services.local import read_config
from vogue.testing import FakeServer


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "released-weights.md").read_text(encoding="utf-8")


def _commands(page: str) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def test_its_commands_run_in_order(
    page: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = narrow(get_preset("univideo-hidden"))
    monkeypatch.setitem(PRESETS, preset.name, preset)
    monkeypatch.chdir(tmp_path)
    write_released(tmp_path / "downloads", preset)
    ran = []
    server = FakeServer()
    for name, *arguments in _commands(page):
        assert name == "vogue"
        if arguments[0] == "serve":
            # Serving wants two GPUs; that its configuration is read and understood is what can be shown here.
            assert read_config(repository / arguments[arguments.index("--config") + 1]).device == "cuda"
        else:
            session = Session(connect=lambda _: server.client())
            result = CliRunner().invoke(build_app(), arguments, obj=session)
            assert result.exit_code == 0, f"{arguments}: {result.output}"
        ran.append(" ".join(arguments[:2]))
    assert [command for command in dict.fromkeys(ran)] == [
        "weights import", "weights verify", "capacity --preset", "doctor --weights", "serve --config",
    ]  # fmt: skip


def test_it_names_every_licence_and_every_file(page: str, repository: Path) -> None:
    assert all(licence.source in page for licence in LICENCES)
    for name in re.findall(r"`((?:deploy|tests)/[\w./-]+)`", page):
        assert (repository / name).exists(), name
    assert "computed, not measured" in page
