"""The flow's `Journal`: what a job's worker writes down under its lease, and whom it tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from vogue.schemas.jobs import Asset, Stage, StoredAsset
from vogue.schemas.plan import Plan, Trial
from vogue.schemas.references import Artifact, Lossless, MediaKind
from vogue.schemas.requests import JobSpec
from vogue.schemas.stages import DecodedMedia, LatentCheckpoint

from .database import new_id
from .leases import Lease, LeaseTable
from .news import News
from .thoughts import ThoughtTable

__all__ = ["JobJournal"]

P = ParamSpec("P")


class _Pace:
    """How long the steps of a job take, since this worker has it."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def left_s(self, steps_done: int, steps_total: int) -> float | None:
        """Seconds until the last step, from those finished so far; None after the first, which tells nothing."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, steps_done)
        began_s, before = self._first
        if steps_done <= before:
            return None
        return (now - began_s) / (steps_done - before) * max(steps_total - steps_done, 0)


class JobJournal:
    """The flow's `Journal`, written under a lease."""

    def __init__(self, leases: LeaseTable, thoughts: ThoughtTable, news: News, lease: Lease) -> None:
        self._leases = leases
        self._thoughts = thoughts
        self._news = news
        self._lease = lease
        self._pace = _Pace()

    async def _record(self, write: Callable[Concatenate[Lease, P], None], *what: P.args, **named: P.kwargs) -> None:
        """Write under the lease, and tell whoever listens."""
        await asyncio.to_thread(write, self._lease, *what, **named)
        self._news.tell(self._lease.job_id)

    async def stage(self, stage: Stage) -> None:
        await self._record(self._leases.record_stage, stage)

    async def step(self, steps_done: int, steps_total: int) -> None:
        eta_s = self._pace.left_s(steps_done, steps_total)
        await self._record(self._leases.record_step, steps_done, steps_total, eta_s)

    async def preview(self, picture: Artifact, height_px: int, width_px: int, steps_done: int) -> None:
        asset = Asset(
            id=new_id("asset"),
            kind=MediaKind.IMAGE,
            media_type=picture.media_type,
            num_bytes=picture.num_bytes,
            filename=f"{self._lease.job_id}-step{steps_done}.{picture.media_type.partition('/')[2]}",
            height_px=height_px,
            width_px=width_px,
        )
        stored = StoredAsset(asset=asset, artifact=picture)
        await self._record(self._leases.record_preview, stored, steps_done)

    async def resumed(self, steps_done: int) -> None:
        await self._record(self._leases.record_resumed, steps_done)

    async def notice(self, message: str) -> None:
        await self._record(self._leases.record_notice, message)

    async def plan(self, plan: Plan) -> None:
        await self._record(self._thoughts.record_plan, plan)

    async def settle(self, spec: JobSpec) -> None:
        await asyncio.to_thread(self._thoughts.record_spec, self._lease, spec)

    async def text(self, start: int, piece: str) -> None:
        await self._record(self._thoughts.record_text, start, piece)

    async def answered(self) -> None:
        await asyncio.to_thread(self._leases.complete, self._lease, [])
        self._news.tell(self._lease.job_id, over=True)

    async def trial(self, trial: Trial) -> None:
        await self._record(self._thoughts.record_trial, trial)

    async def save_checkpoint(self, checkpoint: LatentCheckpoint) -> None:
        await asyncio.to_thread(self._leases.record_checkpoint, self._lease, checkpoint)

    async def last_checkpoint(self) -> LatentCheckpoint | None:
        return await asyncio.to_thread(self._leases.checkpoint, self._lease)

    async def complete(self, spec: JobSpec, decoded: DecodedMedia) -> None:
        results = _results(self._lease.job_id, spec, decoded)
        await asyncio.to_thread(self._leases.complete, self._lease, results)
        self._news.tell(self._lease.job_id, over=True)


def _results(job_id: str, spec: JobSpec, decoded: DecodedMedia) -> list[StoredAsset]:
    """The owner's view of what was decoded: the file and, for a video, a poster picture."""
    frames, height_px, width_px, _ = decoded.frames.shape
    makes_video = spec.makes_video

    def stored(artifact: Artifact, kind: MediaKind, suffix: str) -> StoredAsset:
        is_video = kind is MediaKind.VIDEO
        asset = Asset(
            id=new_id("asset"),
            kind=kind,
            media_type=artifact.media_type,
            num_bytes=artifact.num_bytes,
            filename=f"{job_id}{suffix}.{artifact.media_type.partition('/')[2]}",
            height_px=height_px,
            width_px=width_px,
            num_frames=frames if is_video else 1,
            fps=spec.fps if is_video else 0.0,
            has_audio=decoded.has_audio and is_video,
        )
        return StoredAsset(asset=asset, artifact=artifact)

    kind = MediaKind.VIDEO if makes_video else MediaKind.IMAGE
    media = stored(decoded.media, kind, "")
    if decoded.latents is not None:
        lossless = Lossless(
            kind=kind,
            frames=decoded.frames,
            latents=decoded.latents,
            fps=spec.fps,
            has_audio=media.asset.has_audio,
        )
        media = media.model_copy(update={"lossless": lossless})
    return [media, stored(decoded.poster, MediaKind.IMAGE, "-poster")] if makes_video else [media]
