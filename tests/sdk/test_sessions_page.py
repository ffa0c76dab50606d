"""The page about conversations: its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vogue.cli.app import build_app
from vogue.testing import FakeServer

from ..pages import blocks


def _examples(repository: Path, language: str) -> list[str]:
    page = (repository / "docs" / "sessions.md").read_text(encoding="utf-8")
    return blocks(page, language)


@pytest.mark.parametrize("index", [0, 1])
def test_python(
    index: int, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer()
    with server.listen() as url:
        monkeypatch.setenv("VOGUE_SERVER", url)
        exec(compile(_examples(repository, "python")[index], "sessions.md", "exec"), {})
    assert capsys.readouterr().out
    if index == 0:
        told = [[(one.tag, one.role.value) for one in request.visuals] for request in server.requests]
        assert told[1] == [("video1", "source")] and told[2] == [] and len(told[3]) == 2 and told[4] == told[1]
        assert server.requests[4].seed == 7


def test_commands(repository: Path) -> None:
    app = build_app()
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups if isinstance(group.name, str)}
    lines = [line for example in _examples(repository, "sh") for line in example.splitlines()]
    called = [match[1] for line in lines if (match := re.search(r"\bvogue (\w+)", line))]
    assert called and set(called) <= known
