"""`Vogue`: `AsyncVogue` for programs without asyncio. Each method carries the coroutine of the same name to its end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self, Unpack

import httpx

from vogue.schemas.access import Account, MediaDeletion
from vogue.schemas.jobs import Asset
from vogue.schemas.recipes import Recipe
from vogue.schemas.requests import GenerationRequest

from .asynchronous import AsyncVogue
from .blocking_handles import AssetHandle, Assets, Files, JobHandle, Jobs
from .blocking_sessions import Sessions
from .exchange import Exchange, auth_headers, server_url, trusts_proxies
from .inputs import Media, Settings
from .retry import Retry
from .transport import BlockingTransport, run

__all__ = ["AssetHandle", "Assets", "Files", "JobHandle", "Jobs", "Vogue", "unsuspended"]


def unsuspended(
    server: str | None = None,
    *,
    api_key: str | None = None,
    timeout_s: float = 60.0,
    retry: Retry | None = None,
    transport: httpx.BaseTransport | None = None,
) -> AsyncVogue:
    """An `AsyncVogue` whose coroutines never suspend, so that `vogue.transport.run` carries them without an event loop."""
    url = server_url(server)
    client = httpx.Client(
        base_url=url,
        headers=auth_headers(api_key),
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
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._client = unsuspended(server, api_key=api_key, timeout_s=timeout_s, retry=retry, transport=transport)
        self.jobs = Jobs(self._client.jobs)
        self.assets = Assets(self._client.assets)
        self.files = Files(self._client.files)
        self.sessions = Sessions(self._client.sessions)

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

    def edit(self, instruction: str, source: Media, **settings: Unpack[Settings]) -> JobHandle:
        """See `AsyncVogue.edit`."""
        return JobHandle(run(self._client.edit(instruction, source, **settings)))

    def replay(
        self,
        recipe: str | os.PathLike[str] | bytes | Recipe,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        anyway: bool = False,
    ) -> JobHandle:
        """See `AsyncVogue.replay`."""
        work = self._client.replay(recipe, source=source, first_frame=first_frame, references=references, anyway=anyway)
        return JobHandle(run(work))

    def models(self) -> list[dict[str, Any]]:
        """See `AsyncVogue.models`."""
        return run(self._client.models())

    def account(self) -> Account:
        """See `AsyncVogue.account`."""
        return run(self._client.account())

    def delete_media(self) -> MediaDeletion:
        """See `AsyncVogue.delete_media`."""
        return run(self._client.delete_media())

    def is_ready(self) -> bool:
        """See `AsyncVogue.is_ready`."""
        return run(self._client.is_ready())
