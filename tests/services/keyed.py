"""A gateway that asks for keys, and two tenants of it. Used by the tests of keys, ownership and limits."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from vogue.schemas.access import KeyInfo, Scope, TenantLimits
from vogue.schemas.presets import get_preset
from vogue.services.blobs import BlobStore
from vogue.services.config import KeysConfig, OrchestratorConfig
from vogue.services.database import Database
from vogue.services.fakes import fake_ports, netpbm
from vogue.services.gateway import build_http
from vogue.services.keys.store import KeyStore
from vogue.services.orchestrator import OrchestratorService

from .border import remote_orchestrator

ORIGIN = "https://app.example.com"
LIMITS = TenantLimits(requests_per_minute=60_000, burst=60_000)


@contextmanager
def keys_of(state_dir: Path) -> Iterator[KeyStore]:
    """The keys of a state directory, as the command line gets at them: beside the server."""
    database = Database(state_dir / "jobs.sqlite")
    yield KeyStore(database)
    database.close()


@dataclass
class Keyed:
    """The application, and how to ask it with one key or another."""

    app: FastAPI
    state_dir: Path
    orchestrator: OrchestratorService

    def key(self, scope: Scope = Scope.WRITE, **options: Any) -> tuple[KeyInfo, str]:
        """A new key."""
        with keys_of(self.state_dir) as keys:
            return keys.create("test", scope, **options)

    def client(self, key: str | None) -> httpx.AsyncClient:
        """HTTP without sockets, with a key."""
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers, timeout=60)

    def new_client(self, scope: Scope = Scope.WRITE, **options: Any) -> httpx.AsyncClient:
        """The same with a new key."""
        return self.client(self.key(scope, **options)[1])


async def _ready() -> Mapping[str, bool]:
    return {}


@asynccontextmanager
async def keyed_gateway(
    state_dir: Path, limits: TenantLimits = LIMITS, at_work: bool = True, apart: bool = False, **settings: Any
) -> AsyncIterator[Keyed]:
    """A gateway with keys over an orchestrator on fake ports, at work or not, in one process or as two that are `apart`."""
    preset = get_preset("tiny").model_copy(update={"can_plan": True})
    blobs = BlobStore(state_dir / "store")
    orchestrator = OrchestratorService(
        Database(state_dir / "jobs.sqlite"),
        blobs,
        fake_ports(preset, blobs),
        preset,
        OrchestratorConfig(**settings),
        limits,
    )
    if at_work:
        await orchestrator.start()
    keys = KeysConfig(required=True, origins=(ORIGIN,), limits=limits)
    port = remote_orchestrator(orchestrator) if apart else orchestrator
    yield Keyed(build_http(port, _ready, blobs, preset, keys=keys), state_dir, orchestrator)
    await orchestrator.close()


def picture(shade: int = 0) -> bytes:
    """A picture that the fake codec reads."""
    return netpbm(np.full((1, 8, 8, 3), shade, np.uint8))


async def upload(client: httpx.AsyncClient, content: bytes | None = None) -> str:
    """The id of a new upload."""
    answer = await client.post("/v1/uploads", files={"file": ("a.ppm", content or picture())})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def make(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """A job, once it is over."""
    answer = await client.post("/v1/jobs", json={"instruction": "a red star", "seed": 1} | fields)
    assert answer.status_code == 201, answer.text
    done: dict[str, Any] = (await client.get(f"/v1/jobs/{answer.json()['id']}", params={"wait_s": 60})).json()
    return done


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()
