"""A server on a real port: the HTTP interface and the orchestrator as they are, with fake or tiny engines behind them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from vogue.graph.state import Ports
from vogue.schemas.config import Preset
from vogue.schemas.presets import get_preset
from vogue.services.blobs import BlobStore
from vogue.services.config import AppConfig, OrchestratorConfig
from vogue.services.database import Database
from vogue.services.denoiser import DenoiserService
from vogue.services.fakes import FakeLoop, fake_ports, netpbm
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService
from vogue.services.step_loop import StepLoop


@dataclass
class LiveServer:
    """Where it listens, and a gate that every job passes after its first step."""

    url: str
    gate: threading.Event


async def _ready() -> dict[str, bool]:
    return {"everything": True}


class _Gated:
    """A step loop with a gate before every job's second step."""

    def __init__(self, loop: StepLoop, gate: threading.Event) -> None:
        self.open = loop.open
        self._loop, self._gate = loop, gate

    def tick(self, jobs: Sequence[Any]) -> None:
        if any(job.steps_done for job in jobs):
            assert self._gate.wait(60)
        self._loop.tick(jobs)


@dataclass
class Engines:
    """What a server works with."""

    preset: Preset
    blobs: BlobStore
    ports: Ports
    denoiser: DenoiserService


def _fake_engines(state_dir: Path, gate: threading.Event) -> Engines:
    """Fakes, which can all that weights may have learnt."""
    preset = get_preset("tiny").model_copy(update={"can_plan": True, "can_review": True})
    blobs = BlobStore(state_dir / "store")
    denoiser = DenoiserService(_Gated(FakeLoop(blobs), gate), blobs)
    return Engines(preset, blobs, replace(fake_ports(preset, blobs), denoiser=denoiser), denoiser)


def _tiny_engines(state_dir: Path, gate: threading.Event) -> Engines:
    """The real networks and the real codec, small and random."""
    from vogue.services.codec import CodecService
    from vogue.services.connector import ConnectorService
    from vogue.services.stepping import load_loop
    from vogue.services.understanding import UnderstandingService
    from vogue.services.workplace import Workplace

    place = Workplace(AppConfig(preset="tiny", state_dir=state_dir))
    denoiser = DenoiserService(_Gated(load_loop(place), gate), place.blobs)
    understanding, connector = UnderstandingService.load(place), ConnectorService.load(place)
    return Engines(
        place.preset, place.blobs, Ports(understanding, connector, denoiser, CodecService.load(place)), denoiser
    )


MakeEngines = Callable[[Path, threading.Event], Engines]


async def _serve(
    state_dir: Path,
    make: MakeEngines,
    listening: socket.socket,
    gate: threading.Event,
    stop: asyncio.Event,
    loaded: threading.Event,
) -> None:
    try:
        made = make(state_dir, gate)
    finally:
        loaded.set()
    orchestrator = OrchestratorService(
        Database(state_dir / "jobs.sqlite"), made.blobs, made.ports, made.preset, OrchestratorConfig(max_running_jobs=4)
    )
    await orchestrator.start()
    app = build_http(orchestrator, _ready, made.blobs, made.preset)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await stop.wait()
    server.should_exit = True
    await serving
    gate.set()
    await orchestrator.close()
    await made.denoiser.close()
    # The library behind MCP's event streams leaves a task to each event loop.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def _serving(state_dir: Path, make: MakeEngines) -> Iterator[LiveServer]:
    listening = socket.create_server(("127.0.0.1", 0))
    gate, stop, loaded = threading.Event(), asyncio.Event(), threading.Event()
    gate.set()
    loop = asyncio.new_event_loop()
    serving = _serve(state_dir, make, listening, gate, stop, loaded)
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    # Loading is the test's own time; a client waits a minute for an answer and no longer.
    loaded.wait()
    yield LiveServer(f"http://127.0.0.1:{listening.getsockname()[1]}", gate)
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()
    listening.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of one test module, on fakes."""
    with _serving(tmp_path_factory.mktemp("live"), _fake_engines) as server:
        yield server


@pytest.fixture(scope="module")
def live_tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of one test module, on real networks of the smallest size; it reads and writes real media."""
    with _serving(tmp_path_factory.mktemp("tiny"), _tiny_engines) as server:
        yield server


@pytest.fixture
def clip() -> bytes:
    """Five frames that the fake codec reads."""
    return netpbm(np.arange(5 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(5, 32, 32, 3))


@pytest.fixture
def star(tmp_path: Path) -> Path:
    """A real clip of five frames: a square on its way."""
    frames = [Image.new("RGB", (32, 32), (90, 60, 30)) for _ in range(5)]
    for index, frame in enumerate(frames):
        frame.paste((250, 220, 40), (4 * index, 8, 4 * index + 12, 20))
    frames[0].save(tmp_path / "star.gif", save_all=True, append_images=frames[1:], duration=125)
    return tmp_path / "star.gif"
