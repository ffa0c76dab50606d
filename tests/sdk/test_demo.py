"""The demo against the server in memory, and the care it takes of the server it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vogue import ServiceError, VogueError
from vogue.engines.media import read_image, read_video, write_video
from vogue.lab import demo, local_server
from vogue.lab.contact_sheet import Strip, contact_sheet, side_by_side
from vogue.schemas.errors import EngineError
from vogue.testing import FakeServer


@pytest.fixture
def server(tmp_path: Path, ffmpeg_path: Path) -> FakeServer:
    clip = np.zeros((5, 32, 32, 3), np.uint8)
    write_video(clip, 8, tmp_path / "made.mp4")
    return FakeServer(result=(tmp_path / "made.mp4").read_bytes(), media_type="video/mp4")


def test_the_demo_asks_for_three_clips(server: FakeServer, tmp_path: Path) -> None:
    with server.client() as client:
        strips = demo.make(client, tmp_path, Console(quiet=True), seed=1)
    assert len(strips) == 5
    asked = [(request.task, [visual.role for visual in request.visuals]) for request in server.requests]
    assert asked == [("t2v", []), (None, ["first_frame"]), (None, ["source"])]
    for name in ("text-to-video", "image-to-video", "edit", "source"):
        assert len(read_video(tmp_path / f"{name}.mp4", max_frames=99).frames) >= 5


def test_the_demo_ends_with_a_message_when_a_job_fails(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.stage.failure = EngineError("the tea went cold")
    monkeypatch.setattr(demo, "Vogue", lambda _: server.client())
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    assert demo.main(["--out", str(tmp_path / "out"), "--server", "http://fake.invalid"]) == 1
    assert "the tea went cold" in capsys.readouterr().out


def test_the_demo_shows_what_it_made(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "Vogue", lambda _: server.client())
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    assert demo.main(["--out", str(tmp_path / "out"), "--server", "http://fake.invalid"]) == 0
    assert str(tmp_path / "out" / "contact-sheet.png") in capsys.readouterr().out
    assert read_image(tmp_path / "out" / "contact-sheet.png").shape[2] == 3
    assert len(read_video(tmp_path / "out" / "demo.gif", max_frames=99).frames) >= 17


def test_strips_of_any_size_fit() -> None:
    strips = [
        Strip("a very long title " * 20, np.zeros((17, 64, 64, 3), np.uint8)),
        Strip("", np.full((1, 300, 40, 3), 255, np.uint8)),
        Strip("wide", np.full((3, 7, 500, 3), 128, np.uint8)),
    ]
    assert contact_sheet(strips).dtype == np.uint8
    assert side_by_side(strips).shape[0] == 17


def test_a_server_that_does_not_come_up_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(command: list[str], log: object) -> subprocess.Popen[bytes]:
        script = "import sys; sys.exit('no port is free')"
        return subprocess.Popen([sys.executable, "-c", script], stderr=log, start_new_session=True)  # type: ignore[arg-type]

    monkeypatch.setattr(local_server, "_start", start)
    with pytest.raises(ServiceError, match="no port is free"), local_server.local_server(tmp_path):
        raise AssertionError("it must not yield")


def test_a_server_that_will_not_stop_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    with process:
        if process.stdout is None:
            raise VogueError("the process has no output")
        assert int(process.stdout.readline()) > 0
        monkeypatch.setattr(local_server, "STOP_TIMEOUT_S", 0.2)
        local_server.stop_group(process)
        assert process.returncode == -9
        # Its pipe closes only when the child is gone as well: both hold it.
        assert process.stdout.read() == b""


def test_ports_are_free() -> None:
    assert local_server.free_port() != 0
