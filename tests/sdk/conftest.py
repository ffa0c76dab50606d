"""A server on a real port: the HTTP interface and the orchestrator as they are, with fake or tiny engines behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from vogue.graph.state import Ports
from vogue.schemas.presets import get_preset
from vogue.services.blobs import BlobStore
from vogue.services.config import AppConfig
from vogue.services.denoiser import DenoiserService
from vogue.services.fakes import FakeLoop, fake_ports, netpbm
from vogue.services.step_loop import StepLoop

from ..live import Engines, gateway, on_a_port
from .mcp_worlds import World, world_of


@dataclass
class LiveServer:
    """Where it listens, and a gate that every job passes after its first step."""

    url: str
    gate: threading.Event


class _Gated:
    """A step loop with a gate before every job's second step."""

    def __init__(self, loop: StepLoop, gate: threading.Event) -> None:
        self.open = loop.open
        self._loop, self._gate = loop, gate

    def tick(self, jobs: Sequence[Any]) -> None:
        if any(job.steps_done for job in jobs):
            assert self._gate.wait(60)
        self._loop.tick(jobs)


def _fake_engines(state_dir: Path, gate: threading.Event) -> Engines:
    """Fakes, which can all that weights may have learnt."""
    preset = get_preset("tiny").model_copy(update={"can_plan": True, "can_review": True})
    blobs = BlobStore(state_dir / "store")
    denoiser = DenoiserService(_Gated(FakeLoop(blobs), gate), blobs)
    return Engines(preset, blobs, replace(fake_ports(preset, blobs), denoiser=denoiser), denoiser.close)


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
    ports = Ports(understanding, connector, denoiser, CodecService.load(place))
    return Engines(place.preset, place.blobs, ports, denoiser.close)


MakeEngines = Callable[[Path, threading.Event], Engines]


@contextmanager
def _serving(state_dir: Path, make: MakeEngines) -> Iterator[LiveServer]:
    gate = threading.Event()
    gate.set()

    def gated() -> AbstractAsyncContextManager[FastAPI]:
        return gateway(state_dir, make(state_dir, gate), gate.set)

    with on_a_port(gated) as url:
        yield LiveServer(url, gate)


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


@pytest.fixture(params=["stdio", "http", "http, handshake"])
def world(request: pytest.FixtureRequest, live: LiveServer, tmp_path: Path, clip: bytes) -> World:
    """The MCP server by each transport in turn, and a file that only stdio may read."""
    root = tmp_path / "clips"
    root.mkdir()
    (root / "clip.pam").write_bytes(clip)
    return world_of(request.param, live, root)
