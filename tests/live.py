"""A server of a test: a real port, a thread and an event loop of its own, and the gateway and the orchestrator as they are."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from vogue.graph.state import Ports
from vogue.schemas.config import Preset
from vogue.services.blobs import BlobStore
from vogue.services.config import KeysConfig, OrchestratorConfig
from vogue.services.database import Database
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService

__all__ = ["CHROMIUM_FLAGS", "Engines", "gateway", "on_a_port"]

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""For a browser without a screen, that may run as root and asks no other host for anything."""


@dataclass
class Engines:
    """What a server works with, and how it is closed at its end."""

    preset: Preset
    blobs: BlobStore
    ports: Ports
    close: Callable[[], Awaitable[None]]


async def _ready() -> dict[str, bool]:
    return {"everything": True}


@asynccontextmanager
async def gateway(
    state_dir: Path, made: Engines, release: Callable[[], object], keys: KeysConfig | None = None
) -> AsyncIterator[FastAPI]:
    """The HTTP interface before an orchestrator at work.

    Args:
        release: called before the end, to let jobs go on that a test holds.
    """
    orchestrator = OrchestratorService(
        Database(state_dir / "jobs.sqlite"), made.blobs, made.ports, made.preset, OrchestratorConfig(max_running_jobs=4)
    )
    await orchestrator.start()
    yield build_http(orchestrator, _ready, made.blobs, made.preset, keys=keys or KeysConfig())
    release()
    await orchestrator.close()
    await made.close()


@contextmanager
def on_a_port(open_app: Callable[[], AbstractAsyncContextManager[FastAPI]], port: int = 0) -> Iterator[str]:
    """Serve an application, from entering its context to leaving it. Gives its URL; without a port it takes a free one."""
    listening = socket.create_server(("127.0.0.1", port))
    stop, entered, loop = asyncio.Event(), threading.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(open_app, listening, stop, entered),))
    thread.start()
    # Loading is the test's own time; a client waits a minute for an answer and no longer.
    entered.wait()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        listening.close()


async def _serve(
    open_app: Callable[[], AbstractAsyncContextManager[FastAPI]],
    listening: socket.socket,
    stop: asyncio.Event,
    entered: threading.Event,
) -> None:
    try:
        async with open_app() as app:
            config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            entered.set()
            await stop.wait()
            server.should_exit = True
            await serving
    finally:
        entered.set()
    # The library behind MCP's event streams leaves a task to each event loop.
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
