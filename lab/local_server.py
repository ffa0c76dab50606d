"""A VOGUE server of one's own, for as long as a `with` block lasts: started as a user starts it, stopped whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vogue import ServiceError, Vogue, VogueError

__all__ = ["free_port", "local_server", "stop_group"]

# Six processes import torch; on a slow disk or a busy machine that takes its time.
READY_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 90.0
_POLL_S = 0.5


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def local_server(
    folder: Path, *, preset: str = "mini", on_wait: Callable[[float], None] = lambda _: None
) -> Iterator[str]:
    """Run `vogue serve` on a free port, with its state and its log in `folder`.

    Args:
        on_wait: called about twice a second until the server is ready, with the seconds waited.

    Yields:
        The server's URL, once it takes jobs.

    Raises:
        ServiceError: it does not come up; the message quotes the end of its log.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "vogue.cli", "serve", "--preset", preset, "--port", str(port)]
    command += ["--state-dir", str(folder / "state")]
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = _start(command, log)
        try:
            _until_ready(process, url, log_path, on_wait)
            yield url
        finally:
            stop_group(process)


def _start(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the server in order.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _until_ready(process: subprocess.Popen[bytes], url: str, log_path: Path, on_wait: Callable[[float], None]) -> None:
    began_s = time.monotonic()
    with Vogue(url) as client:
        while (waited_s := time.monotonic() - began_s) < READY_TIMEOUT_S:
            if process.poll() is not None:
                raise ServiceError(f"the server ended with code {process.returncode}:\n{_tail(log_path)}")
            try:
                if client.is_ready():
                    return
            except VogueError:
                pass  # not listening yet
            on_wait(waited_s)
            time.sleep(_POLL_S)
    raise ServiceError(f"the server was not ready after {READY_TIMEOUT_S:g} s:\n{_tail(log_path)}")


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end; if it does not, end it with everything it started in its session."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log_path: Path, lines: int = 20) -> str:
    text = log_path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"
