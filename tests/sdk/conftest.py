"""A server on a real port: the HTTP interface and the orchestrator as they are, with fake engines behind them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from vogue.schemas.presets import get_preset
from vogue.schemas.stages import DenoiseJob, LatentCheckpoint
from vogue.services.blobs import BlobStore
from vogue.services.config import OrchestratorConfig
from vogue.services.database import Database
from vogue.services.denoiser import DenoiserService, Latents, StepLoop
from vogue.services.fakes import fake_loop, fake_ports, netpbm
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService


@dataclass
class LiveServer:
    """Where it listens, and a gate that every job passes after its first step."""

    url: str
    gate: threading.Event


async def _ready() -> dict[str, bool]:
    return {"everything": True}


def _gated(loop: StepLoop, gate: threading.Event) -> StepLoop:
    def through_gate(job: DenoiseJob, resume_from: LatentCheckpoint | None) -> Iterator[tuple[int, Latents]]:
        for step in loop(job, resume_from):
            yield step
            assert gate.wait(60)

    return through_gate


async def _serve(state_dir: Path, listening: socket.socket, gate: threading.Event, stop: asyncio.Event) -> None:
    # The fakes can all that weights may have learnt.
    preset = get_preset("tiny").model_copy(update={"can_plan": True, "can_review": True})
    blobs = BlobStore(state_dir / "store")
    denoiser = DenoiserService(_gated(fake_loop(blobs), gate), blobs)
    ports = replace(fake_ports(preset, blobs), denoiser=denoiser)
    orchestrator = OrchestratorService(
        Database(state_dir / "jobs.sqlite"), blobs, ports, preset, OrchestratorConfig(max_running_jobs=4)
    )
    await orchestrator.start()
    app = build_http(orchestrator, _ready, blobs, preset)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await stop.wait()
    server.should_exit = True
    await serving
    gate.set()
    await orchestrator.close()
    await denoiser.close()
    # The library behind MCP's event streams leaves a task to each event loop.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of one test module."""
    listening = socket.create_server(("127.0.0.1", 0))
    gate, stop = threading.Event(), asyncio.Event()
    gate.set()
    loop = asyncio.new_event_loop()
    work = _serve(tmp_path_factory.mktemp("live"), listening, gate, stop)
    thread = threading.Thread(target=loop.run_until_complete, args=(work,))
    thread.start()
    yield LiveServer(f"http://127.0.0.1:{listening.getsockname()[1]}", gate)
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()
    listening.close()


@pytest.fixture
def clip() -> bytes:
    """Five frames that the fake codec reads."""
    return netpbm(np.arange(5 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(5, 32, 32, 3))
