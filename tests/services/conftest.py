"""An application without Ray: the orchestrator on fake ports, and HTTP in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from vogue.graph.state import Ports
from vogue.schemas.config import Preset, Task
from vogue.schemas.jobs import Job, JobEvent
from vogue.schemas.ports import Codec
from vogue.schemas.presets import get_preset
from vogue.schemas.requests import GenerationRequest, JobSpec
from vogue.services.blobs import BlobStore
from vogue.services.config import AppConfig, OrchestratorConfig
from vogue.services.database import Database
from vogue.services.fakes import fake_ports
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService


@dataclass
class House:
    """One state directory and what works in it."""

    state_dir: Path
    preset: Preset
    blobs: BlobStore
    ports: Ports
    config: OrchestratorConfig
    orchestrator: OrchestratorService

    @classmethod
    def build(cls, state_dir: Path, ports: Ports | None = None, **settings: Any) -> House:
        """Not yet at work: call `orchestrator.start()`."""
        preset = get_preset("tiny")
        blobs = BlobStore(state_dir / "store")
        ports = ports or fake_ports(preset, blobs)
        config = OrchestratorConfig(**settings)
        database = Database(state_dir / "jobs.sqlite")
        return cls(state_dir, preset, blobs, ports, config, OrchestratorService(database, blobs, ports, preset, config))

    async def finish(self, job_id: str) -> Job:
        """Wait for the end of a job."""
        async for _ in self.orchestrator.events(job_id):
            pass
        return await self.orchestrator.get(job_id)

    async def make(self, **fields: Any) -> Job:
        """Submit and wait."""
        request = GenerationRequest(**({"instruction": "a red star"} | fields))
        return await self.finish((await self.orchestrator.submit(request)).id)

    async def events(self, job_id: str) -> list[JobEvent]:
        """All events of a finished job."""
        return [event async for event in self.orchestrator.events(job_id)]


@pytest.fixture(scope="session")
def spec() -> JobSpec:
    """A small clip from words."""
    return JobSpec(
        task=Task.T2V,
        instruction="a red star",
        negative_prompt="bad",
        height_px=32,
        width_px=32,
        num_frames=5,
        fps=8.0,
        steps=4,
        guidance=4.0,
        image_guidance=1.0,
        seed=7,
    )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """An orchestrator at work on fake ports."""
    built = House.build(tmp_path)
    await built.orchestrator.start()
    yield built
    await built.orchestrator.close()


@pytest.fixture
def new_house() -> type[House]:
    """To build others."""
    return House


def client_of(house: House) -> httpx.AsyncClient:
    """HTTP without sockets."""

    async def readiness() -> Mapping[str, bool]:
        return {"orchestrator": True, "denoiser": True}

    app = build_http(house.orchestrator, readiness, house.blobs, house.preset)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP before the fakes."""
    async with client_of(house) as made:
        yield made


@pytest.fixture(scope="session")
def tiny_codec(tmp_path_factory: pytest.TempPathFactory) -> tuple[BlobStore, Codec]:
    """The real codec service with the tiny VAE, which reads real media."""
    from vogue.services.codec import CodecService
    from vogue.services.workplace import Workplace

    place = Workplace(AppConfig(preset="tiny", state_dir=tmp_path_factory.mktemp("tiny")))
    return place.blobs, CodecService.load(place)


@pytest.fixture
async def media_house(tmp_path: Path, tiny_codec: tuple[BlobStore, Codec]) -> AsyncIterator[House]:
    """As `house`, but reading and writing real media."""
    blobs, codec = tiny_codec
    preset = get_preset("tiny")
    built = House.build(tmp_path)
    ports = replace(fake_ports(preset, blobs), codec=codec)
    built = replace(
        built,
        blobs=blobs,
        ports=ports,
        orchestrator=OrchestratorService(Database(tmp_path / "jobs.sqlite"), blobs, ports, preset, built.config),
    )
    await built.orchestrator.start()
    yield built
    await built.orchestrator.close()


@pytest.fixture
async def media_client(media_house: House) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP before the real codec."""
    async with client_of(media_house) as made:
        yield made
