"""Jobs that are planned, wait for their owner, answer in words or score themselves: as the orchestrator keeps them and HTTP shows them."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from vogue.schemas.config import Role, Task
from vogue.schemas.errors import PlanConflict, PlanInvalid
from vogue.schemas.jobs import EventKind, Job, JobEvent, JobStatus, Stage
from vogue.schemas.plan import Plan, PlanDecision, Review
from vogue.schemas.requests import GenerationRequest, SelfReview, Thinking, VisualInput
from vogue.schemas.stages import AnswerRequest, ReviewRequest
from vogue.services.fakes import FakeUnderstanding, netpbm

PLANNED = GenerationRequest(instruction="a red star", thinking=Thinking.REVIEW)


async def _until(house: Any, job_id: str, kind: EventKind) -> list[JobEvent]:
    """The job's events up to the first of a kind."""
    seen = []
    async for event in house.orchestrator.events(job_id):
        seen.append(event)
        if event.kind is kind:
            break
    return seen


async def _waiting(house: Any, request: GenerationRequest = PLANNED) -> Job:
    job = await house.orchestrator.submit(request)
    told = (await _until(house, job.id, EventKind.WAITING))[-1]
    waiting: Job = await house.orchestrator.get(job.id)
    assert waiting.status is JobStatus.WAITING
    assert told.plan == waiting.plan is not None
    return waiting


async def _clip(house: Any, frames: int = 5) -> str:
    pixels = np.random.default_rng(1).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)
    stored = house.blobs.put(netpbm(pixels), "video/x-portable-pixmap")
    return str((await house.orchestrator.add_upload(stored, "clip")).id)


async def test_an_approved_plan_is_carried_out(house: Any) -> None:
    job = await _waiting(house)
    assert job.plan is not None
    assert (job.plan.task, job.plan.dense_prompt) == (Task.T2V, "A RED STAR")
    approved = await house.orchestrator.decide(job.id, PlanDecision())
    assert approved.status is JobStatus.QUEUED
    done = await house.finish(job.id)
    assert done.status is JobStatus.COMPLETED
    assert done.spec.instruction == "A RED STAR"
    assert done.request.instruction == "a red star"
    kinds = [event.kind for event in await house.events(job.id) if event.kind is not EventKind.STEP]
    assert kinds.index(EventKind.PLAN) < kinds.index(EventKind.WAITING) < kinds.index(EventKind.RESUMED)
    assert kinds[-1] is EventKind.COMPLETED


async def test_an_edited_plan_replaces_the_first(house: Any) -> None:
    job = await _waiting(house)
    edited = Plan(task=Task.T2I, dense_prompt="a blue star")
    await house.orchestrator.decide(job.id, PlanDecision(plan=edited))
    done = await house.finish(job.id)
    assert done.status is JobStatus.COMPLETED
    assert done.plan == edited
    assert (done.spec.task, done.spec.num_frames, done.spec.instruction) == (Task.T2I, 1, "a blue star")
    assert [asset.kind for asset in done.assets] == ["image"]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(task=Task.I2I_EDIT),
        Plan(task=Task.T2V, roles={"image1": Role.SOURCE}),
        Plan(task=Task.T2V, dense_prompt="x" * 5000),
        Plan(clarification="what?"),
        Plan(task=Task.T2V, clarification="what?"),
    ],
)
async def test_a_plan_that_cannot_be_carried_out_is_refused_and_the_job_waits_on(house: Any, plan: Plan) -> None:
    job = await _waiting(house)
    with pytest.raises(PlanInvalid):
        await house.orchestrator.decide(job.id, PlanDecision(plan=plan))
    assert (await house.orchestrator.get(job.id)).status is JobStatus.WAITING
    await house.orchestrator.decide(job.id, PlanDecision())
    assert (await house.finish(job.id)).status is JobStatus.COMPLETED


async def test_a_rejected_plan_ends_the_job(house: Any) -> None:
    job = await _waiting(house)
    ended = await house.orchestrator.decide(job.id, PlanDecision(approved=False))
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == "plan_rejected"
    # Who thinks better of it takes it up again, and is asked again.
    ended_at = (await house.events(job.id))[-1].seq
    await house.orchestrator.resume(job.id)
    async for event in house.orchestrator.events(job.id, after=ended_at):
        if event.kind is EventKind.WAITING:
            break
    assert (await house.orchestrator.decide(job.id, PlanDecision())).status is JobStatus.QUEUED
    assert (await house.finish(job.id)).status is JobStatus.COMPLETED


