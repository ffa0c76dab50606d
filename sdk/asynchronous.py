"""The client, written once: `AsyncVogue`, whose jobs are in `vogue.handles` and files in `vogue.assets`.

`vogue.blocking` is the same for programs without asyncio.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self, Unpack

import httpx
import numpy as np

from vogue.schemas.access import Account, MediaDeletion
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.jobs import Asset
from vogue.schemas.recipes import Recipe, Replay, ReplayRequest
from vogue.schemas.requests import GenerationRequest, Thinking

from .assets import AsyncAssets, list_entries
from .conversation import AsyncSessions
from .exchange import Exchange, auth_headers, server_url, trusts_proxies
from .files import AsyncFiles
from .handles import AsyncJobHandle, AsyncJobs
from .inputs import Media, Settings, build_request, open_media
from .pixels import Clip, Picture
from .recipes import read_recipe
from .retry import Retry
from .transport import AsyncTransport

__all__ = ["AsyncVogue"]


class AsyncVogue:
    """A client of a VOGUE server. Use it as an `async with` block, or `close()` it.

    Args:
        server: the server's URL; by default `$VOGUE_SERVER`, else `http://127.0.0.1:8000`.
        api_key: for servers that ask for one; by default `$VOGUE_API_KEY`. It goes to this server only.
        timeout_s: how long one exchange may take; it does not limit a job.
        retry: how often to try what may work the next time.
        transport: httpx's transport, such as one of `vogue.testing`.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = server_url(server)
        client = httpx.AsyncClient(
            base_url=url,
            headers=auth_headers(api_key),
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            transport=transport,
            trust_env=trusts_proxies(url),
        )
        self._attach(Exchange(AsyncTransport(client), url, retry or Retry()))

    @classmethod
    def over(cls, exchange: Exchange) -> Self:
        """A client over another exchange; `Vogue` is made of one whose transport never suspends."""
        client = cls.__new__(cls)
        client._attach(exchange)
        return client

    def _attach(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.jobs = AsyncJobs(exchange)
        self.assets = AsyncAssets(exchange)
        self.files = AsyncFiles(self.assets, self.upload)
        self.sessions = AsyncSessions(exchange, self.upload)

    @property
    def server(self) -> str:
        """The server's URL."""
        return self._exchange.server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Jobs go on."""
        await self._exchange.transport.close()

    async def upload(self, media: Media, name: str | None = None) -> Asset:
        """Give the server a picture or clip; what it holds already is not sent again.

        Raises:
            MediaUnreadable: no such file, or the server finds no picture in it.
            LimitExceeded: larger or longer than the server takes.
        """
        if isinstance(media, str | bytes | os.PathLike | np.ndarray | Clip | Picture):
            return await self.assets.add(open_media(media, name))
        return media if isinstance(media, Asset) else media.asset

    async def submit(self, request: GenerationRequest) -> AsyncJobHandle:
        """Send a request whose inputs are uploaded. The server has stored the job when this returns."""
        return await self.jobs.submit(request)

    async def generate(
        self,
        instruction: str,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        visual_prompts: Sequence[Media] = (),
        inputs: Sequence[Media] = (),
        **settings: Unpack[Settings],
    ) -> AsyncJobHandle:
        """Upload the inputs and submit one instruction about them.

        Args:
            source: the picture or clip to edit.
            first_frame: the picture a clip shall start from.
            references: pictures of whom or what shall appear.
            visual_prompts: pictures with marks drawn on them, which say what to do.
            inputs: pictures and clips whose part the server shall find out.
            settings: the optional fields of `GenerationRequest`.

        Raises:
            RequestInvalid: the request contradicts its contract or the server's limits; `param` names the field.
        """
        request = await build_request(
            instruction,
            self.upload,
            source=source,
            first_frame=first_frame,
            references=references,
            visual_prompts=visual_prompts,
            inputs=inputs,
            settings=dict(settings),
        )
        return await self.submit(request)

    async def understand(
        self,
        question: str,
        *inputs: Media,
        temperature: float | None = None,
        max_new_tokens: int | None = None,
        seed: int | None = None,
    ) -> AsyncJobHandle:
        """Ask about pictures and clips, or ask for a caption. The answer is the job's `answer` once it is waited for.

        Args:
            temperature: 0, the default, gives the likeliest answer.
            max_new_tokens: how long the answer may get.

        Raises:
            RequestInvalid: the request contradicts its contract or the server's limits.
        """
        return await self.generate(
            question,
            inputs=inputs,
            task=Task.UNDERSTAND,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )

    async def plan(
        self,
        instruction: str,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        visual_prompts: Sequence[Media] = (),
        inputs: Sequence[Media] = (),
        **settings: Unpack[Settings],
    ) -> AsyncJobHandle:
        """As `generate`, up to the plan: the job waits with it until `approve` or `reject`.

        Raises:
            ClarificationNeeded: the model asks back.
            ThinkingUnavailable: the server's weights cannot plan.
        """
        settings["thinking"] = Thinking.REVIEW
        job = await self.generate(
            instruction,
            source=source,
            first_frame=first_frame,
            references=references,
            visual_prompts=visual_prompts,
            inputs=inputs,
            **settings,
        )
        return await job.wait(until_plan=True)

    async def edit(self, instruction: str, source: Media, **settings: Unpack[Settings]) -> AsyncJobHandle:
        """Change a picture or clip; short for `generate` with a source."""
        return await self.generate(instruction, source=source, **settings)

    async def replay(
        self,
        recipe: str | os.PathLike[str] | bytes | Recipe,
        *,
        source: Media | None = None,
        first_frame: Media | None = None,
        references: Sequence[Media] = (),
        anyway: bool = False,
    ) -> AsyncJobHandle:
        """Make a delivered file again, from the recipe that it carries: the same pixels on the same engine.

        Args:
            recipe: the file, its bytes, or its recipe as `read_recipe` gives it.
            source, first_frame, references: files in place of inputs that the server no longer has.
            anyway: also where other pixels will come out; the handle's `differences` say why.

        Raises:
            MediaUnreadable: the file carries no recipe.
            ReplayMismatch: this server would make other pixels.
            AssetNotFound: an input is missing; `param` is its tag.
        """
        found = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
        given = [(Role.SOURCE, source), (Role.FIRST_FRAME, first_frame), *((Role.REFERENCE, one) for one in references)]
        places = {role: [one.tag for one in found.inputs if one.role is role] for role in Role}
        replacements = {}
        for role, media in given:
            if media is None:
                continue
            if not places[role]:
                raise RequestInvalid(f"the recipe has no {role} input left to replace", param=role.value)
            replacements[places[role].pop(0)] = (await self.upload(media)).id
        wanted = ReplayRequest(recipe=found, replacements=replacements, anyway=anyway)
        body, headers = wanted.model_dump_json().encode(), {"content-type": "application/json"}
        replay = await self._exchange.fetch(
            Replay, "POST", "/v1/replays", content=body, headers=headers, repeatable=False
        )
        return AsyncJobHandle(self._exchange, replay.job, replay.differences)

    async def models(self) -> list[dict[str, Any]]:
        """What the server can run, with its limits."""
        return list_entries((await self._exchange.call("GET", "/v1/models")).content)

    async def account(self) -> Account:
        """Which key this is, what it may have on the server, and how much of that is used."""
        return await self._exchange.fetch(Account, "GET", "/v1/me")

    async def delete_media(self) -> MediaDeletion:
        """Stop all jobs of this key, and forget them with every file and session. On a server without keys, everybody's."""
        return await self._exchange.fetch(MediaDeletion, "DELETE", "/v1/me/media")

    async def is_ready(self) -> bool:
        """Whether the server takes jobs now; one try. One that is too busy to say so within seconds does not.

        Raises:
            ServiceError: no server answers.
        """
        transport = self._exchange.transport
        try:
            return (await transport.send(transport.build("GET", "/readyz", timeout=5.0))).is_success
        except httpx.ReadTimeout:
            return False
        except httpx.TransportError as fault:
            raise self._exchange.connection_error(fault) from fault
