"""The client against the real HTTP interface and orchestrator, with fake engines behind them, all in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from vogue import AsyncVogue, EventKind, JobStatus, Retry
from vogue.schemas.errors import AssetNotFound, JobNotFound, RequestInvalid, ShapeUnsupported, VogueError
from vogue.schemas.presets import get_preset
from vogue.services.blobs import BlobStore
from vogue.services.config import OrchestratorConfig
from vogue.services.database import Database
from vogue.services.fakes import fake_ports, netpbm
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService

PRESET = get_preset("tiny")


async def _ready() -> dict[str, bool]:
    return {"everything": True}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncVogue]:
    blobs = BlobStore(tmp_path / "store")
    database = Database(tmp_path / "vogue.sqlite")
    orchestrator = OrchestratorService(database, blobs, fake_ports(PRESET, blobs), PRESET, OrchestratorConfig())
    await orchestrator.start()
    transport = httpx.ASGITransport(app=build_http(orchestrator, _ready, blobs, PRESET))
    async with AsyncVogue("http://127.0.0.1:1", transport=transport, retry=Retry(attempts=2)) as vogue:
        yield vogue
    await orchestrator.close()


@pytest.fixture
def clip() -> bytes:
    return netpbm(np.arange(5 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(5, 32, 32, 3))


async def test_an_edit_goes_through(client: AsyncVogue, clip: bytes, tmp_path: Path) -> None:
    assert await client.is_ready()
    assert (await client.models())[0]["id"] == "tiny"
    job = await client.generate("make it blue", source=clip, seed=3)
    seen = []
    await job.wait(seen.append)
    assert job.status is JobStatus.COMPLETED
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert seen[0].kind is EventKind.QUEUED and seen[-1].kind is EventKind.COMPLETED
    assert [event.steps_done for event in seen if event.kind is EventKind.STEP][-1] == job.job.spec.steps
    path = await job.save(tmp_path / "out")
    assert path.read_bytes() == await job.results[0].read()
    assert path.stat().st_size == job.results[0].asset.num_bytes
    assert (await client.assets.get(job.results[0].asset.id)).asset == job.results[0].asset


async def test_events_and_content_can_be_taken_up_in_the_middle(client: AsyncVogue) -> None:
    job = await (await client.generate("a ball", seed=3)).wait()
    every = [event.seq async for event in job.events()]
    assert [event.seq async for event in job.events(after=every[2])] == every[3:]
    whole = await job.results[0].read()
    transport = client._exchange.transport
    path = f"/v1/assets/{job.results[0].asset.id}/content"
    rest = await transport.send(transport.build("GET", path, headers={"range": "bytes=10-"}))
    assert (rest.status_code, rest.content) == (206, whole[10:])


async def test_jobs_are_listed_page_by_page(client: AsyncVogue) -> None:
    ids = [(await client.generate(f"ball {n}")).id for n in range(3)]
    first = await client.jobs.list(limit=2)
    assert [job.id for job in first] == ids[:0:-1]
    assert [job.id for job in await client.jobs.list(before=first[-1].id)] == ids[:1]


async def test_assets_are_listed_page_by_page(client: AsyncVogue, clip: bytes) -> None:
    upload = await client.upload(clip, "clip.pam")
    job = await (await client.generate("a ball", seed=3)).wait()
    made = [result.asset for result in job.results]
    assert [handle.asset for handle in await client.assets.list()] == [*reversed(made), upload]
    assert [handle.asset for handle in await client.assets.list(before=made[0].id)] == [upload]
    with pytest.raises(AssetNotFound):
        await client.assets.list(before="asset_none")
    with pytest.raises(RequestInvalid):
        await client.assets.list(limit=0)


async def test_cancelling_is_final(client: AsyncVogue) -> None:
    job = await client.generate("a ball", steps=60)
    await job.cancel()
    with pytest.raises(VogueError):
        await job.wait()
    assert (await job.refresh()).status is JobStatus.CANCELLED


async def test_errors_arrive_as_what_they_are(client: AsyncVogue) -> None:
    with pytest.raises(ShapeUnsupported) as caught:
        await client.generate("a ball", num_frames=6)
    assert caught.value.param == "num_frames"
    with pytest.raises(JobNotFound):
        await client.jobs.get("job_none")
    with pytest.raises(AssetNotFound):
        await client.assets.get("asset_0123456789abcdef")
    with pytest.raises(RequestInvalid):
        await client.jobs.list(limit=0)
    assert await client.jobs.list() == []
