"""`/v1/images`: pictures made or edited while the caller waits."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

from fastapi import FastAPI, Request

from vogue.schemas.errors import RequestInvalid, VogueError
from vogue.schemas.jobs import Job
from vogue.schemas.wire import validate

from . import translate
from .fields import size_of
from .intake import Body, Input, Office, forget, once_of, read_body, submit, taken_in
from .requests import ImageRequest
from .waiting import finished, first_result, unless_gone

__all__ = ["serve_images"]

_FILES = ("image", "image[]", "mask", "markup")


async def _make(request: Request, office: Office, body: Body, wanted: ImageRequest, inputs: list[Input]) -> list[Job]:
    """Queue one job for each picture, and wait for all of them."""
    translate.check_model(wanted.model, office.preset)
    once = once_of(request, body)
    translate.shape_of(wanted, office.preset)
    first = await office.orchestrator.submitted(once) if once is not None else None
    # The inputs of a repeated request are there already; under the same key, submitting gives the first jobs again.
    known = [Input("image", one.upload_id, one.role, one.tag) for one in first.request.visuals] if first else None
    async with taken_in(request, office, known if known is not None else inputs) as given:
        made = [translate.picture(wanted, given, office.preset, index) for index in range(wanted.n or 1)]
        jobs = [await submit(office, made[0], wanted, given, once)]
    # From here on the inputs belong to a job, and under a key its owner comes back for it.
    async with contextlib.AsyncExitStack() as stack:
        if once is None:
            await stack.enter_async_context(unless_gone(request))
        try:
            for index in range(1, len(made)):
                jobs.append(await submit(office, made[index], wanted, given, once, index))
        except VogueError:
            if once is None:
                for job in jobs:
                    await office.orchestrator.cancel(job.id)
                await forget(office, given)
            raise
        return await finished(office.orchestrator, jobs, keeps=once is not None)
    raise VogueError("the request ended before its pictures were there")


async def _answer(request: Request, office: Office, wanted: ImageRequest, jobs: list[Job]) -> dict[str, Any]:
    data = []
    for job in jobs:
        asset = first_result(job)
        entry: dict[str, Any] = {"asset_id": asset.id, "job_id": job.id, "seed": job.spec.seed}
        if wanted.response_format == "url":
            entry["url"] = str(request.url_for("asset_content", asset_id=asset.id))
        else:
            stored = await office.orchestrator.asset(asset.id)
            read = await asyncio.to_thread(lambda a: base64.b64encode(office.blobs.get(a)), stored.artifact)
            entry["b64_json"] = read.decode("ascii")
        data.append(entry)
    spec = jobs[0].spec
    return {
        "created": int(jobs[0].created_at_s),
        "data": data,
        "output_format": "png",
        "size": size_of(spec.height_px, spec.width_px),
        "background": "opaque",
    }


def serve_images(app: FastAPI, office: Office) -> None:
    """Add the routes."""

    @app.post("/v1/images/generations")
    async def generate(request: Request) -> dict[str, Any]:
        """Make pictures from a prompt."""
        body = await read_body(request, office)
        wanted = validate(ImageRequest, body.values)
        if wanted.images:
            raise RequestInvalid("pictures to be edited go to /v1/images/edits", param="images")
        more = [Input(f"visuals.{n}", one.reference, one.role, one.tag) for n, one in enumerate(wanted.visuals)]
        return await _answer(request, office, wanted, await _make(request, office, body, wanted, more))

    @app.post("/v1/images/edits")
    async def edit(request: Request) -> dict[str, Any]:
        """Edit the first picture given; the others are references."""
        body = await read_body(request, office, _FILES)
        for one in body.files:
            if not one.field.startswith("image"):
                raise RequestInvalid(
                    f"{one.field} is not supported: say in the prompt what to change, or give a picture with marks as a"
                    " visual of the role visual_prompt",
                    param=one.field,
                )
        wanted = validate(ImageRequest, body.values)
        inputs = [Input("image", one) for one in body.files]
        inputs += [Input(f"images.{n}", one.reference) for n, one in enumerate(wanted.images)]
        if not inputs:
            raise RequestInvalid("there is no picture to edit: send it in the field image, or image[]", param="image")
        inputs += [Input(f"visuals.{n}", one.reference, one.role, one.tag) for n, one in enumerate(wanted.visuals)]
        return await _answer(request, office, wanted, await _make(request, office, body, wanted, inputs))
