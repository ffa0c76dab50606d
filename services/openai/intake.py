"""Requests on their way in: bodies within limits, whatever form they have, and inputs as assets of this server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from fastapi import Request

from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import AssetNotFound, JobUnfinished, LimitExceeded, RequestInvalid, SessionError, VogueError
from vogue.schemas.jobs import Asset, Job
from vogue.schemas.ports import Orchestrator
from vogue.schemas.queries import Idempotency
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest

from ..blobs import BlobStore
from ..forms import FormLimits, FormRules, Received, receive_form
from .fields import nest
from .references import DataUrl, KnownId, parse_reference, refuse_url
from .requests import Knobs
from .translate import Given, renamed

__all__ = [
    "MAX_TEXT_BYTES",
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

MAX_TEXT_BYTES = 32 * 1024 * 1024
"""A JSON body, or the text of a form: data URLs need room."""
_MAX_DATA_BYTES = 16 * 1024 * 1024
_MAX_KEY_CHARS = 255


@dataclass(frozen=True, slots=True)
class Office:
    """What the routes work with."""

    orchestrator: Orchestrator
    blobs: BlobStore
    preset: Preset
    retention_s: float | None = None

    @property
    def max_data_bytes(self) -> int:
        """What a data URL may hold."""
        return min(_MAX_DATA_BYTES, self.preset.limits.max_upload_bytes)


class Body(NamedTuple):
    """A body as values and files, and a digest of all it says."""

    values: dict[str, Any]
    files: list[Received]
    fingerprint: str


class Input(NamedTuple):
    """An input as the request names it: a file of the body, or a reference, or an asset that is known already."""

    field: str
    source: Received | str | Asset
    role: Role | None = None
    tag: str | None = None


async def read_body(request: Request, office: Office, files: Collection[str] = ()) -> Body:
    """A body in JSON or as a form; `files` are the fields of a form that may hold files.

    Raises:
        RequestInvalid: neither, or malformed.
        LimitExceeded: larger than is accepted.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        limits = FormLimits(office.preset.limits.max_upload_bytes, max_text_bytes=MAX_TEXT_BYTES)
        rules = FormRules(files, param=next(iter(files), "file"))
        length = request.headers.get("content-length")
        form = await receive_form(content_type, length, request.stream(), office.blobs, limits, rules)
        values, received = nest(form.fields), form.files
    else:
        values, received = await _read_json(request), []
    said = json.dumps(values, sort_keys=True, separators=(",", ":"))
    total = hashlib.sha256(f"{request.method} {request.url.path}\0{said}".encode())
    for one in received:
        total.update(f"\0{one.field}\0{one.original.sha256}".encode())
    return Body(values, received, total.hexdigest())


async def _read_json(request: Request) -> dict[str, Any]:
    raw = bytearray()
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_TEXT_BYTES:
            raise LimitExceeded(
                f"the request body is larger than {MAX_TEXT_BYTES} bytes; upload large files to /v1/files"
            )
    if raw and content_type != "application/json":
        # A browser sends other types to any server without asking it first.
        raise RequestInvalid(f"the body is {content_type or 'of no type'}; send it as application/json")
    try:
        value = json.loads(raw or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestInvalid(f"the body is a JSON {type(value).__name__}; send an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


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
        UrlRefused: a URL of another server.
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
    fresh = isinstance(one.source, Received) or (isinstance(one.source, str) and one.source[:5].lower() == "data:")
    return Given(one.field, asset, one.role, one.tag, fresh)


async def _asset(request: Request, office: Office, one: Input) -> Asset:
    if isinstance(one.source, Asset):
        return one.source
    if isinstance(one.source, Received):
        return await office.orchestrator.add_upload(one.source.original, one.source.filename)
    found = parse_reference(one.source, request.url.netloc, office.max_data_bytes)
    if isinstance(found, KnownId):
        return (await office.orchestrator.asset(found.asset_id)).asset
    if isinstance(found, DataUrl):
        artifact = await asyncio.to_thread(_store, found, office)
        return await office.orchestrator.add_upload(artifact, f"inline.{found.media_type.rpartition('/')[2]}")
    raise refuse_url(found)


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
