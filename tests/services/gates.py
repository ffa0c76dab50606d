"""What tests of jobs on their way begin with: a request, and a denoiser that can be held at a step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from vogue.schemas.ports import Denoiser
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint

__all__ = ["REQUEST", "Gate"]

REQUEST = GenerationRequest(instruction="a red star", steps=8, seed=4)


class Gate:
    """A denoiser whose listeners see nothing beyond a step until the gate opens."""

    def __init__(self, inner: Denoiser, at_step: int) -> None:
        self._inner, self._at_step = inner, at_step
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self.resumed_from: list[int | None] = []
        self.cancelled: list[str] = []

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        self.resumed_from.append(resume_from.steps_done if resume_from else None)
        await self._inner.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        async for event in self._inner.events(job_id, after):
            if event.steps_done > self._at_step and not self.open.is_set():
                self.reached.set()
                await self.open.wait()
            yield event

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        await self._inner.cancel(job_id)
