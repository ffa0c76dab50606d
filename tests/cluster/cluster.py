"""`vogue serve` as a child process, as a user starts it, and the jobs of these tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from vogue.schemas.jobs import EventKind, Job, JobEvent

SERVICES = {"Understanding", "Connector", "Denoiser", "Codec", "Orchestrator", "Gateway"}
LONG = {"instruction": "a red star", "steps": 64, "height_px": 64, "width_px": 64, "num_frames": 9, "seed": 1}


def parents() -> dict[int, int]:
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(stat.parent.name)] = int(fields[1])
    return found


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    known, members = parents(), {pid}
    while more := {child for child, parent in known.items() if parent in members} - members:
        members |= more
    return members & known.keys()


class Server:
    """`vogue serve` as a child process."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.start_again()

    def start_again(self) -> None:
        """A new process on the same state."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {"logs": {"format": "json", "folder": str(self.state_dir / "logs")}}
        document = {"applications": [{"name": "vogue", "args": settings}]}
        (self.state_dir / "serve.yaml").write_text(yaml.safe_dump(document))
        arguments = ["serve", "--preset", "tiny", "--port", str(port), "--state-dir", str(self.state_dir)]
        arguments += ["--config", str(self.state_dir / "serve.yaml")]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        with (self.state_dir / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vogue.cli", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("ready: "), (self.state_dir / "log").read_text()[-4000:]
        self.url = said.split()[1]

    def logged(self) -> list[dict[str, Any]]:
        """What all services have written."""
        files = (self.state_dir / "logs").glob("*.log")
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    def pids(self) -> dict[str, int]:
        """Process ids of the replicas, by deployment."""
        found = {}
        for pid in family(self.process.pid):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
            if title.startswith("ray::ServeReplica:vogue:"):
                found[title.split(":")[4].split(".")[0].strip("\0 ")] = pid
        return found

    def stop(self) -> None:
        """As an operator stops it."""
        members = family(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0, (self.state_dir / "log").read_text()[-4000:]
        wait_until(lambda: not members & parents().keys())
        self._close()

    def kill(self) -> None:
        """As a power cut stops it."""
        for pid in family(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)
        self._close()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_until(done: Any, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/jobs", json=LONG | fields)
    assert answer.status_code == 201, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def events(client: httpx.Client, job_id: str, after: int = 0) -> Iterator[JobEvent]:
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)}) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield JobEvent.model_validate_json(line.removeprefix("data: "))


def finish(client: httpx.Client, job_id: str) -> tuple[Job, list[JobEvent]]:
    told = list(events(client, job_id))
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    return Job.model_validate_json(client.get(f"/v1/jobs/{job_id}").content), told


def until_step(client: httpx.Client, job_id: str, step: int) -> None:
    for event in events(client, job_id):
        if event.kind is EventKind.STEP and event.steps_done >= step:
            return
    pytest.fail("the job was over before it was reached")
