"""Every example of every page is run: here, or by a test that names the page; or the page says above it why not."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from vogue import Role, Vogue
from vogue.cli import build_app
from vogue.schemas.errors import error_from_body
from vogue.schemas.recipes import RECIPE_KEYWORD, Recipe, RecipeInput, dump_recipe
from vogue.schemas.references import MediaKind
from vogue.testing import FakeServer

from ..pages import parse

ELSEWHERE = {
    ("README.md", "python"): "tests/sdk/test_readme.py",
    ("README.md", "sh"): "tests/sdk/test_readme.py",
    ("docs/agents.md", "json"): "tests/sdk/test_agents_page.py",
    ("docs/agents.md", "python"): "tests/sdk/test_agents_page.py",
    ("docs/agents.md", "text"): "tests/sdk/test_agents_page.py",
    ("docs/openai.md", "python"): "tests/services/openai_api/test_documentation.py",
    ("docs/released-weights.md", "sh"): "tests/services/test_released_page.py",
    **{("docs/security.md", language): "tests/services/test_security_page.py" for language in ("python", "sh", "yaml")},
    ("docs/sessions.md", "python"): "tests/sdk/test_sessions_page.py",
}
FAKE = ("docs/sdk.md", "docs/sessions.md", "docs/thinking.md")
LIVE = ("docs/http.md", "docs/operator.md")
HOST = "http://127.0.0.1:8000"

_BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = re.compile(r"\b(upload|asset|job|session)_[A-Za-z0-9_-]{16,64}")


class Block(NamedTuple):
    """A fenced part of a page."""

    page: str
    language: str
    text: str
    excuse: str


def _blocks(repository: Path) -> Iterator[Block]:
    pages = [repository / "README.md", *(repository / "docs").glob("*.md"), *(repository / "deploy").glob("*.md")]
    for path in sorted(pages):
        for found in _BLOCK.finditer(path.read_text(encoding="utf-8")):
            yield Block(str(path.relative_to(repository)), found[2], found[3], found[1] or "")


def _commands(text: str) -> Iterator[str]:
    """The commands of a shell example, of which one may go over several lines."""
    command = ""
    for line in text.splitlines():
        command += line + "\n"
        try:
            words = shlex.split(command, comments=True)
        except ValueError:
            continue  # a quotation goes on
        if words:
            yield command
        command = ""
    assert not command.strip(), f"a quotation is left open: {command}"


def test_every_example_is_run_or_says_why_not(repository: Path) -> None:
    blocks = list(_blocks(repository))
    assert len(blocks) > 40
    unclaimed = [
        f"{block.page} {block.language}: {block.text[:60]!r}"
        for block in blocks
        # A block without a language is a drawing.
        if block.language
        and not block.excuse
        and (block.page, block.language) not in ELSEWHERE
        and block.page not in (*FAKE, *LIVE)
        and not _read_by(repository, block.page)
    ]
    assert not unclaimed, "\n".join(unclaimed)
    assert all(len(block.excuse) > 20 for block in blocks if block.excuse)


def _read_by(repository: Path, page: str) -> list[str]:
    """Tests of a page that is not in the table above."""
    if page in {one for one, _ in ELSEWHERE}:
        return []
    tests = (path for path in (repository / "tests").rglob("test_*.py") if path != Path(__file__))
    return [path.name for path in tests if Path(page).name in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(("page", "language"), ELSEWHERE)
def test_the_tests_that_are_said_to_run_a_page_read_it(repository: Path, page: str, language: str) -> None:
    assert Path(page).name in (repository / ELSEWHERE[page, language]).read_text(encoding="utf-8")
    assert any(block.language == language for block in _blocks(repository) if block.page == page)


def test_what_is_not_run_could_be(repository: Path) -> None:
    """Commands of ours that take too long here at least exist, with these options."""
    for block in _blocks(repository):
        if not block.excuse or block.language != "sh":
            continue
        for words in (shlex.split(command, comments=True) for command in _commands(block.text)):
            if words[0] == "vogue":
                parse(words[1:])
            elif words[:2] == ["python", "-m"]:
                assert find_spec(words[2]) is not None, words


class Reader:
    """Somebody who follows a page from its first line to its last, in one shell and one Python."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.names: dict[str, Any] = {"__name__": "page"}
        self.variables: dict[str, str] = {}
        self.seen: dict[str, str] = {}

    def read(self, block: Block) -> None:
        """Do what a block says."""
        if block.language == "python":
            exec(compile(self._here(block.text), block.page, "exec"), self.names)
        elif block.language == "sh":
            for command in _commands(block.text):
                self._run(command)
        elif block.language == "yaml":
            from vogue.services.config import AppConfig

            AppConfig.model_validate(yaml.safe_load(block.text))
        else:
            assert block.language == "json", f"{block.page}: who reads {block.language}?"
            self.names["shown"] = json.loads(block.text)

    def _here(self, text: str) -> str:
        text = text.replace(HOST, self.url)
        for kind, one in self.seen.items():
            text = text.replace(f"{kind}_…", one)
        for name, value in self.variables.items():
            text = text.replace(f"${name}", value)
        return text

    def _run(self, command: str) -> None:
        command = self._here(command).strip()
        kept = re.fullmatch(r"([A-Z]+)=\$\((.*)\)", command)
        words = shlex.split(kept[2] if kept is not None else command, comments=True)
        if words[0] == "vogue":
            result = CliRunner().invoke(build_app(), words[1:])
            code, said, out = result.exit_code, result.output, result.stdout
        else:
            assert words[0] == "curl", f"who runs {words[0]}?"
            done = subprocess.run(words, capture_output=True, text=True, timeout=120)
            code, said, out = done.returncode, done.stdout + done.stderr, done.stdout
        assert code == 0 and '"error": {' not in out, f"{command}\n{said}"
        self.seen |= {found[1]: found[0] for found in _ID.finditer(said)}
        if kept is not None:
            self.variables[kept[1]] = out.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader works, with the files that pages speak of."""
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "clean.png", "drawn.png", "star.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def _follow(repository: Path, page: str, reader: Reader) -> list[Block]:
    blocks = [block for block in _blocks(repository) if block.page == page and not block.excuse]
    for block in blocks:
        if (page, block.language) not in ELSEWHERE:
            reader.read(block)
    return blocks


@pytest.mark.parametrize("page", FAKE)
def test_pages_for_users(repository: Path, folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    with server.client() as vogue:
        server.stage.result = _delivered(vogue)
    with server.listen() as url:
        monkeypatch.setenv("VOGUE_SERVER", url)
        reader = Reader(url)
        with Vogue() as vogue:
            if page == "docs/thinking.md":
                reader.names["vogue"] = vogue
            assert _follow(repository, page, reader)
    assert server.requests


def _delivered(vogue: Vogue) -> bytes:
    """A file with a recipe, as servers make them."""
    spec, held = vogue.generate("a star").wait().job.spec, vogue.upload(b"a star", "star.mp4")
    source = RecipeInput(tag="video1", role=Role.SOURCE, kind=MediaKind.VIDEO, asset_id=held.id)
    chunks, file = PngInfo(), BytesIO()
    chunks.add_itxt(RECIPE_KEYWORD, dump_recipe(Recipe(spec=spec, inputs=(source,))))
    Image.new("RGB", (32, 32)).save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


@pytest.mark.parametrize("page", LIVE)
def test_pages_for_whoever_is_close_to_the_server(
    repository: Path, folder: Path, live: Any, clip: bytes, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOGUE_SERVER", live.url)
    (folder / "star.mp4").write_bytes(clip)
    (folder / "logs").mkdir()
    reader = Reader(live.url)
    assert _follow(repository, page, reader)
    if page == "docs/http.md":
        assert (folder / "blue.mp4").read_bytes()
        assert error_from_body(reader.names["shown"], 400).body() == reader.names["shown"]


def test_the_table_of_metrics_is_the_catalogue(repository: Path) -> None:
    from vogue.services.metrics import METERS

    page = (repository / "docs" / "operator.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(vogue_\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() == METERS.metrics.keys()
    for name, told in rows.items():
        assert all(f"`{label}`" in told for label in METERS.metrics[name].labels), name


def test_the_line_of_the_log_that_is_shown_is_one(repository: Path) -> None:
    import logging

    from vogue.services.logs import JsonFormatter

    (shown,) = [
        json.loads(block.text)
        for block in _blocks(repository)
        if block.page == "docs/operator.md" and block.language == "json"
    ]
    record = logging.LogRecord(shown["logger"], logging.INFO, "x", 1, "%s took %.3f s", ("codec.decode", 0.214), None)
    record.created, record.msecs = time.time(), 125.0
    vars(record).update(operation="codec.decode", job_id=shown["job_id"])
    told = json.loads(JsonFormatter("codec").format(record))
    assert told | {"time": shown["time"]} == shown
