"""Deleting, listing, asking twice: what owners may do with what they made, and what jobs at work are safe from."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role
from vogue.schemas.errors import AssetInUse, AssetNotFound, IdempotencyConflict, JobNotFound, JobUnfinished
from vogue.schemas.queries import Idempotency, PageQuery
from vogue.schemas.references import Artifact, MediaKind
from vogue.schemas.requests import GenerationRequest, VisualInput
from vogue.services.fakes import netpbm, read_netpbm

REQUEST = GenerationRequest(instruction="a red star", steps=2, seed=4)
KEY = Idempotency(key="monday", fingerprint="a" * 64)


async def _upload(house: Any, shade: int = 0, frames: int = 1) -> Any:
    content = netpbm(np.full((frames, 32, 32, 3), shade, np.uint8))
    return await house.orchestrator.add_upload(house.blobs.put(content, "image/x-portable-pixmap"), "a.ppm")


async def _age(house: Any, sha256: str) -> Path:
    """Let a blob look old."""
    path: Path = house.blobs.path_of(sha256)
    os.utime(path, (time.time() - 10_000,) * 2)
    return path


async def test_a_deleted_job_leaves_nothing_behind(house: Any) -> None:
    done = await house.make()
    kept = await house.make(instruction="a blue star")
    stored = await house.orchestrator.asset(done.assets[0].id)
    blob = await _age(house, stored.artifact.sha256)
    await house.orchestrator.delete(done.id)
    assert not blob.exists()
    with pytest.raises(JobNotFound):
        await house.orchestrator.get(done.id)
    for asset in done.assets:
        with pytest.raises(AssetNotFound):
            await house.orchestrator.asset(asset.id)
    db = sqlite3.connect(house.state_dir / "jobs.sqlite")
    for table, column in (
        ("events", "job_id"),
        ("assets", "job_id"),
        ("checkpoints", "thread_id"),
        ("writes", "thread_id"),
    ):
        left = {row[0] for row in db.execute(f"SELECT {column} FROM {table}")}
        assert left == {kept.id}, table
    db.close()
    assert (await house.orchestrator.get(kept.id)).status == "completed"


async def test_young_blobs_and_those_of_equal_files_stay(house: Any) -> None:
    first, second = await _upload(house), await _upload(house)
    stored = await house.orchestrator.asset(first.id)
    await house.orchestrator.delete_asset(first.id)
    blob = await _age(house, stored.artifact.sha256)
    assert blob.exists(), "the second upload has the same content"
    await house.orchestrator.delete_asset(second.id)
    assert not blob.exists()
    third = await house.orchestrator.asset((await _upload(house, shade=9)).id)
    await house.orchestrator.delete_asset(third.asset.id)
    assert house.blobs.path_of(third.artifact.sha256).exists(), "another upload of these bytes may be on its way"
    await _age(house, third.artifact.sha256)
    house.orchestrator._housekeeper.clear()
    assert not house.blobs.path_of(third.artifact.sha256).exists()


async def test_what_an_unfinished_job_needs_cannot_be_deleted(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    upload = await _upload(house)
    request = REQUEST.model_copy(
        update={"visuals": (VisualInput(tag="image1", role=Role.SOURCE, upload_id=upload.id),)}
    )
    job = await house.orchestrator.submit(request)
    with pytest.raises(JobUnfinished, match="cancel it"):
        await house.orchestrator.delete(job.id)
    with pytest.raises(AssetInUse, match=job.id):
        await house.orchestrator.delete_asset(upload.id)
    await house.orchestrator.start()
    assert (await house.finish(job.id)).status == "completed"
    await house.orchestrator.delete_asset(upload.id)
    with pytest.raises(AssetNotFound):
        await house.orchestrator.submit(request)
    await house.orchestrator.close()


async def test_what_is_too_old_goes(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, media_retention_s=3600.0)
    await house.orchestrator.start()
    done, upload = await house.make(), await _upload(house)
    keeper = house.orchestrator._housekeeper
    keeper.expire()
    assert (await house.orchestrator.get(done.id)).id == done.id
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET finished_at_s = 1")
        db.execute("UPDATE assets SET created_at_s = 1")
    keeper.expire()
    with pytest.raises(JobNotFound):
        await house.orchestrator.get(done.id)
    with pytest.raises(AssetNotFound):
        await house.orchestrator.asset(upload.id)
    await house.orchestrator.close()


async def test_a_key_gives_the_first_job_also_after_a_restart(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    first = await house.orchestrator.submit(REQUEST, KEY)
    assert (await house.orchestrator.submit(REQUEST, KEY)).id == first.id
    assert (await house.orchestrator.submitted(KEY)).id == first.id
    await house.orchestrator.close()
    house = new_house.build(tmp_path)
    assert (await house.orchestrator.submit(REQUEST, KEY)).id == first.id
    other = KEY.model_copy(update={"fingerprint": "b" * 64})
    with pytest.raises(IdempotencyConflict, match="'monday' came with another request"):
        await house.orchestrator.submit(REQUEST, other)
    assert await house.orchestrator.submitted(KEY.model_copy(update={"key": "tuesday"})) is None
    assert (await house.orchestrator.submit(REQUEST)).id != first.id
    await house.orchestrator.close()


async def test_pages_in_both_directions(house: Any) -> None:
    clips = [await house.make() for _ in range(3)]
    picture = await house.make(num_frames=1)
    ids = [job.id for job in clips]

    async def page(**fields: Any) -> list[str]:
        return [job.id for job in await house.orchestrator.job_page(PageQuery(**fields))]

    assert await page() == [picture.id, *ids[::-1]]
    assert await page(ascending=True, limit=2) == ids[:2]
    assert await page(after=ids[1]) == [ids[0]]
    assert await page(after=ids[1], ascending=True, kind=MediaKind.VIDEO) == [ids[2]]
    assert await page(kind=MediaKind.IMAGE) == [picture.id]
    with pytest.raises(JobNotFound):
        await page(after="job_nobody")
    uploads = [(await _upload(house)).id, (await _upload(house, frames=5)).id]

    async def files(**fields: Any) -> list[str]:
        return [file.asset.id for file in await house.orchestrator.file_page(PageQuery(**fields))]

    assert await files() == uploads[::-1], "results are no uploads"
    assert await files(ascending=True, limit=1) == uploads[:1]
    assert await files(kind=MediaKind.VIDEO) == uploads[1:]
    assert await files(after=uploads[1]) == uploads[:1]
    stored = await house.orchestrator.asset(clips[0].assets[0].id)
    assert stored.job_id == clips[0].id
    assert abs(stored.created_at_s - time.time()) < 3600


async def test_a_sheet_shows_every_frame(house: Any) -> None:
    done = await house.make()
    sheet: Artifact = await house.orchestrator.sheet(done.assets[0].id)
    shown = read_netpbm(bytes(house.blobs.get(sheet)))[0]
    clip = read_netpbm(bytes(house.blobs.get((await house.orchestrator.asset(done.assets[0].id)).artifact)))
    assert shown.shape == (2 * 32, 3 * 32, 3)
    for index, frame in enumerate(clip):
        row, column = divmod(index, 3)
        assert np.array_equal(shown[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32], frame)
    assert not shown[32:, 64:].any()
    with pytest.raises(Exception, match="is a picture"):
        await house.orchestrator.sheet(done.assets[1].id)
