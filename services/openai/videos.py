"""`/v1/videos`: jobs that make clips, in OpenAI's shape."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from vogue.schemas.config import Role
from vogue.schemas.errors import AssetNotFound, JobNotFound, RequestInvalid, SessionError
from vogue.schemas.jobs import Asset, Job
from vogue.schemas.queries import PageQuery
from vogue.schemas.references import MediaKind
from vogue.schemas.wire import validate

from ..delivery import deliver
from ..forms import Received
from . import translate
from .intake import Body, Input, Office, once_of, read_body, result_of, submit, taken_in
from .objects import page_object, poll_after_ms, video_object
from .requests import VideoRequest

__all__ = ["serve_videos"]

_Variant = Literal["video", "thumbnail", "spritesheet"]


async def _remixed_from(office: Office, job: Job) -> str | None:
    """The job whose result this one edits, if that is still there."""
    source = next((visual for visual in job.request.visuals if visual.role is Role.SOURCE), None)
    if source is None or not source.upload_id.startswith("asset_"):
        return None
    try:
        return (await office.orchestrator.asset(source.upload_id)).job_id
    except SessionError:
        return None


async def _object(office: Office, job: Job) -> dict[str, Any]:
    return video_object(job, office.preset, await _remixed_from(office, job), office.retention_s)


async def _answer(office: Office, job: Job) -> JSONResponse:
    """A video, and when to ask again."""
    headers = {} if job.status.final else {"openai-poll-after-ms": str(poll_after_ms(job, time.time()))}
    return JSONResponse(await _object(office, job), headers=headers)


async def _video(office: Office, video_id: str) -> Job:
    job = await office.orchestrator.get(video_id)
    if not job.spec.task.makes_video:
        raise JobNotFound(
            f"the job {video_id} makes no video but does {job.spec.task}; ask for it at /v1/jobs/{video_id}"
        )
    return job


async def _make(request: Request, office: Office, body: Body, inputs: list[Input]) -> JSONResponse:
    """Queue what the body asks for, with these inputs and those of `visuals`."""
    wanted = validate(VideoRequest, body.values)
    translate.check_model(wanted.model, office.preset)
    once = once_of(request, body)
    if once is not None and (first := await office.orchestrator.submitted(once)) is not None:
        return await _answer(office, first)
    more = [Input(f"visuals.{n}", one.reference, one.role, one.tag) for n, one in enumerate(wanted.visuals)]
    translate.shape_of(wanted, office.preset)  # what is wrong with the words shows before any file is looked at
    async with taken_in(request, office, [*inputs, *more]) as given:
        job = await submit(office, translate.video(wanted, given, office.preset), wanted, given, once)
    return await _answer(office, job)


def serve_videos(app: FastAPI, office: Office) -> None:
    """Add the routes."""

    @app.post("/v1/videos")
    async def create(request: Request) -> JSONResponse:
        """Make a clip from a prompt, and from a picture or clip if one is given."""
        body = await read_body(request, office, ("input_reference",))
        wanted = validate(VideoRequest, body.values)
        if wanted.video is not None:
            raise RequestInvalid("a video to be edited goes to /v1/videos/edits", param="video")
        inputs = [Input(one.field, one) for one in body.files]
        if wanted.input_reference is not None:
            inputs.append(Input("input_reference", wanted.input_reference.reference))
        return await _make(request, office, body, inputs)

    @app.post("/v1/videos/edits")
    async def edit(request: Request) -> JSONResponse:
        """Edit an uploaded clip, or one that was made here."""
        body = await read_body(request, office, ("video",))
        wanted = validate(VideoRequest, body.values)
        if len(body.files) + (wanted.video is not None) != 1:
            raise RequestInvalid("give one video to edit: a file, or the id of a finished video", param="video")
        source: Received | Asset = body.files[0] if wanted.video is None else await result_of(office, wanted.video.id)
        return await _make(request, office, body, [Input("video", source)])

    @app.post("/v1/videos/{video_id}/remix")
    async def remix(request: Request, video_id: str) -> JSONResponse:
        """Edit a video that was made here."""
        body = await read_body(request, office)
        return await _make(request, office, body, [Input("video", await result_of(office, video_id))])

    @app.get("/v1/videos")
    async def videos(
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        """Videos by age."""
        query = PageQuery(limit=limit + 1, after=after, ascending=order == "asc", kind=MediaKind.VIDEO)
        found = await office.orchestrator.job_page(query)
        return page_object([await _object(office, job) for job in found], limit)

    @app.get("/v1/videos/{video_id}")
    async def video(video_id: str) -> JSONResponse:
        """A video as it stands."""
        return await _answer(office, await _video(office, video_id))

    @app.delete("/v1/videos/{video_id}")
    async def delete(video_id: str) -> dict[str, Any]:
        """Forget a finished video and all its files."""
        await _video(office, video_id)
        await office.orchestrator.delete(video_id)
        return {"id": video_id, "object": "video.deleted", "deleted": True}

    @app.post("/v1/videos/{video_id}/cancel")
    async def cancel(video_id: str) -> JSONResponse:
        """Stop a video, which then counts as failed. OpenAI has no word for this."""
        await _video(office, video_id)
        return await _answer(office, await office.orchestrator.cancel(video_id))

    @app.get("/v1/videos/{video_id}/content")
    async def content(
        video_id: str, variant: _Variant = "video", if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """The clip, its first frame, or a sheet of its frames."""
        return await _content(office, video_id, variant, if_none_match)


async def _content(office: Office, video_id: str, variant: _Variant, if_none_match: str | None) -> Response:
    await _video(office, video_id)
    clip = await result_of(office, video_id)
    if variant == "spritesheet":
        sheet = await office.orchestrator.sheet(clip.id)
        suffix = sheet.media_type.partition("/")[2]
        return deliver(office.blobs, sheet, f"{clip.id}-sheet", f"{video_id}-sheet.{suffix}", if_none_match)
    asset = clip
    if variant == "thumbnail":
        job = await office.orchestrator.get(video_id)
        poster = next((one for one in job.assets if one.kind is MediaKind.IMAGE), None)
        if poster is None:
            raise AssetNotFound(f"the thumbnail of {video_id} was deleted")
        asset = poster
    stored = await office.orchestrator.asset(asset.id)
    return deliver(office.blobs, stored.artifact, asset.id, asset.filename, if_none_match)
