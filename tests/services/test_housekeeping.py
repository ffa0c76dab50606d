"""Background work that goes on after an error, and blobs of a job that ends while house is kept."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vogue.schemas.jobs import JobStatus


async def test_jobs_are_handed_out_after_an_error(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = new_house.build(tmp_path, lease_ttl_s=1.0)
    leases, failures = house.orchestrator._leases, iter([OSError("the disk is full")])
    take = leases.take

    def failing(*args: Any) -> Any:
        for failure in failures:
            raise failure
        return take(*args)

    monkeypatch.setattr(leases, "take", failing)
    await house.orchestrator.start()
    assert (await house.make()).status is JobStatus.COMPLETED
    assert "the disk is full" in caplog.text
    await house.orchestrator.close()


async def test_house_is_kept_after_an_error(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = new_house.build(tmp_path, sweep_every_s=0.001)
    keeper, failures, kept = house.orchestrator._housekeeper, iter([OSError("the disk is full")]), threading.Event()

    def failing() -> None:
        for failure in failures:
            raise failure
        kept.set()

    monkeypatch.setattr(keeper, "expire", failing)
    await house.orchestrator.start()
    assert await asyncio.to_thread(kept.wait, 30)
    assert "the disk is full" in caplog.text
    await house.orchestrator.close()


async def test_what_a_job_made_that_ends_meanwhile_stays(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = new_house.build(tmp_path, blob_retention_s=1.0)
    keeper, made = house.orchestrator._housekeeper, house.blobs.put(b"made by the job", "x/y").sha256
    path, over = house.blobs.path_of(made), False
    os.utime(path, (time.time() - 10_000,) * 2)

    def ends(before: Any, after: Any) -> Any:
        """What the database says: the job ends as soon as somebody has looked."""
        nonlocal over
        over, was_over = True, over
        return after if was_over else before

    monkeypatch.setattr(keeper._jobs, "oldest_open_s", lambda: ends(time.time() - 20_000, None))
    monkeypatch.setattr(keeper._jobs, "kept_digests", lambda: ends(set(), {made}))
    keeper.delete(lambda _: {made}, "another job with the same blob")
    assert path.exists()
    over = False
    keeper.sweep()
    assert path.exists()
    await house.orchestrator.close()