async def test_a_plan_is_decided_once(house: Any) -> None:
    job = await _waiting(house)
    both = await asyncio.gather(
        *(house.orchestrator.decide(job.id, PlanDecision()) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in both) == ["Job", "PlanConflict"]
    await house.finish(job.id)
    with pytest.raises(PlanConflict, match="is completed"):
        await house.orchestrator.decide(job.id, PlanDecision(approved=False))
    plain = await house.make()
    with pytest.raises(PlanConflict):
        await house.orchestrator.decide(plain.id, PlanDecision())


async def test_a_waiting_job_can_be_cancelled(house: Any) -> None:
    job = await _waiting(house)
    assert (await house.orchestrator.cancel(job.id)).status is JobStatus.CANCELLED
    with pytest.raises(PlanConflict, match="is cancelled"):
        await house.orchestrator.decide(job.id, PlanDecision())


async def test_waiting_jobs_hold_nobody_up(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path, max_running_jobs=1, max_open_jobs=1)
    await house.orchestrator.start()
    waiting = [await _waiting(house) for _ in range(3)]
    assert house.orchestrator._foreman._workers == {}
    assert (await house.make()).status is JobStatus.COMPLETED
    for job in waiting:
        await house.orchestrator.decide(job.id, PlanDecision())
    assert {(await house.finish(job.id)).status for job in waiting} == {JobStatus.COMPLETED}
    await house.orchestrator.close()


async def test_a_plan_waits_over_a_restart(tmp_path: Path, new_house: Any) -> None:
    first = new_house.build(tmp_path)
    await first.orchestrator.start()
    request = GenerationRequest(
        instruction="make it blue",
        thinking=Thinking.REVIEW,
        visuals=(VisualInput(tag="video1", upload_id=await _clip(first)),),
        seed=7,
    )
    job = await _waiting(first, request)
    await first.orchestrator.close()
    second = new_house.build(tmp_path)
    await second.orchestrator.start()
    assert (await second.orchestrator.get(job.id)).status is JobStatus.WAITING
    # Nothing that it goes on from may be swept, however long it waits.
    second.blobs.sweep(second.orchestrator._jobs.kept_digests(), 0.0)
    await second.orchestrator.decide(job.id, PlanDecision())
    done = await second.finish(job.id)
    assert done.status is JobStatus.COMPLETED
    assert (done.spec.task, done.spec.seed) == (Task.V2V_EDIT, 7)
    await second.orchestrator.close()


async def test_a_decision_survives_the_worker_that_should_act_on_it(tmp_path: Path, new_house: Any) -> None:
    first = new_house.build(tmp_path)
    await first.orchestrator.start()
    job = await _waiting(first)
    await first.orchestrator.close()
    idle = new_house.build(tmp_path)
    edited = Plan(task=Task.T2I, dense_prompt="a blue star")
    await idle.orchestrator.decide(job.id, PlanDecision(plan=edited))
    await idle.orchestrator.close()
    last = new_house.build(tmp_path)
    await last.orchestrator.start()
    done = await last.finish(job.id)
    assert (done.status, done.spec.instruction) == (JobStatus.COMPLETED, "a blue star")
    await last.orchestrator.close()


async def test_a_database_of_an_earlier_version_gets_the_new_columns(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    await house.orchestrator.start()
    done = await house.make()
    await house.orchestrator.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as db:
        for column in ("plan", "decision", "trials", "answer", "held"):
            db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    later = new_house.build(tmp_path)
    assert await later.orchestrator.get(done.id) == done
    await later.orchestrator.close()


async def test_a_question_back_ends_the_job_with_it(house: Any) -> None:
    job = await house.make(instruction="which star?", thinking=Thinking.ON)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "clarification_needed"
    assert job.error.message.endswith("what do you mean by which star?")
    assert job.plan is not None
    assert job.plan.clarification == "what do you mean by which star?"


async def test_an_answer_is_told_in_pieces(house: Any) -> None:
    visuals = (VisualInput(tag="video1", upload_id=await _clip(house)),)
    job = await house.make(instruction="how many?", task=Task.UNDERSTAND, visuals=visuals)
    assert (job.status, job.answer, job.assets) == (JobStatus.COMPLETED, "1 visuals", ())
    events = await house.events(job.id)
    assert [event.text for event in events if event.kind is EventKind.TEXT] == ["1 ", "visuals"]
    assert Stage.ANSWER in [event.stage for event in events]
    assert (job.steps_total, events[-1].kind) == (0, EventKind.COMPLETED)


async def test_a_broken_answer_goes_on_where_it_broke(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)

    class Stutters(FakeUnderstanding):
        broke = False

        async def answer(self, request: AnswerRequest) -> Any:
            for number, piece in enumerate(("one ", "two ", "three")):
                if number == 2 and not self.broke:
                    self.broke = True
                    raise RuntimeError("gone")
                yield piece

    understanding = Stutters(house.preset, house.blobs)
    house = new_house.build(tmp_path, replace(house.ports, understanding=understanding))
    await house.orchestrator.start()
    job = await house.make(instruction="count", task=Task.UNDERSTAND)
    assert (job.status, job.answer) == (JobStatus.FAILED, "one two ")
    await house.orchestrator.resume(job.id)
    done = await house.finish(job.id)
    assert (done.status, done.answer) == (JobStatus.COMPLETED, "one two three")
    events = await house.events(job.id)
    assert [event.text for event in events if event.kind is EventKind.TEXT] == ["one ", "two ", "three"]
    await house.orchestrator.close()


async def test_trials_are_told_and_the_best_is_delivered(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)

    scores = [4, 8, 5]

    class Judge(FakeUnderstanding):
        async def review(self, request: ReviewRequest) -> Review:
            return Review(quality=9, instruction_following=scores.pop(0))

    judge = Judge(house.preset, house.blobs)
    house = new_house.build(tmp_path, replace(house.ports, understanding=judge))
    await house.orchestrator.start()
    job = await house.make(seed=3, self_review=SelfReview(min_score=9, max_trials=3))
    assert [(trial.seed, trial.review.score) for trial in job.trials] == [(3, 4), (4, 8), (5, 5)]
    assert job.spec.seed == 4
    assert (job.steps_done, job.steps_total) == (12, 12)
    events = await house.events(job.id)
    assert [event.trial for event in events if event.kind is EventKind.TRIAL] == list(job.trials)
    alone = await house.make(seed=4)
    files = [(await house.orchestrator.asset(one.assets[0].id)).artifact.sha256 for one in (job, alone)]
    assert files[0] == files[1]
    await house.orchestrator.close()


async def test_a_cancel_stops_a_later_trial(tmp_path: Path, new_house: Any) -> None:
    house = new_house.build(tmp_path)
    cancelled: list[str] = []
    denoiser = house.ports.denoiser

    class Stuck(FakeUnderstanding):
        async def review(self, request: ReviewRequest) -> Review:
            await asyncio.Event().wait()
            raise AssertionError

    class Watched:
        start, events, room_bytes = denoiser.start, denoiser.events, denoiser.room_bytes

        async def cancel(self, job_id: str) -> None:
            cancelled.append(job_id)
            await denoiser.cancel(job_id)

    stuck = Stuck(house.preset, house.blobs)
    house = new_house.build(tmp_path, replace(house.ports, understanding=stuck, denoiser=Watched()))
    await house.orchestrator.start()
    job = await house.orchestrator.submit(GenerationRequest(instruction="a red star", self_review=SelfReview()))
    async for event in house.orchestrator.events(job.id):
        if event.stage is Stage.REVIEW:
            break
    await house.orchestrator.cancel(job.id)
    assert (await house.finish(job.id)).status is JobStatus.CANCELLED
    assert cancelled == [job.id, f"{job.id}.1", f"{job.id}.2"]
    await house.orchestrator.close()


# Over HTTP.


async def test_a_plan_over_http(house: Any, client: httpx.AsyncClient) -> None:
    job = await _waiting(house)
    shown = Plan.model_validate((await client.get(f"/v1/jobs/{job.id}/plan")).json())
    assert shown == job.plan
    edited = shown.model_copy(update={"dense_prompt": "a green star"})
    answer = await client.post(f"/v1/jobs/{job.id}/plan", json={"plan": edited.model_dump(mode="json")})
    assert answer.status_code == 200
    assert Job.model_validate(answer.json()).status is JobStatus.QUEUED
    again = await client.post(f"/v1/jobs/{job.id}/plan", json={"approved": True})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "plan_conflict")
    assert (await house.finish(job.id)).spec.instruction == "a green star"


@pytest.mark.parametrize(
    ("plan", "param"),
    [
        ({"task": "fly"}, "plan.task"),
        ({"task": "t2v", "roles": {"image1": "hero"}}, "plan.roles.image1"),
        ({"roles": {}}, "plan"),
        ({"task": "i2i_edit"}, "plan"),
    ],
)
async def test_a_wrong_plan_over_http(house: Any, client: httpx.AsyncClient, plan: Any, param: str) -> None:
    job = await _waiting(house)
    answer = await client.post(f"/v1/jobs/{job.id}/plan", json={"plan": plan})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "plan_invalid", param)
    assert (await house.orchestrator.get(job.id)).status is JobStatus.WAITING


async def test_a_job_without_a_plan_over_http(house: Any, client: httpx.AsyncClient) -> None:
    job = await house.make()
    for answer in (await client.get(f"/v1/jobs/{job.id}/plan"), await client.post(f"/v1/jobs/{job.id}/plan", json={})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "plan_conflict")
    assert (await client.get("/v1/jobs/job_unknown/plan")).status_code == 404
    assert (await client.post("/v1/jobs/job_unknown/plan", json={})).status_code == 404
