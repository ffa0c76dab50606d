"""The children we start: bounded in time, memory and output, and dead when we are told to stop."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from vogue.engines.media import Container, MediaLimits, read_video
from vogue.engines.media import ffmpeg as ffmpeg_module
from vogue.engines.media.ffmpeg import decode_arguments, encode_arguments, failure, find_binary, last_line
from vogue.engines.media.orientation import UPRIGHT
from vogue.engines.media.process import Outcome, run_limited
from vogue.engines.media.samples import write_sample
from vogue.schemas.errors import EngineError, JobCancelled, LimitExceeded, MediaUnreadable


def _python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def test_stdin_and_stdout_pass_through() -> None:
    into = bytearray(100)
    code = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    outcome = run_limited(
        _python(code), MediaLimits(), feed=[memoryview(b"vo"), memoryview(b"gue")], into=memoryview(into)
    )
    assert (outcome.returncode, outcome.stopped) == (0, None)
    assert into[: outcome.bytes_read] == b"VOGUE"


def test_time_is_limited() -> None:
    outcome = run_limited(_python("import time; time.sleep(600)"), MediaLimits(wall_time_s=0.2))
    assert outcome.stopped == "deadline" and outcome.returncode == -9


def test_output_is_limited() -> None:
    endless = "import sys\nwhile True: sys.stdout.write('x' * 4096)"
    outcome = run_limited(_python(endless), MediaLimits(), into=memoryview(bytearray(1000)))
    assert outcome.stopped == "output" and outcome.bytes_read == 1000


def test_memory_is_limited() -> None:
    outcome = run_limited(_python("bytearray(10**9)"), MediaLimits(memory_bytes=400_000_000))
    assert outcome.returncode != 0 and "MemoryError" in outcome.stderr
    assert isinstance(failure(outcome, MediaLimits(), "reading"), LimitExceeded)


def test_written_files_are_limited(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'big')!r}, 'wb').write(bytes(100_000))"
    outcome = run_limited(_python(code), MediaLimits(max_output_bytes=10_000))
    assert outcome.returncode != 0
    assert (tmp_path / "big").stat().st_size <= 10_000
    assert isinstance(failure(outcome, MediaLimits(), "writing"), LimitExceeded)


def test_cancel_kills_the_whole_group(tmp_path: Path) -> None:
    """The grandchild holds our pipe open: the call can only return when it is dead too."""
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    cancel = threading.Event()
    waiter = threading.Thread(target=lambda: (fifo.read_bytes(), cancel.set()))
    waiter.start()
    script = f"sleep 600 & echo up > '{fifo}'; wait"
    outcome = run_limited(["/bin/sh", "-c", script], MediaLimits(), into=memoryview(bytearray(10)), cancel=cancel)
    waiter.join()
    assert outcome.stopped == "cancel"


def test_an_interrupted_feed_leaves_no_child() -> None:
    def feed():
        yield memoryview(b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_limited(_python("import time; time.sleep(600)"), MediaLimits(), feed=feed())


def test_children_get_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFREPORT", "file=/tmp/leak.log")
    monkeypatch.setenv("HTTP_PROXY", "http://example.org")
    into = bytearray(1000)
    outcome = run_limited(_python("import os; print(sorted(os.environ))"), MediaLimits(), into=memoryview(into))
    assert b"FFREPORT" not in into[: outcome.bytes_read] and b"PROXY" not in into[: outcome.bytes_read]


def test_a_noisy_child_does_not_block() -> None:
    outcome = run_limited(_python("import sys; sys.stderr.write('x' * 10**6 + 'end')"), MediaLimits())
    assert outcome.returncode == 0 and outcome.stderr.endswith("end") and len(outcome.stderr) <= 8192


def test_decoding_can_be_cancelled(tmp_path: Path, ffmpeg_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(JobCancelled):
        read_video(write_sample("clip.mp4", tmp_path), max_frames=8, cancel=cancel)


def test_every_input_is_fenced(tmp_path: Path, ffmpeg_path: Path) -> None:
    name = str(tmp_path / "a b.mp4")
    arguments = decode_arguments(
        Path(name),
        Container.MP4,
        orientation=UPRIGHT,
        height_px=8,
        width_px=8,
        num_frames=1,
        start=0,
        stride=1,
        limits=MediaLimits(),
    )
    assert "-nostdin" in arguments
    at = arguments.index("-i")
    before = arguments[:at]
    assert before[before.index("-f") + 1] == "mov"
    assert before[before.index("-protocol_whitelist") + 1] == "file"
    assert arguments[at + 1] == f"file:{name}"
    sound = (Path(name), Container.WEBM, 0.0, 1.0)
    arguments = encode_arguments(tmp_path / "o.mp4", ".mp4", height_px=8, width_px=8, fps=24, audio=sound)
    assert arguments.count("-protocol_whitelist") == arguments.count("-i") == 2
    assert {"rawvideo", "matroska", "pipe", "file"} <= set(arguments)


def test_messages_do_not_show_this_machine() -> None:
    stderr = (
        "[mov @ 0x55d0c0] first\n[in#0 @ 0x1f] Error opening input file file:/srv/secret/up load.mp4: Invalid data\n"
    )
    assert last_line(stderr).startswith("Error opening input file the file")
    assert "secret" not in last_line(stderr) and "0x" not in last_line(stderr)
    assert last_line("") == "no message"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(-9, 0, "", "cancel"), JobCancelled),
        (Outcome(-9, 0, "", "deadline"), LimitExceeded),
        (Outcome(-24, 0, ""), LimitExceeded),
        (Outcome(-25, 0, ""), LimitExceeded),
        (Outcome(1, 0, "x: Cannot allocate memory"), LimitExceeded),
        (Outcome(-11, 0, ""), MediaUnreadable),
        (Outcome(1, 0, "Invalid data found"), MediaUnreadable),
    ],
)
def test_each_end_has_its_error(outcome: Outcome, error: type[Exception]) -> None:
    assert type(failure(outcome, MediaLimits(), "decoding", param="p")) is error


def test_without_ffmpeg_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOGUE_FFMPEG", "/nowhere/ffmpeg")
    monkeypatch.setattr(ffmpeg_module.shutil, "which", lambda _: None)
    monkeypatch.setattr(ffmpeg_module, "_wheel_binary", lambda: None)
    find_binary.cache_clear()
    try:
        with pytest.raises(EngineError, match=r"/nowhere/ffmpeg \(does not run\).*imageio-ffmpeg"):
            find_binary()
    finally:
        find_binary.cache_clear()


@pytest.mark.parametrize(
    ("version", "option"),
    [
        ("libavcodec     62. 28.102", "fps_mode"),
        ("libavcodec     59. 37.100", "fps_mode"),
        ("libavcodec     58. 54.100", "vsync"),
    ],
)
def test_old_and_new_ffmpeg_are_asked_in_their_own_words(version: str, option: str) -> None:
    assert ffmpeg_module._passthrough(version) == (option, "passthrough")
