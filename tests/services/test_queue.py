"""The orchestrator's queue on fake ports: who is next, how long it will take, who is let in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vogue.schemas.errors import DeviceTooSmall, ServiceOverloaded
from vogue.schemas.jobs import JobStatus
from vogue.services.jobs import JobStore
from vogue.services.leases import LeaseTable

from .gates import REQUEST, Gate


async def test_short_jobs_may_pass_a_long_one_but_not_for_ever(house: Any, new_house: Any, tmp_path: Path) -> None:
    house = new_house.build(tmp_path / "queue", max_open_jobs=8)
    store: JobStore = house.orchestrator._jobs
    spec = (await house.orchestrator.submit(REQUEST)).spec
    for cost_s in (60.0, 1.0, 2.0):
        store.add(REQUEST, spec, (), 8, cost_s=cost_s)
    leases, order = LeaseTable(store._database), []
    while (lease := leases.take("me", 60.0)) is not None:
        with store._database.reading() as db:
            row = db.execute("SELECT cost_s FROM jobs WHERE id = ?", (lease.job_id,)).fetchone()
        order.append(row["cost_s"])
    assert order == [None, 1.0, 2.0, 60.0]


async def test_a_server_learns_how_long_jobs_take_and_says_when_to_come_back(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_open_jobs=3, max_running_jobs=1)
    first = await house.orchestrator.submit(REQUEST)
    await house.orchestrator.start()
    await house.finish(first.id)
    await house.orchestrator.close()
    house = new_house.build(tmp_path, max_open_jobs=3, max_running_jobs=1)
    await asyncio.to_thread(house.orchestrator._estimator.learn)
    jobs = [await house.orchestrator.submit(REQUEST) for _ in range(3)]
    lease = LeaseTable(house.orchestrator._jobs._database).take("somebody", 60.0)
    assert lease is not None and lease.job_id == jobs[0].id
    waits = [house.orchestrator._jobs.events(job.id)[0][-1] for job in jobs[1:]]
    assert [event.queue_position for event in waits] == [1, 2]
    assert waits[0].eta_s is not None and waits[1].eta_s is not None
    assert 0 < waits[0].eta_s < waits[1].eta_s
    with pytest.raises(ServiceOverloaded) as caught:
        await house.orchestrator.submit(REQUEST)
    assert caught.value.retry_after_s == pytest.approx(max(1.0, waits[0].eta_s))


async def test_what_can_never_fit_the_denoiser_is_refused_before_it_is_queued(tmp_path: Path, new_house: Any) -> None:
    class Small(Gate):
        async def room_bytes(self) -> int | None:
            return 1000

    house = new_house.build(tmp_path)
    house = new_house.build(tmp_path, replace(house.ports, denoiser=Small(house.ports.denoiser, at_step=99)))
    with pytest.raises(DeviceTooSmall, match="smaller size"):
        await house.orchestrator.submit(REQUEST)
    assert await house.orchestrator.list() == []


async def test_admission(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_open_jobs=2)
    await house.orchestrator.submit(REQUEST)
    await house.orchestrator.submit(REQUEST)
    with pytest.raises(ServiceOverloaded) as caught:
        await house.orchestrator.submit(REQUEST)
    assert caught.value.retry_after_s is not None
    await house.orchestrator.start()
    for job in await house.orchestrator.list():
        assert (await house.finish(job.id)).status is JobStatus.COMPLETED
    await house.orchestrator.submit(REQUEST)
    await house.orchestrator.close()


async def test_a_cancel_moves_the_others_up_and_tells_them(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    first, second = [await house.orchestrator.submit(REQUEST) for _ in range(2)]
    listener = house.orchestrator._news.listen(second.id)
    await house.orchestrator.cancel(first.id)
    assert listener.is_set()
    await house.orchestrator.close()
