"""A server that really listens, on a port of this machine, and OpenAI's own clients in front of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import openai
import pytest
import uvicorn

from vogue.schemas.ports import Codec, Denoiser
from vogue.schemas.presets import get_preset
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint
from vogue.services.blobs import BlobStore
from vogue.services.config import OrchestratorConfig
from vogue.services.database import Database
from vogue.services.fakes import fake_ports
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService

T = TypeVar("T")


class Gate:
    """A denoiser whose jobs stop after their first step until the gate is opened."""

    def __init__(self, inner: Denoiser) -> None:
        self._inner = inner
        self.open = asyncio.Event()

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        await self._inner.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        async for event in self._inner.events(job_id, after):
            if event.steps_done > 1 and not self.open.is_set():
                await self.open.wait()
            yield event

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        await self._inner.cancel(job_id)


class Live:
    """The application behind uvicorn, in a thread with an event loop of its own."""

    def __init__(
        self, state_dir: Path, codec: tuple[BlobStore, Codec] | None = None, gated: bool = False, **settings: Any
    ) -> None:
        self.state_dir, self._codec, self._gated, self._settings = state_dir, codec, gated, settings
        self.orchestrator: OrchestratorService
        self.blobs: BlobStore
        self.gate: Gate | None = None
        self.url = ""
        self._clients: list[openai.OpenAI] = []
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._started.result(timeout=120)

    async def _serve(self) -> None:
        try:
            self._loop, preset = asyncio.get_running_loop(), get_preset("tiny")
            self.blobs = self._codec[0] if self._codec else BlobStore(self.state_dir / "store")
            ports = fake_ports(preset, self.blobs)
            if self._codec:
                ports = replace(ports, codec=self._codec[1])
            if self._gated:
                self.gate = Gate(ports.denoiser)
                ports = replace(ports, denoiser=self.gate)
            self.orchestrator = OrchestratorService(
                Database(self.state_dir / "jobs.sqlite"),
                self.blobs,
                ports,
                preset,
                OrchestratorConfig(**self._settings),
            )
            await self.orchestrator.start()

            async def readiness() -> dict[str, bool]:
                return {"orchestrator": True}

            app = build_http(self.orchestrator, readiness, self.blobs, preset)
            config = uvicorn.Config(
                app,
                host="127.0.0.1",
                port=0,
                lifespan="off",
                ws="none",
                log_level="warning",
                timeout_graceful_shutdown=1,
            )
            self._server = uvicorn.Server(config)
            self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started:
                await asyncio.sleep(0.01)
            port = self._server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            self._started.set_result(None)
            await serving
            await self.orchestrator.close()
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something on the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=120)

    def open_gate(self) -> None:
        """Let jobs go on."""
        assert self.gate is not None
        self._loop.call_soon_threadsafe(self.gate.open.set)

    def close(self) -> None:
        """Stop it, jobs and all."""
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join(timeout=60)

    def client(self, **options: Any) -> openai.OpenAI:
        """OpenAI's blocking client."""
        made = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", **{"max_retries": 0, **options})
        self._clients.append(made)
        return made

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """OpenAI's asynchronous client."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", **{"max_retries": 0, **options})


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_codec: tuple[BlobStore, Codec]) -> Iterator[Live]:
    """A server with the real codec, so that clips are clips and pictures pictures."""
    server = Live(tmp_path_factory.mktemp("live"), tiny_codec)
    yield server
    server.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """To start others, on fakes."""
    servers: list[Live] = []

    def begin(**settings: Any) -> Live:
        servers.append(Live(tmp_path, **settings))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def client(live: Live) -> openai.OpenAI:
    """OpenAI's own client."""
    return live.client()


@pytest.fixture(scope="session")
def png(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A picture of 48×32 pixels."""
    from vogue.engines.media import write_image

    path = tmp_path_factory.mktemp("media") / "red.png"
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[8:24, 8:24] = (255, 0, 0)
    write_image(picture, path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory, ffmpeg_path: Path) -> bytes:
    """A clip of 9 frames of 32×32 pixels, at 8 frames per second."""
    from vogue.engines.media import write_video

    path = tmp_path_factory.mktemp("media") / "move.mp4"
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    for index in range(9):
        frames[index, 8:16, 2 * index : 2 * index + 8] = (0, 255, 0)
    write_video(frames, 8.0, path)
    return path.read_bytes()
