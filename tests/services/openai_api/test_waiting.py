"""Who is waited for, and which jobs end with the waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from vogue.schemas.errors import JobCancelled
from vogue.schemas.jobs import Job, JobEvent, JobStatus
from vogue.services.openai.waiting import finished


class Failing:
    """An orchestrator whose jobs are all cancelled by others."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.cancelled: list[str] = []

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[JobEvent]:
        for _ in ():
            yield _

    async def get(self, job_id: str, wait_s: float = 0.0) -> Job:
        return self.jobs[job_id].model_copy(update={"status": JobStatus.CANCELLED})

    async def cancel(self, job_id: str) -> Job:
        self.cancelled.append(job_id)
        return self.jobs[job_id]


@pytest.mark.parametrize("keeps", [True, False])
async def test_jobs_under_a_key_outlive_an_error(house: Any, keeps: bool) -> None:
    made = await house.make()
    orchestrator: Any = Failing()
    orchestrator.jobs = {name: made.model_copy(update={"id": name}) for name in ("job_a", "job_b")}
    with pytest.raises(JobCancelled):
        await finished(orchestrator, list(orchestrator.jobs.values()), keeps=keeps)
    assert orchestrator.cancelled == ([] if keeps else ["job_a", "job_b"])
