"""`Vogue`: `AsyncVogue` for programs without asyncio. Each method carries the coroutine of the same name to its end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import httpx

from vogue.schemas.jobs import Asset, Job, JobEvent, JobStatus
from vogue.schemas.plan import Plan, PlanDecision
from vogue.schemas.requests import GenerationRequest

from .asynchronous import AsyncVogue
from .exchange import Exchange, FileOpener, server_url, trusts_proxies
from .handles import AsyncAssetHandle, AsyncAssets, AsyncJobHandle, AsyncJobs, Progress
from .inputs import Media, Settings
from .retry import Retry
from .transport import BlockingTransport, iterate, run

__all__ = ["AssetHandle", "Assets", "JobHandle", "Jobs", "Vogue", "unsuspended"]


def unsuspended(
    server: str | None = None,
    *,
    timeout_s: float = 60.0,
    retry: Retry | None = None,
    transport: httpx.BaseTransport | None = None,
) -> AsyncVogue:
    """An `AsyncVogue` whose coroutines never suspend, so that `vogue.transport.run` carries them without an event loop."""
    url = server_url(server)
    client = httpx.Client(
        base_url=url,
        timeout=httpx.Timeout(timeout_s, connect=10.0),
        transport=transport,
        trust_env=trusts_proxies(url),
    )
    return AsyncVogue.over(Exchange(BlockingTransport(client), url, retry or Retry()))


class Vogue:
    """A client of a VOGUE server. Use it as a `with` block, or `close()` it; the arguments are `AsyncVogue`'s."""

    def __init__(
        self,
        server: str | None = None,
        *,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = unsuspended(server, timeout_s=timeout_s, retry=retry, transport=transport)
        self.jobs = Jobs(self._client.jobs)
        self.assets = Assets(self._client.assets)

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._client.server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See `AsyncVogue.close`."""
        run(self._client.close())

    def upload(self, media: Media, name: str | None = None) -> Asset:
        """See `AsyncVogue.upload`."""
        return run(self._client.upload(media, name))

    def submit(self, request: GenerationRequest) -> JobHandle:
        """See `AsyncVogue.submit`."""
        return JobHandle(run(self._client.submit(request)))

    def generate(
        self,
        instruction: str,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        visual_prompts: Sequence[Media] = (),
        inputs: Sequence[Media] = (),
        **settings: Unpack[Settings],
    ) -> JobHandle:
        """See `AsyncVogue.generate`."""
        work = self._client.generate(
            instruction,
            source=source,
            first_frame=first_frame,
            references=references,
            visual_prompts=visual_prompts,
            inputs=inputs,
            **settings,
        )
        return JobHandle(run(work))

    def understand(
        self,
        question: str,
        *inputs: Media,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
        seed: int | None = None,
    ) -> JobHandle:
        """See `AsyncVogue.understand`."""
        work = self._client.understand(
            question, *inputs, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed
        )
        return JobHandle(run(work))

    def plan(
        self,
        instruction: str,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        visual_prompts: Sequence[Media] = (),
        inputs: Sequence[Media] = (),
        **settings: Unpack[Settings],
    ) -> JobHandle:
        """See `AsyncVogue.plan`."""
        work = self._client.plan(
            instruction,
            source=source,
            first_frame=first_frame,
            references=references,
            visual_prompts=visual_prompts,
            inputs=inputs,
            **settings,
        )
        return JobHandle(run(work))

    def models(self) -> list[dict[str, Any]]:
        """See `AsyncVogue.models`."""
        return run(self._client.models())

    def is_ready(self) -> bool:
        """See `AsyncVogue.is_ready`."""
        return run(self._client.is_ready())


class Jobs:
    """See `AsyncJobs`."""

    def __init__(self, jobs: AsyncJobs) -> None:
        self._jobs = jobs

    def submit(self, request: GenerationRequest) -> JobHandle:
        """See `AsyncVogue.submit`."""
        return JobHandle(run(self._jobs.submit(request)))

    def get(self, job_id: str) -> JobHandle:
        """See `AsyncJobs.get`."""
        return JobHandle(run(self._jobs.get(job_id)))

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


class Assets:
    """See `AsyncAssets`."""

    def __init__(self, assets: AsyncAssets) -> None:
        self._assets = assets

    def get(self, asset_id: str) -> AssetHandle:
        """See `AsyncAssets.get`."""
        return AssetHandle(run(self._assets.get(asset_id)))

    def add(self, file: FileOpener) -> Asset:
        """See `AsyncAssets.add`."""
        return run(self._assets.add(file))

    def list(self, limit: int = 20, before: str | None = None) -> list[AssetHandle]:
        """See `AsyncAssets.list`."""
        return [AssetHandle(asset) for asset in run(self._assets.list(limit, before))]


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
