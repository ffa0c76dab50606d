"""The examples of docs/openai.md, one after the other, as a reader would run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_the_examples_run(
    live: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (repository / "docs" / "openai.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 8
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example.replace("http://127.0.0.1:8000", live.url), "docs/openai.md", "exec"), names)
    names["client"].close()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "completed 100 0.5 48x32"
    assert said[1] == "True"
    assert said[2] == "failed"
    assert said[3] == "i+v2v_edit 7"
    assert said[4] == "2 32x32"
    assert said[5] == "1 visuals"
    assert said[6].startswith("![Draw a red star](http")
    assert said[7].startswith("![make it blue](http")
    assert "True" in said[7]
    assert said[8].startswith("shape_unsupported size")
    assert "[1, 5, 9] 1 64" in said[9]
    assert (tmp_path / "star.mp4").read_bytes()[4:8] == b"ftyp"
