"""Jobs on fake ports outlive what carries them: orchestrators, workers, denoisers, a codec that fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vogue.schemas.errors import EngineError
from vogue.schemas.jobs import EventKind, JobStatus, Stage
from vogue.schemas.stages import DecodedMedia, DecodeRequest
from vogue.services.denoiser import DenoiserService
from vogue.services.fakes import FakeCodec, FakeLoop
from vogue.services.leases import LeaseTable

from .gates import REQUEST, Gate


async def test_a_denoiser_that_is_closed_in_order_costs_no_job(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    closing = threading.Event()

    class Halting(FakeLoop):
        def tick(self, jobs: Sequence[Any]) -> None:
            if any(job.steps_done == 3 for job in jobs):
                closing.wait(timeout=20)
            super().tick(jobs)

    first = Gate(DenoiserService(Halting(house.blobs), house.blobs), at_step=3)
    first.open.set()
    house = new_house.build(tmp_path, replace(house.ports, denoiser=first))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(REQUEST)
    async for event in house.orchestrator.events(job.id):
        if event.steps_done == 3:
            break
    closed, first._inner = first._inner, DenoiserService(FakeLoop(house.blobs), house.blobs)
    closed._closing = True
    closing.set()
    await closed.close()
    done = await house.finish(job.id)
    assert (done.status, len(first.resumed_from)) == (JobStatus.COMPLETED, 2)
    await house.orchestrator.close()


async def test_a_successor_goes_on_where_a_stopped_orchestrator_was(tmp_path: Path, new_house: Any) -> None:
    first = new_house.build(tmp_path)
    gate = Gate(first.ports.denoiser, at_step=5)
    first = new_house.build(tmp_path, replace(first.ports, denoiser=gate))
    await first.orchestrator.start()
    job = await first.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    await first.orchestrator.close()
    # The denoiser died as well: its successor knows no job.
    second = new_house.build(tmp_path)
    fresh = Gate(second.ports.denoiser, at_step=99)
    second = new_house.build(tmp_path, replace(second.ports, denoiser=fresh))
    await second.orchestrator.start()
    done = await second.finish(job.id)
    assert done.status is JobStatus.COMPLETED
    assert fresh.resumed_from == [4]
    events = await second.events(job.id)
    assert [event.steps_done for event in events if event.kind is EventKind.STEP] == list(range(1, 9))
    resumed = [(event.stage, event.steps_done) for event in events if event.kind is EventKind.RESUMED]
    assert resumed == [(None, 5), (Stage.DENOISE, 4)]
    whole = await second.finish((await second.orchestrator.submit(REQUEST)).id)
    files = [(await second.orchestrator.asset(one.assets[0].id)).artifact.sha256 for one in (done, whole)]
    assert files[0] == files[1]
    await second.orchestrator.close()


async def test_a_dead_orchestrator_is_succeeded_when_its_lease_runs_out(
    tmp_path: Path, new_house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = new_house.build(tmp_path)
    gate = Gate(first.ports.denoiser, at_step=5)
    first = new_house.build(tmp_path, replace(first.ports, denoiser=gate), lease_ttl_s=0.2)
    await first.orchestrator.start()
    job = await first.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    # As SIGKILL does: nothing is given back.
    with monkeypatch.context() as patched:
        patched.setattr(LeaseTable, "release", lambda *_: None)
        await first.orchestrator.close()
    second = new_house.build(tmp_path, lease_ttl_s=0.2)
    await second.orchestrator.start()
    assert (await second.finish(job.id)).status is JobStatus.COMPLETED
    await second.orchestrator.close()


class BrokenCodec(FakeCodec):
    """Fails to decode as long as it is told to."""

    error: Exception | None = None

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        if self.error is not None:
            raise self.error
        return await super().decode(request)


@pytest.mark.parametrize(
    ("error", "code"), [(EngineError("no ink"), "engine_error"), (ValueError("surprise"), "internal_error")]
)
async def test_a_failed_job_says_why_and_resumes_without_stepping_again(
    tmp_path: Path, new_house: Any, error: Exception, code: str
) -> None:
    house = new_house.build(tmp_path)
    codec = BrokenCodec(house.preset, house.blobs)
    codec.error = error
    gate = Gate(house.ports.denoiser, at_step=99)
    house = new_house.build(tmp_path, replace(house.ports, codec=codec, denoiser=gate))
    await house.orchestrator.start()
    failed = await house.make()
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.code == code
    codec.error = None
    house.blobs.sweep(house.orchestrator._jobs.kept_digests(), 0.0)
    await house.orchestrator.resume(failed.id)
    assert (await house.finish(failed.id)).status is JobStatus.COMPLETED
    assert gate.resumed_from == [None]
    await house.orchestrator.close()


async def test_a_job_that_kills_its_workers_fails_in_the_end(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_attempts=3)
    job = await house.orchestrator.submit(REQUEST)
    leases = house.orchestrator._leases
    for _ in range(3):
        assert leases.take("dead", -1.0) is not None
    await house.orchestrator.start()
    failed = await house.finish(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert "started 3 times" in failed.error.message
    await house.orchestrator.close()
