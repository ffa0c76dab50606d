"""What was thought about a job, and what its owner said to it: plans, answers and scores in the jobs table."""

from __future__ import annotations

import json
from collections.abc import Iterable

from vogue.schemas.errors import PlanConflict, PlanRejected
from vogue.schemas.jobs import ErrorInfo, EventKind, Job, JobStatus, Stage
from vogue.schemas.plan import Plan, PlanDecision, Trial
from vogue.schemas.requests import JobSpec

from .database import Database
from .leases import Lease, LeaseTable
from .rows import append_event, end_job, job_row, load_job
from .webhooks import announce

__all__ = ["ThoughtTable"]


class ThoughtTable:
    """The worker's writes, under its lease, and the owner's decision."""

    def __init__(self, database: Database, leases: LeaseTable) -> None:
        self._database = database
        self._leases = leases

    def record_plan(self, lease: Lease, plan: Plan) -> None:
        """Note what was planned; the same plan again is no news."""
        body = plan.model_dump_json()
        with self._leases.fenced(lease) as db:
            if job_row(db, lease.job_id)["plan"] != body:
                db.execute("UPDATE jobs SET plan = ? WHERE id = ?", (body, lease.job_id))
                append_event(db, lease.job_id, EventKind.PLAN, stage=Stage.PLAN, plan=plan)

    def record_spec(self, lease: Lease, spec: JobSpec) -> None:
        """Note what is carried out, where that is not what was expected when the job was accepted."""
        with self._leases.fenced(lease) as db:
            db.execute(
                "UPDATE jobs SET spec = ?, steps_total = MAX(steps_done, ?) WHERE id = ?",
                (spec.model_dump_json(), spec.steps, lease.job_id),
            )

    def record_text(self, lease: Lease, start: int, piece: str) -> None:
        """Add to the answer; what was told before a crash is not told again."""
        with self._leases.fenced(lease) as db:
            told = job_row(db, lease.job_id)["answer"] or ""
            fresh = piece[max(0, len(told) - start) :]
            if fresh:
                db.execute("UPDATE jobs SET answer = ? WHERE id = ?", (told + fresh, lease.job_id))
                append_event(db, lease.job_id, EventKind.TEXT, stage=Stage.ANSWER, text=fresh)

    def record_trial(self, lease: Lease, trial: Trial) -> None:
        """Note how a seed was scored; the same seed is scored once."""
        with self._leases.fenced(lease) as db:
            trials = json.loads(job_row(db, lease.job_id)["trials"] or "[]")
            if all(one["seed"] != trial.seed for one in trials):
                trials.append(trial.model_dump(mode="json"))
                db.execute("UPDATE jobs SET trials = ? WHERE id = ?", (json.dumps(trials), lease.job_id))
                append_event(db, lease.job_id, EventKind.TRIAL, stage=Stage.REVIEW, trial=trial)

    def park(self, lease: Lease, held: Iterable[str]) -> None:
        """Let a job wait for its owner's word on its plan. Nobody works on it, and what it needs is kept.

        Args:
            held: digests of what it goes on from.
        """
        with self._leases.fenced(lease, durable=True) as db:
            row = job_row(db, lease.job_id)
            if row["cancel_requested"]:
                end_job(db, lease.job_id, JobStatus.CANCELLED)
                return
            db.execute(
                "UPDATE jobs SET status = ?, held = ?, attempts = 0, lease_until_s = 0 WHERE id = ?",
                (JobStatus.WAITING.value, json.dumps(sorted(set(held))), lease.job_id),
            )
            plan = Plan.model_validate_json(row["plan"])
            append_event(db, lease.job_id, EventKind.WAITING, stage=Stage.PLAN, plan=plan)
            announce(db, lease.job_id, JobStatus.WAITING)

    def decision(self, job_id: str) -> PlanDecision | None:
        """What the owner said to the plan, if anything yet."""
        with self._database.reading() as db:
            body = job_row(db, job_id)["decision"]
        return PlanDecision.model_validate_json(body) if body else None

    def decide(self, job_id: str, decision: PlanDecision) -> Job:
        """Take the owner's word: queue an approved job, end a rejected one.

        Raises:
            PlanConflict: the job does not wait.
        """
        with self._database.transaction() as db:
            status = JobStatus(job_row(db, job_id)["status"])
            if status is not JobStatus.WAITING:
                raise PlanConflict(f"job {job_id} is {status}: no plan of it waits for a decision")
            if not decision.approved:
                error = PlanRejected("its owner rejected the plan")
                end_job(db, job_id, JobStatus.FAILED, ErrorInfo.of(error))
                return load_job(db, job_id)
            db.execute(
                "UPDATE jobs SET status = ?, decision = ? WHERE id = ?",
                (JobStatus.QUEUED.value, decision.model_dump_json(), job_id),
            )
            if decision.plan is not None:
                db.execute("UPDATE jobs SET plan = ? WHERE id = ?", (decision.plan.model_dump_json(), job_id))
                append_event(db, job_id, EventKind.PLAN, stage=Stage.PLAN, plan=decision.plan)
            append_event(db, job_id, EventKind.QUEUED)
            return load_job(db, job_id)
