"""The server's jobs and files for programs without asyncio; see `vogue.handles` and `vogue.assets`."""

from __future__ import annotations

import builtins
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.errors import VogueError
from vogue.schemas.jobs import Asset, Job, JobEvent, JobStatus
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.queries import WebhookDelivery
from vogue.schemas.requests import GenerationRequest

from .assets import AsyncAssetHandle, AsyncAssets
from .exchange import FileOpener
from .files import AsyncFiles
from .handles import AsyncJobHandle, AsyncJobs, Progress
from .inputs import Media
from .transport import iterate, run

__all__ = ["AssetHandle", "Assets", "Files", "JobHandle", "Jobs"]


class Jobs:
    """See `AsyncJobs`."""

    def __init__(self, jobs: AsyncJobs) -> None:
        self._jobs = jobs

    def submit(self, request: GenerationRequest) -> JobHandle:
        """See `AsyncVogue.submit`."""
        return JobHandle(run(self._jobs.submit(request)))

    def get(self, job_id: str, wait_s: float = 0.0) -> JobHandle:
        """See `AsyncJobs.get`."""
        return JobHandle(run(self._jobs.get(job_id, wait_s)))

    def list(self, limit: int = 20, before: str | None = None) -> list[JobHandle]:
        """See `AsyncJobs.list`."""
        return [JobHandle(job) for job in run(self._jobs.list(limit, before))]

    def cancel(self, job_id: str) -> JobHandle:
        """See `AsyncJobs.cancel`."""
        return JobHandle(run(self._jobs.cancel(job_id)))

    def resume(self, job_id: str) -> JobHandle:
        """See `AsyncJobs.resume`."""
        return JobHandle(run(self._jobs.resume(job_id)))

    def decide(self, job_id: str, decision: PlanDecision) -> JobHandle:
        """See `AsyncJobs.decide`."""
        return JobHandle(run(self._jobs.decide(job_id, decision)))

    def deliveries(self, job_id: str) -> builtins.list[WebhookDelivery]:
        """See `AsyncJobs.deliveries`."""
        return run(self._jobs.deliveries(job_id))

    def delete(self, job_id: str) -> None:
        """See `AsyncJobs.delete`."""
        run(self._jobs.delete(job_id))

    def events(self, job_id: str, after: int = 0, timeout_s: float | None = None) -> Iterator[JobEvent]:
        """See `AsyncJobs.events`."""
        return iterate(self._jobs.events(job_id, after, timeout_s))


class JobHandle:
    """See `AsyncJobHandle`."""

    def __init__(self, handle: AsyncJobHandle) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    @property
    def job(self) -> Job:
        """The last known state."""
        return self._handle.job

    @property
    def id(self) -> str:
        """The job's id."""
        return self._handle.id

    @property
    def status(self) -> JobStatus:
        """Where it stood when last asked."""
        return self._handle.status

    @property
    def plan(self) -> Plan | None:
        """What thinking mode had decided when last asked."""
        return self._handle.plan

    @property
    def answer(self) -> str | None:
        """What it had answered in words when last asked."""
        return self._handle.answer

    @property
    def differences(self) -> tuple[str, ...]:
        """Why a replay will not give the same pixels."""
        return self._handle.differences

    @property
    def results(self) -> list[AssetHandle]:
        """The files it has delivered."""
        return [AssetHandle(result) for result in self._handle.results]

    def refresh(self) -> Self:
        """See `AsyncJobHandle.refresh`."""
        run(self._handle.refresh())
        return self

    def cancel(self) -> Self:
        """See `AsyncJobHandle.cancel`."""
        run(self._handle.cancel())
        return self

    def resume(self) -> Self:
        """See `AsyncJobHandle.resume`."""
        run(self._handle.resume())
        return self

    def events(self, after: int = 0, timeout_s: float | None = None) -> Iterator[JobEvent]:
        """See `AsyncJobs.events`."""
        return iterate(self._handle.events(after, timeout_s))

    def deliveries(self) -> list[WebhookDelivery]:
        """See `AsyncJobs.deliveries`."""
        return run(self._handle.deliveries())

    def approve(self, plan: Plan | None = None) -> Self:
        """See `AsyncJobHandle.approve`."""
        run(self._handle.approve(plan))
        return self

    def reject(self) -> Self:
        """See `AsyncJobHandle.reject`."""
        run(self._handle.reject())
        return self

    def pieces(self) -> Iterator[str]:
        """See `AsyncJobHandle.pieces`."""
        return iterate(self._handle.pieces())

    def wait(
        self, progress: Progress | None = None, timeout_s: float | None = None, *, until_plan: bool = False
    ) -> Self:
        """See `AsyncJobHandle.wait`."""
        run(self._handle.wait(progress, timeout_s, until_plan=until_plan))
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """See `AsyncJobHandle.save`."""
        return run(self._handle.save(path))

    def frames(self) -> NDArray[np.uint8]:
        """See `AsyncJobHandle.frames`."""
        return run(self._handle.frames())

    def poster(self) -> bytes | None:
        """See `AsyncJobHandle.poster`."""
        return run(self._handle.poster())

    def _repr_html_(self) -> str:
        """For notebooks: a few facts and what it made."""
        # A cell that shows a job must not fail because the server went away.
        with contextlib.suppress(VogueError):
            self.poster()
        return self._handle._repr_html_()


