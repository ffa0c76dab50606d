"""The orchestrator on fake ports: progress, results and cancel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role
from vogue.schemas.errors import AssetNotFound, JobCancelled, LimitExceeded, ServiceError
from vogue.schemas.jobs import EventKind, JobStatus, Stage
from vogue.schemas.plan import PlanDecision
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, VisualInput
from vogue.services.fakes import fake_ports, netpbm

from .gates import REQUEST, Gate


async def test_a_job_from_submit_to_asset(house: Any) -> None:
    job = await house.orchestrator.submit(REQUEST)
    assert (job.status, job.steps_total) == (JobStatus.QUEUED, 8)
    done = await house.finish(job.id)
    assert (done.status, done.steps_done, done.stage) == (JobStatus.COMPLETED, 8, Stage.DELIVER)
    media, poster = done.assets
    assert (media.kind, media.num_frames, media.fps) == (MediaKind.VIDEO, 5, 8.0)
    assert (poster.kind, poster.num_frames, poster.fps) == (MediaKind.IMAGE, 1, 0.0)
    stored = await house.orchestrator.asset(media.id)
    assert len(house.blobs.get(stored.artifact)) == media.num_bytes
    events = await house.events(job.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.steps_done for event in events if event.kind is EventKind.STEP] == list(range(1, 9))
    assert events[-1].assets == done.assets


async def test_an_answer_can_wait_for_the_end_but_not_for_ever(new_house: Any, tmp_path: Path) -> None:
    house = new_house.build(tmp_path)
    job = await house.orchestrator.submit(REQUEST)
    assert (await house.orchestrator.get(job.id, 0.01)).status is JobStatus.QUEUED
    asked = asyncio.create_task(house.orchestrator.get(job.id, 60.0))
    await house.orchestrator.start()
    assert (await asked).status is JobStatus.COMPLETED
    assert (await house.orchestrator.get(job.id, 60.0)).status is JobStatus.COMPLETED
    await house.orchestrator.close()


async def test_digests_never_leave(house: Any) -> None:
    done = await house.make()
    stored = await house.orchestrator.asset(done.assets[0].id)
    told = done.model_dump_json() + "".join(event.model_dump_json() for event in await house.events(done.id))
    assert stored.artifact.sha256 not in told
    assert "file:///" not in told


async def test_equal_requests_give_equal_files(house: Any) -> None:
    digests = set()
    for _ in range(2):
        done = await house.finish((await house.orchestrator.submit(REQUEST)).id)
        digests.add((await house.orchestrator.asset(done.assets[0].id)).artifact.sha256)
    assert len(digests) == 1


async def test_an_upload_is_probed_edited_and_cut_with_a_notice(house: Any) -> None:
    clip = np.random.default_rng(0).integers(0, 255, (12, 24, 40, 3), dtype=np.uint8)
    upload = await house.orchestrator.add_upload(house.blobs.put(netpbm(clip), "x/y"), "clip.ppm")
    assert (upload.kind, upload.num_frames, upload.height_px) == (MediaKind.VIDEO, 12, 24)
    visual = VisualInput(tag="video1", role=Role.SOURCE, upload_id=upload.id)
    done = await house.make(visuals=(visual,))
    assert done.status is JobStatus.COMPLETED
    assert done.notices[0].startswith("video1 has 12 frames; the first 9 frames")
    assert (done.assets[0].num_frames, done.assets[0].height_px, done.assets[0].width_px) == (9, 16, 32)


async def test_refused_requests_leave_no_job(house: Any) -> None:
    missing = VisualInput(tag="image1", role=Role.SOURCE, upload_id="upload_nothing-is-here-00")
    with pytest.raises(AssetNotFound) as caught:
        await house.orchestrator.submit(GenerationRequest(instruction="x", visuals=(missing,)))
    assert caught.value.param == "visuals.0.upload_id"
    with pytest.raises(LimitExceeded):
        await house.orchestrator.submit(GenerationRequest(instruction="x", steps=65))
    assert await house.orchestrator.list() == []


async def test_cancel_reaches_the_denoiser_and_ends_the_job(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    gate = Gate(house.ports.denoiser, at_step=3)
    house = new_house.build(tmp_path, replace(house.ports, denoiser=gate))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    await house.orchestrator.cancel(job.id)
    done = await house.finish(job.id)
    assert (done.status, done.steps_done) == (JobStatus.CANCELLED, 3)
    assert gate.cancelled == [job.id]
    assert (await house.orchestrator.cancel(job.id)).status is JobStatus.CANCELLED
    with pytest.raises(JobCancelled):
        await house.orchestrator.resume(job.id)
    await house.orchestrator.close()


async def test_a_rejected_plan_is_an_end(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    job = await house.orchestrator.submit(REQUEST)
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE jobs SET status = ?", (JobStatus.WAITING.value,))
    listener = house.orchestrator._news.listen(job.id, end_only=True)
    await house.orchestrator.decide(job.id, PlanDecision(approved=False))
    assert listener.is_set()
    await house.orchestrator.close()


async def test_cancel_ends_the_job_also_when_the_denoiser_does_not_listen(tmp_path: Path, new_house: Any) -> None:
    class Deaf(Gate):
        async def cancel(self, job_id: str) -> None:
            raise ServiceError("nobody is there")

    house = new_house.build(tmp_path)
    gate = Deaf(house.ports.denoiser, at_step=3)
    house = new_house.build(tmp_path, replace(house.ports, denoiser=gate))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(REQUEST)
    await gate.reached.wait()
    await house.orchestrator.cancel(job.id)
    assert (await house.finish(job.id)).status is JobStatus.CANCELLED
    await house.orchestrator.close()


async def test_two_jobs_at_once(house: Any) -> None:
    jobs = [await house.orchestrator.submit(REQUEST) for _ in range(5)]
    ended = await asyncio.gather(*(house.finish(job.id) for job in jobs))
    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    listed = await house.orchestrator.list()
    assert [job.id for job in listed] == [job.id for job in reversed(jobs)]


async def test_ports_of_a_flow_can_be_faked_alone(house: Any) -> None:
    ports = fake_ports(house.preset, house.blobs)
    pieces = [piece async for piece in ports.understanding.answer(_question())]
    assert "".join(pieces) == "0 visuals"


def _question() -> Any:
    from vogue.schemas.stages import AnswerRequest

    return AnswerRequest(instruction="how many?")
