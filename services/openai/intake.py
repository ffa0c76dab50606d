"""Requests on their way in: bodies within limits, whatever form they have, and inputs as assets of this server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastapi import Request

from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import AssetNotFound, JobUnfinished, LimitExceeded, RequestInvalid, SessionError, VogueError
from vogue.schemas.jobs import Asset, Job
from vogue.schemas.ports import Orchestrator
from vogue.schemas.queries import Idempotency
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest

from ..blobs import BlobStore
from ..fetching import Fetcher
from ..forms import Received
from . import bodies
from .bodies import Body
from .references import DataUrl, KnownId, WebUrl, parse_reference, refuse_url
from .requests import Knobs
from .translate import Given, renamed

__all__ = [
    "Body",
    "Input",
    "Office",
    "forget",
    "once_of",
    "read_body",
    "result_of",
    "submit",
    "taken_in",
]

_MAX_DATA_BYTES = 16 * 1024 * 1024
_MAX_KEY_CHARS = 255


@dataclass(frozen=True, slots=True)
class Office:
    """What the routes work with."""

    orchestrator: Orchestrator
    blobs: BlobStore
    preset: Preset
    retention_s: float | None = None
    fetcher: Fetcher | None = None
    """Fetches what URLs of other servers name; without it they are refused."""

    @property
    def max_data_bytes(self) -> int:
        """What a data URL may hold."""
        return min(_MAX_DATA_BYTES, self.preset.limits.max_upload_bytes)


class Input(NamedTuple):
    """An input as the request names it: a file of the body, or a reference, or an asset that is known already."""

    field: str
    source: Received | str | Asset
    role: Role | None = None
    tag: str | None = None


async def read_body(request: Request, office: Office, files: Collection[str] = ()) -> Body:
    """See `bodies.read_body`."""
    return await bodies.read_body(request, office.blobs, office.preset.limits.max_upload_bytes, files)


def once_of(request: Request, body: Body) -> Idempotency | None:
    """What `Idempotency-Key` says: that this request may come twice.

    Raises:
        RequestInvalid: the key is too long.
    """
    key = request.headers.get("idempotency-key")
    if not key:
        return None
    if len(key) > _MAX_KEY_CHARS:
        raise RequestInvalid(
            f"the idempotency key has {len(key)} characters, and at most {_MAX_KEY_CHARS} are accepted"
        )
    return Idempotency(key=key, fingerprint=body.fingerprint)


@contextlib.asynccontextmanager
async def taken_in(request: Request, office: Office, inputs: Sequence[Input]) -> AsyncIterator[list[Given]]:
    """Inputs as assets: files and data URLs are stored and looked at, ids looked up.

    What came with a request that is refused within the block is not kept, since its owner never learns the ids.

    Raises:
        MediaUnreadable: something that is neither a picture nor a clip.
        AssetNotFound: an id that is none.
        UrlRefused: a URL of another server, and this one does not fetch it.
        UrlUnreachable: it was to be fetched, and was not there.
    """
    most = office.preset.limits.max_visuals
    if len(inputs) > most:
        raise LimitExceeded(f"{len(inputs)} inputs were given, and at most {most} are accepted", param=inputs[0].field)
    given: list[Given] = []
    try:
        for one in inputs:
            given.append(await _given(request, office, one))
        yield given
    except VogueError:
        await forget(office, given)
        raise


async def forget(office: Office, given: Sequence[Given]) -> None:
    """Delete what came with the request itself, unless a job at work reads it."""
    for one in given:
        if one.fresh:
            with contextlib.suppress(SessionError):
                await office.orchestrator.delete_asset(one.asset.id)


async def _given(request: Request, office: Office, one: Input) -> Given:
    try:
        asset = await _asset(request, office, one)
    except VogueError as error:
        raise type(error)(error.message, param=one.field, retry_after_s=error.retry_after_s) from error
    fresh = isinstance(one.source, Received) or (isinstance(one.source, str) and not _is_known(one.source, request))
    return Given(one.field, asset, one.role, one.tag, fresh)


async def _asset(request: Request, office: Office, one: Input) -> Asset:
    if isinstance(one.source, Asset):
        return one.source
    if isinstance(one.source, Received):
        return await office.orchestrator.add_upload(one.source.original, one.source.filename)
    found = parse_reference(one.source, request.url.netloc, office.max_data_bytes)
    if isinstance(found, WebUrl) and office.fetcher is not None:
        fetched = await office.fetcher.fetch(found.url)
        return await office.orchestrator.add_upload(fetched.original, fetched.filename)
    if isinstance(found, KnownId):
        return (await office.orchestrator.asset(found.asset_id)).asset
    if isinstance(found, DataUrl):
        artifact = await asyncio.to_thread(_store, found, office)
        return await office.orchestrator.add_upload(artifact, f"inline.{found.media_type.rpartition('/')[2]}")
    raise refuse_url(found)


def _is_known(text: str, request: Request) -> bool:
    """Whether a reference names something that was here before the request."""
    return text[:5].lower() != "data:" and isinstance(parse_reference(text, request.url.netloc, 0), KnownId)


def _store(found: DataUrl, office: Office) -> Artifact:
    with office.blobs.writer(office.max_data_bytes) as writer:
        for piece in found.pieces():
            writer.write(piece)
        uri, sha256 = writer.finish()
    return Artifact(uri=uri, sha256=sha256, media_type="application/octet-stream", num_bytes=writer.num_bytes)


async def result_of(office: Office, job_id: str) -> Asset:
    """The clip that a job has made.

    Raises:
        JobNotFound: there is no such job, or it makes no video.
        JobUnfinished: it is not over.
        AssetNotFound: it failed, or its clip was deleted.
    """
    job = await office.orchestrator.get(job_id)
    if not job.status.final:
        raise JobUnfinished(f"the video {job_id} is {job.status}, {job.steps_done} of {job.steps_total} steps are done")
    clip = next((asset for asset in job.assets if asset.kind == "video"), None)
    if clip is None:
        why = f": {job.error.message}" if job.error is not None else ""
        raise AssetNotFound(f"the video {job_id} has no content, the job is {job.status}{why}")
    return clip


async def submit(
    office: Office,
    wanted: GenerationRequest,
    knobs: Knobs,
    given: Sequence[Given],
    once: Idempotency | None,
    index: int = 0,
) -> Job:
    """Queue a job; errors speak of the fields that the caller wrote. Several jobs of one request differ in their `index`."""
    try:
        return await office.orchestrator.submit(wanted, _numbered(once, index))
    except VogueError as error:
        raise renamed(error, knobs, given) from error


def _numbered(once: Idempotency | None, index: int) -> Idempotency | None:
    """The key of one of several jobs. A header cannot hold the character between the two."""
    return once.model_copy(update={"key": f"{once.key}\n{index}"}) if once is not None and index else once