class Assets:
    """See `AsyncAssets`."""

    def __init__(self, assets: AsyncAssets) -> None:
        self._assets = assets

    def get(self, asset_id: str) -> AssetHandle:
        """See `AsyncAssets.get`."""
        return AssetHandle(run(self._assets.get(asset_id)))

    def handle(self, asset: Asset) -> AssetHandle:
        """See `AsyncAssets.handle`."""
        return AssetHandle(self._assets.handle(asset))

    def delete(self, asset_id: str) -> None:
        """See `AsyncAssets.delete`."""
        run(self._assets.delete(asset_id))

    def add(self, file: FileOpener) -> Asset:
        """See `AsyncAssets.add`."""
        return run(self._assets.add(file))

    def list(self, limit: int = 20, before: str | None = None) -> list[AssetHandle]:
        """See `AsyncAssets.list`."""
        return [AssetHandle(asset) for asset in run(self._assets.list(limit, before))]


class Files:
    """See `AsyncFiles`."""

    def __init__(self, files: AsyncFiles) -> None:
        self._files = files

    def upload(self, media: Media, name: str | None = None) -> AssetHandle:
        """See `AsyncFiles.upload`."""
        return AssetHandle(run(self._files.upload(media, name)))

    def get(self, file_id: str) -> AssetHandle:
        """See `AsyncFiles.get`."""
        return AssetHandle(run(self._files.get(file_id)))

    def list(self, limit: int = 20, before: str | None = None) -> list[AssetHandle]:
        """See `AsyncFiles.list`."""
        return [AssetHandle(file) for file in run(self._files.list(limit, before))]

    def delete(self, file_id: str) -> None:
        """See `AsyncFiles.delete`."""
        run(self._files.delete(file_id))


class AssetHandle:
    """See `AsyncAssetHandle`."""

    def __init__(self, handle: AsyncAssetHandle) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.asset.id} {self.asset.filename}>"

    @property
    def asset(self) -> Asset:
        """What is known of it."""
        return self._handle.asset

    def read(self) -> bytes:
        """See `AsyncAssetHandle.read`."""
        return run(self._handle.read())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """See `AsyncAssetHandle.save`."""
        return run(self._handle.save(path))

    def frames(self) -> NDArray[np.uint8]:
        """See `AsyncAssetHandle.frames`."""
        return run(self._handle.frames())

    def _repr_png_(self) -> bytes | None:
        """For notebooks: a png as it is."""
        if self.asset.media_type != "image/png":
            return None
        with contextlib.suppress(VogueError):
            return self.read()
        return None
