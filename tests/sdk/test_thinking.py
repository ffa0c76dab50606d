"""Plans, answers and their decisions through the client, blocking and not, and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vogue import (
    ClarificationNeeded,
    EventKind,
    JobStatus,
    PlanConflict,
    PlanInvalid,
    PlanRejected,
    Role,
    SelfReview,
    Task,
    Thinking,
)
from vogue.cli import build_app
from vogue.cli.session import Session
from vogue.schemas.plan import Plan
from vogue.testing import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def test_a_question_is_answered_in_pieces(server: FakeServer) -> None:
    server.stage.answer = "a red star"
    with server.client() as vogue:
        job = vogue.understand("what is it?", b"picture", temperature=0.5, seed=3)
        assert list(job.pieces()) == ["a", " red", " star"]
        assert (job.answer, job.status, job.results) == ("a red star", JobStatus.COMPLETED, [])
        assert vogue.understand("what?").wait().answer == "a red star"
    asked = server.requests[0]
    assert (asked.task, asked.temperature, asked.seed) == (Task.UNDERSTAND, 0.5, 3)
    assert [(visual.tag, visual.role) for visual in asked.visuals] == [("image1", None)]


async def test_the_same_without_blocking(server: FakeServer) -> None:
    async with server.async_client() as vogue:
        job = await vogue.understand("what is it?", b"picture")
        assert "".join([piece async for piece in job.pieces()]) == "one of each"
        planned = await vogue.plan("a star")
        assert planned.plan is not None
        await planned.approve(planned.plan.model_copy(update={"dense_prompt": "a blue star"}))
        done = await planned.wait()
        assert done.job.spec.instruction == "a blue star"
        with pytest.raises(PlanConflict):
            await done.reject()


def test_a_failed_answer_raises_its_error(server: FakeServer) -> None:
    server.stage.failure = ClarificationNeeded("the request cannot be met: which star?")
    with server.client() as vogue, pytest.raises(ClarificationNeeded, match="which star"):
        list(vogue.understand("what is it?").pieces())


def test_a_plan_waits_until_it_is_approved(server: FakeServer) -> None:
    with server.client() as vogue:
        job = vogue.plan("make it blue", source=b"picture", steps=2)
        assert (job.status, server.requests[0].thinking) == (JobStatus.WAITING, Thinking.REVIEW)
        assert job.plan is not None
        assert (job.plan.dense_prompt, job.plan.roles) == ("MAKE IT BLUE", {"image1": Role.SOURCE})
        with pytest.raises(PlanInvalid):
            job.approve(Plan(clarification="what?"))
        assert job.approve().status is JobStatus.QUEUED
        seen: list[EventKind] = []
        job.wait(lambda event: seen.append(event.kind), until_plan=True)
        assert job.status is JobStatus.COMPLETED
        assert EventKind.WAITING in seen
        with pytest.raises(PlanConflict):
            job.approve()


def test_a_rejected_plan_ends_the_job(server: FakeServer) -> None:
    with server.client() as vogue:
        job = vogue.plan("a star")
        assert job.reject().status is JobStatus.FAILED
        with pytest.raises(PlanRejected):
            job.wait()


def test_a_waiting_job_can_be_cancelled(server: FakeServer) -> None:
    with server.client() as vogue:
        assert vogue.plan("a star").cancel().status is JobStatus.CANCELLED


def test_inputs_without_a_role_and_prompts_are_named(server: FakeServer) -> None:
    with server.client() as vogue:
        vogue.generate(
            "do it", source=b"s", inputs=[b"i"], visual_prompts=[b"v"], references=[b"r"], self_review={"min_score": 5}
        )
    asked = server.requests[0]
    roles = [Role.REFERENCE, None, Role.SOURCE, Role.VISUAL_PROMPT]
    assert [(visual.tag, visual.role) for visual in asked.visuals] == [
        (f"image{number}", role) for number, role in enumerate(roles, start=1)
    ]
    assert asked.self_review == SelfReview(min_score=5)


@pytest.fixture
def vogue(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"a")

    def call(*arguments: str) -> Result:
        session = Session(connect=lambda _: server.client())
        return CliRunner().invoke(build_app(), list(arguments), obj=session, catch_exceptions=False)

    return call


def test_ask_writes_the_answer(vogue: Any) -> None:
    result = vogue("ask", "what is it?", "a.png")
    assert (result.exit_code, result.stdout) == (0, "one of each\n")
    document = json.loads(vogue("ask", "what is it?", "a.png", "--json").stdout)
    assert document["answer"] == "one of each"
    assert document["job"]["answer"] == "one of each"


def test_ask_says_why_not(vogue: Any, server: FakeServer) -> None:
    server.stage.failure = ClarificationNeeded("which one?")
    result = vogue("ask", "what is it?")
    assert result.exit_code == 6
    assert "which one?" in result.stderr


def test_run_stops_at_a_plan_and_goes_on_after_it(vogue: Any, server: FakeServer) -> None:
    result = vogue("run", "make it blue", "--source", "a.png", "--thinking", "review")
    assert result.exit_code == 0
    job_id = result.stdout.splitlines()[0]
    assert "prompt       MAKE IT BLUE" in result.stdout
    assert f"vogue approve {job_id}" in result.stderr
    assert "MAKE IT BLUE" in vogue("jobs", job_id).stdout
    assert vogue("wait", job_id).stdout.splitlines()[0] == job_id
    edited = vogue("approve", job_id, "--prompt", "a blue star", "--task", "t2i", "--role", "image1=reference")
    assert (edited.exit_code, edited.stdout) == (0, f"{job_id} queued\n")
    plan = server.stage.record(job_id).job.plan
    assert plan is not None
    assert (plan.task, plan.dense_prompt, plan.roles) == (Task.T2I, "a blue star", {"image1": Role.REFERENCE})
    assert vogue("wait", job_id, "-o", "x.gif").stdout == "x.gif\n"
    assert vogue("approve", job_id).exit_code == 3


def test_a_plan_from_a_file(vogue: Any, server: FakeServer, tmp_path: Path) -> None:
    job_id = vogue("run", "a ball", "--thinking", "review").stdout.splitlines()[0]
    (tmp_path / "plan.json").write_text(Plan(task=Task.T2I, dense_prompt="a cube").model_dump_json())
    assert vogue("approve", job_id, "--plan", "plan.json").exit_code == 0
    plan = server.stage.record(job_id).job.plan
    assert plan is not None
    assert plan.dense_prompt == "a cube"
    (tmp_path / "plan.json").write_text("{}")
    assert vogue("approve", job_id, "--plan", "plan.json").exit_code == 2
    assert vogue("approve", job_id, "--role", "image1=hero").exit_code == 2


def test_reject_ends_the_job(vogue: Any) -> None:
    job_id = vogue("run", "a ball", "--thinking", "review").stdout.splitlines()[0]
    assert vogue("reject", job_id).stdout == f"{job_id} failed\n"
    assert vogue("wait", job_id).exit_code == 6


def test_a_question_back_has_an_exit_code_of_its_own(vogue: Any, server: FakeServer) -> None:
    server.stage.failure = ClarificationNeeded("which star?")
    result = vogue("run", "delete the star")
    assert result.exit_code == 3
    assert "which star?" in result.stderr


def test_scoring_is_asked_for(vogue: Any, server: FakeServer) -> None:
    assert vogue("run", "a ball", "--min-score", "8", "--max-trials", "2").exit_code == 0
    assert server.requests[0].self_review == SelfReview(min_score=8, max_trials=2)
