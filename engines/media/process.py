"""Run a program on a stranger's file: its own process group, an argument list, and limits on everything it can use up.

Knows nothing about media. Both children of this room, ffmpeg and the probe, start here.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from vogue.schemas.errors import EngineError

from .limits import MediaLimits

__all__ = ["Outcome", "run_limited"]

_LAUNCHER = Path(__file__).with_name("limited.py")
_STDERR_BYTES = 8192
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended."""

    returncode: int
    """Negative: the signal that killed it."""
    bytes_read: int
    """Bytes of its stdout that were stored."""
    stderr: str
    """The last kilobytes of its stderr."""
    stopped: Literal["deadline", "cancel", "output"] | None = None
    """Why we killed it, if we did."""


def run_limited(
    arguments: Sequence[str],
    limits: MediaLimits,
    *,
    feed: Iterable[memoryview] | None = None,
    into: memoryview | None = None,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Run `arguments` to its end, feeding stdin from `feed` and storing stdout in `into`.

    Output past the length of `into` is never read: the child is killed and `stopped` is `"output"`. The whole process
    group dies at the deadline, when `cancel` is set (within some milliseconds), and when this call is interrupted.
    Child environment: a clean one, so that no `FFREPORT` or proxy setting of the server reaches it.

    Raises:
        EngineError: the program cannot be started.
    """
    if cancel is not None and cancel.is_set():
        return Outcome(-signal.SIGKILL, 0, "", "cancel")
    child = _start(arguments, limits, pipe_in=feed is not None, pipe_out=into is not None)
    keeper = _Keeper(child, limits.wall_time_s, cancel)
    try:
        if feed is not None and child.stdin is not None:
            _write(child.stdin, feed)
        count = 0
        if into is not None and child.stdout is not None:
            count = _read(child.stdout, into)
            if count == len(into) and child.stdout.read(1):
                keeper.stop("output")
        child.wait()
    finally:
        keeper.finish()
    # A child that ended before the watcher looked is cancelled all the same.
    stopped = keeper.stopped or ("cancel" if cancel is not None and cancel.is_set() else None)
    return Outcome(child.returncode, count, keeper.stderr, stopped)


def _start(arguments: Sequence[str], limits: MediaLimits, *, pipe_in: bool, pipe_out: bool) -> subprocess.Popen[bytes]:
    cpu_s = math.ceil(limits.wall_time_s * limits.threads) + 1
    bounds = [str(limits.memory_bytes), str(cpu_s), str(limits.max_output_bytes)]
    environment = {"LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCHER), *bounds, *arguments],
            stdin=subprocess.PIPE if pipe_in else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe_out else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"the media process cannot be started: {error.strerror}") from error


def _write(pipe: IO[bytes], feed: Iterable[memoryview]) -> None:
    # A child that ended early is judged by its exit status, not by our broken pipe.
    with contextlib.suppress(BrokenPipeError):
        for chunk in feed:
            pipe.write(chunk)
        pipe.flush()
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def _read(pipe: IO[bytes], into: memoryview) -> int:
    count = 0
    while count < len(into):
        step = pipe.readinto(into[count:])  # type: ignore[attr-defined]
        if not step:
            break
        count += step
    return count


class _Keeper:
    """Watches a child from two threads: one drains stderr, one kills at the deadline or on cancel."""

    def __init__(self, child: subprocess.Popen[bytes], wall_time_s: float, cancel: threading.Event | None) -> None:
        self.stopped: Literal["deadline", "cancel", "output"] | None = None
        self._child = child
        self._tail = b""
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._drain, daemon=True),
            threading.Thread(target=self._watch, args=(wall_time_s, cancel), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stderr(self) -> str:
        return self._tail.decode("utf-8", "replace")

    def stop(self, reason: Literal["deadline", "cancel", "output"]) -> None:
        if self._child.poll() is None:
            self.stopped = reason
            self._kill()

    def _kill(self) -> None:
        # A reaped child's number may belong to a stranger, so only a living child's group is signalled.
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Leave nothing behind: no process of the group, no thread, no open pipe."""
        self._done.set()
        self._kill()
        self._child.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _drain(self) -> None:
        pipe = self._child.stderr
        if pipe is None:
            return
        while chunk := pipe.read1(4096):  # type: ignore[attr-defined]
            self._tail = (self._tail + chunk)[-_STDERR_BYTES:]

    def _watch(self, wall_time_s: float, cancel: threading.Event | None) -> None:
        if cancel is None:
            if not self._done.wait(wall_time_s):
                self.stop("deadline")
            return
        deadline = time.monotonic() + wall_time_s
        while not self._done.wait(_POLL_S):
            if cancel.is_set() or time.monotonic() > deadline:
                self.stop("cancel" if cancel.is_set() else "deadline")
                return
