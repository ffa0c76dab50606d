"""The README tells the truth: its commands parse, its files exist, its Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from vogue.schemas.errors import ShapeUnsupported, error_from_body
from vogue.testing import FakeServer

from ..pages import blocks, parse


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def test_its_command_linesparse(readme: str) -> None:
    lines = [line for block in blocks(readme, "sh") for line in block.splitlines() if line.startswith("vogue ")]
    assert len(lines) >= 10
    for line in lines:
        parse(shlex.split(line, comments=True)[1:])


def test_its_make_targets_exist(readme: str, repository: Path) -> None:
    targets = set(re.findall(r"^make (\w+)", "\n".join(blocks(readme, "sh")), re.MULTILINE))
    assert {"demo", "test"} <= targets
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


def test_the_files_it_names_exist(readme: str, repository: Path) -> None:
    named = set(re.findall(r"\]\(([\w/.-]+)\)", readme)) | set(re.findall(r"`([\w/]+\.(?:py|yaml))`", readme))
    missing = sorted(name for name in named if not (repository / name).exists())
    assert not missing


def test_its_python_runs(readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "star.mp4").write_bytes(b"a clip")
    server = FakeServer()
    monkeypatch.setattr("vogue.Vogue", server.client)
    for block in blocks(readme, "python"):
        exec(compile(block, "README.md", "exec"), {})
    assert [request.instruction for request in server.requests] == [
        "make the star blue",
        "now put it in the night",
        "a yellow star moves left",
        "now make it blue",
    ]
    assert (tmp_path / "blue.mp4").is_file() and (tmp_path / "star.mp4").read_bytes() != b"a clip"


def test_the_error_it_shows_is_real(repository: Path) -> None:
    import json

    shown = json.loads(blocks((repository / "docs" / "http.md").read_text(encoding="utf-8"), "json")[0])
    error = error_from_body(shown, 400)
    assert type(error) is ShapeUnsupported and error.body() == shown


def test_make_says_what_it_can_do(repository: Path) -> None:
    done = subprocess.run(["make", "help"], cwd=repository, capture_output=True, text=True, timeout=60, check=True)
    assert "demo" in done.stdout
