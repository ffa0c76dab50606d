"""What tests of the flow begin with: a state, a journal that remembers, and a denoiser that dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from langgraph.types import RetryPolicy

from vogue.graph.resolve import resolve
from vogue.graph.state import FlowState, initial_state
from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import JobNotFound, ServiceError
from vogue.schemas.jobs import Asset, Stage, StoredAsset
from vogue.schemas.plan import Plan, Trial
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, VisualInput
from vogue.schemas.stages import DecodedMedia, DenoiseEvent, DenoiseJob, LatentCheckpoint
from vogue.services.blobs import BlobStore
from vogue.services.fakes import netpbm

__all__ = ["AT_ONCE", "CLIP", "PRESET", "Diary", "LosesJobs", "state_of"]

PRESET = get_preset("tiny")
AT_ONCE = RetryPolicy(
    initial_interval=0.0, max_attempts=3, jitter=False, retry_on=lambda error: isinstance(error, ServiceError)
)
CLIP = "upload_clip-clip-clip-clip"


class Diary:
    """A journal that remembers."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.checkpoint: LatentCheckpoint | None = None
        self.delivered: DecodedMedia | None = None
        self.spec: JobSpec | None = None
        self.said = ""
        self.over = False

    async def stage(self, stage: Stage) -> None:
        if stage not in self.entries:
            self.entries.append(stage)

    async def step(self, steps_done: int, steps_total: int) -> None:
        self.entries.append((steps_done, steps_total))

    async def preview(self, picture: Any, height_px: int, width_px: int, steps_done: int) -> None:
        self.entries.append(f"preview {height_px}×{width_px} after {steps_done}")

    async def resumed(self, steps_done: int) -> None:
        self.entries.append(f"from {steps_done}")

    async def notice(self, message: str) -> None:
        self.entries.append(message)

    async def plan(self, plan: Plan) -> None:
        self.entries.append(plan)

    async def settle(self, spec: JobSpec) -> None:
        self.spec = spec

    async def text(self, start: int, piece: str) -> None:
        self.said = self.said[:start] + piece

    async def answered(self) -> None:
        self.over = True

    async def trial(self, trial: Trial) -> None:
        self.entries.append(trial)

    async def save_checkpoint(self, checkpoint: LatentCheckpoint) -> None:
        self.checkpoint = checkpoint

    async def last_checkpoint(self) -> LatentCheckpoint | None:
        return self.checkpoint

    async def complete(self, spec: JobSpec, decoded: DecodedMedia) -> None:
        self.delivered = decoded


def state_of(blobs: BlobStore, preset: Preset = PRESET, clip_frames: int = 0, **fields: Any) -> FlowState:
    uploads: list[StoredAsset] = []
    visuals: tuple[VisualInput, ...] = ()
    if clip_frames:
        frames = np.arange(clip_frames * 32 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(clip_frames, 32, 48, 3)
        asset = Asset(
            id=CLIP,
            kind=MediaKind.VIDEO,
            media_type="video/x-portable-pixmap",
            num_bytes=1,
            filename="clip",
            height_px=32,
            width_px=48,
            num_frames=clip_frames,
            fps=8.0,
        )
        uploads.append(StoredAsset(asset=asset, artifact=blobs.put(netpbm(frames), asset.media_type)))
        visuals = (VisualInput(tag="video1", role=Role.SOURCE, upload_id=CLIP),)
    request = GenerationRequest(**({"instruction": "make it blue", "visuals": visuals} | fields))
    spec, _ = resolve(request, preset, {one.asset.id: one.asset for one in uploads}, 3)
    return initial_state("job_1", request, spec, uploads)


class LosesJobs:
    """A denoiser that dies after some steps of its first run, as a killed process does."""

    def __init__(self, inner: Any, after_steps: int) -> None:
        self._inner, self._after_steps = inner, after_steps
        self.started_from: list[int] = []

    async def start(self, job: DenoiseJob, resume_from: LatentCheckpoint | None = None) -> None:
        self.started_from.append(resume_from.steps_done if resume_from else 0)
        await self._inner.start(job, resume_from)

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[DenoiseEvent]:
        async for event in self._inner.events(job_id, after):
            if len(self.started_from) == 1 and event.steps_done > self._after_steps:
                await self._inner.cancel(job_id)
                async for _ in self._inner.events(job_id, event.seq):
                    pass
                raise JobNotFound("who?")
            yield event

    async def room_bytes(self) -> int | None:
        return None

    async def cancel(self, job_id: str) -> None:
        await self._inner.cancel(job_id)
