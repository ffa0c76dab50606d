"""Jobs that are played, not carried out: what `vogue.testing` serves. It knows nothing about HTTP."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from vogue.schemas.config import Role, Task, Tier
from vogue.schemas.errors import (
    AssetNotFound,
    JobNotFound,
    JobUnfinished,
    PlanConflict,
    PlanInvalid,
    PlanRejected,
    VogueError,
)
from vogue.schemas.jobs import Asset, ErrorInfo, EventKind, Job, JobEvent, JobStatus, Stage
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, Thinking

__all__ = ["SMALLEST_GIF", "JobRecord", "Rehearsal"]

SMALLEST_GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x00\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A whole picture of one pixel."""


@dataclass
class JobRecord:
    """A job and everything told about it."""

    job: Job
    events: list[JobEvent] = field(default_factory=list)


class Rehearsal:
    """Jobs and files in memory. Each job plays the same part: queued, at work, its steps, then its result or failure.

    Args:
        steps: how many steps every job takes.
        result: the bytes each job delivers.
        media_type: what they are.
        failure: what every job ends with instead, if given.
    """

    def __init__(self, steps: int, result: bytes, media_type: str, failure: VogueError | None) -> None:
        self.steps, self.result, self.media_type, self.failure = steps, result, media_type, failure
        self.answer = "one of each"
        """What every question is answered."""
        self.hold_at_step: int | None = None
        """Jobs stop here until they are cancelled or this is lifted; for a server that listens on a port."""
        self.changed = threading.Condition()
        self.files: dict[str, tuple[Asset, bytes]] = {}
        self.records: dict[str, JobRecord] = {}

    def begin(self, wanted: GenerationRequest) -> JobRecord:
        """A new job, queued."""
        job_id = f"job_{len(self.records) + 1:016d}"
        job = Job(id=job_id, status=JobStatus.QUEUED, request=wanted, spec=_spec(wanted, self.steps), created_at_s=0.0)
        record = self.records[job_id] = JobRecord(job)
        self.tell(record, EventKind.QUEUED)
        return record

    def advance(self, record: JobRecord) -> None:
        """The next thing that happens to a running job; nothing, for a moment, while it is held."""
        job = record.job
        if job.status is JobStatus.IN_PROGRESS and job.steps_done == self.hold_at_step:
            with self.changed:
                self.changed.wait(timeout=0.5)
            return
        if job.status is JobStatus.WAITING:
            with self.changed:
                self.changed.wait(timeout=0.5)
            return
        if job.status is JobStatus.QUEUED:
            self.tell(record, EventKind.STAGE, status=JobStatus.IN_PROGRESS, stage=Stage.DENOISE)
        elif job.spec.thinking in (Thinking.ON, Thinking.REVIEW) and job.plan is None:
            self._think(record)
        elif job.spec.task is Task.UNDERSTAND and self.failure is None:
            self._say(record)
        elif job.steps_done < job.spec.steps:
            self.tell(record, EventKind.STEP, steps_done=job.steps_done + 1, steps_total=job.spec.steps)
            self._show(record)
        elif self.failure is not None:
            self.tell(record, EventKind.FAILED, status=JobStatus.FAILED, error=ErrorInfo.of(self.failure))
        else:
            kind = MediaKind.VIDEO if job.spec.task.makes_video else MediaKind.IMAGE
            name = f"{job.id}.{self.media_type.rpartition('/')[2]}"
            assets = (self.keep("asset", self.result, kind, name, self.media_type),)
            self.tell(record, EventKind.COMPLETED, status=JobStatus.COMPLETED, assets=assets)

    def _think(self, record: JobRecord) -> None:
        """Plan what was asked, in capitals; then wait for a word, if one was asked for."""
        spec = record.job.spec
        roles = {visual.tag: visual.role or Role.SOURCE for visual in record.job.request.visuals}
        plan = Plan(task=spec.task, roles=roles, dense_prompt=spec.instruction.upper())
        self.tell(record, EventKind.PLAN, stage=Stage.PLAN, plan=plan)
        if spec.thinking is Thinking.REVIEW:
            self.tell(record, EventKind.WAITING, status=JobStatus.WAITING, plan=plan)

    def _show(self, record: JobRecord) -> None:
        """A picture of what is on its way, where one was asked for and it is time."""
        spec, done = record.job.spec, record.job.steps_done
        if spec.preview_every_steps and done < spec.steps and done % spec.preview_every_steps == 0:
            name = f"{record.job.id}-step{done}.gif"
            shown = self.keep("asset", SMALLEST_GIF, MediaKind.IMAGE, name, "image/gif")
            # Of the event only: a preview is no result.
            event = JobEvent.model_validate(
                {
                    **record.events[-1].model_dump(),
                    "seq": len(record.events) + 1,
                    "kind": EventKind.PREVIEW,
                    "assets": (shown,),
                }
            )
            with self.changed:
                record.events.append(event)
                self.changed.notify_all()

    def _say(self, record: JobRecord) -> None:
        """One more word of the answer; then the end."""
        words, told = self.answer.split(), (record.job.answer or "").split()
        if len(told) == len(words):
            self.tell(record, EventKind.COMPLETED, status=JobStatus.COMPLETED)
            return
        text = words[len(told)] if not told else f" {words[len(told)]}"
        record.job = record.job.model_copy(update={"answer": (record.job.answer or "") + text})
        self.tell(record, EventKind.TEXT, stage=Stage.ANSWER, text=text)

    def decide(self, record: JobRecord, decision: PlanDecision) -> None:
        """Take a word on a waiting plan.

        Raises:
            PlanConflict: it does not wait.
            PlanInvalid: the edited plan asks back.
        """
        if record.job.status is not JobStatus.WAITING:
            raise PlanConflict(f"job {record.job.id} is {record.job.status}: no plan of it waits for a decision")
        if not decision.approved:
            error = ErrorInfo.of(PlanRejected("its owner rejected the plan"))
            self.tell(record, EventKind.FAILED, status=JobStatus.FAILED, error=error)
            return
        plan = decision.plan or record.job.plan
        if plan is None or plan.task is None or plan.clarification is not None:
            raise PlanInvalid("an approved plan names its task and asks nothing back", param="plan.clarification")
        changes = {"task": plan.task, "instruction": plan.dense_prompt or record.job.spec.instruction}
        record.job = record.job.model_copy(update={"plan": plan, "spec": record.job.spec.model_copy(update=changes)})
        self.tell(record, EventKind.QUEUED, status=JobStatus.QUEUED)

    def tell(self, record: JobRecord, kind: EventKind, **changes: Any) -> None:
        """Change a job and add the event that tells of it."""
        with self.changed:
            kept = {name: value for name, value in changes.items() if name in Job.model_fields}
            record.job = record.job.model_copy(update=kept)
            told = {name: value for name, value in changes.items() if name in JobEvent.model_fields}
            told = {"steps_done": record.job.steps_done, "steps_total": record.job.steps_total, **told}
            seq = len(record.events) + 1
            record.events.append(JobEvent(job_id=record.job.id, seq=seq, kind=kind, time_s=float(seq), **told))
            self.changed.notify_all()

    def keep(self, prefix: str, content: bytes, kind: MediaKind, name: str, media_type: str) -> Asset:
        """Take a file in, as an upload or a result."""
        asset = Asset(
            id=f"{prefix}_{len(self.files) + 1:016d}",
            kind=kind,
            media_type=media_type,
            num_bytes=len(content),
            filename=name,
            height_px=1,
            width_px=1,
            num_frames=5 if kind is MediaKind.VIDEO else 1,
            fps=8.0 if kind is MediaKind.VIDEO else 0.0,
        )
        self.files[asset.id] = (asset, content)
        return asset

    def forget(self, identifier: str) -> None:
        """Forget a finished job and its results, or a file.

        Raises:
            JobUnfinished: it is not over.
        """
        if identifier not in self.records:
            self.file(identifier)
            del self.files[identifier]
            return
        job = self.records[identifier].job
        if not job.status.final:
            raise JobUnfinished(f"job {job.id} is {job.status}; cancel it first")
        for asset in job.assets:
            self.files.pop(asset.id, None)
        del self.records[identifier]

    def file(self, asset_id: str) -> tuple[Asset, bytes]:
        """An asset and its bytes.

        Raises:
            AssetNotFound: there is none.
        """
        if asset_id not in self.files:
            raise AssetNotFound(f"no upload or asset is called {asset_id}")
        return self.files[asset_id]

    def record(self, job_id: str) -> JobRecord:
        """A job and its events.

        Raises:
            JobNotFound: there is none.
        """
        if job_id not in self.records:
            raise JobNotFound(f"no job is called {job_id}")
        return self.records[job_id]


def _spec(wanted: GenerationRequest, steps: int) -> JobSpec:
    return JobSpec(
        task=wanted.task or (Task.V2V_EDIT if wanted.visuals else Task.T2V),
        instruction=wanted.instruction,
        negative_prompt=wanted.negative_prompt or "",
        height_px=wanted.height_px or 16,
        width_px=wanted.width_px or 16,
        num_frames=wanted.num_frames or 5,
        fps=8.0,
        steps=0 if wanted.task is Task.UNDERSTAND else wanted.steps or steps,
        guidance=wanted.guidance or 4.0,
        image_guidance=wanted.image_guidance or 1.0,
        seed=wanted.seed or 0,
        tier=wanted.tier or Tier.EXACT,
        preview_every_steps=wanted.preview_every_steps,
        thinking=Thinking.OFF if wanted.thinking is Thinking.AUTO else wanted.thinking,
    )
