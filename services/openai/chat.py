"""`/v1/chat/completions`: answers about pictures and clips, and pictures and clips as answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from vogue.schemas.config import Task
from vogue.schemas.errors import ClarificationNeeded, RequestInvalid, VogueError
from vogue.schemas.jobs import EventKind, Job, JobStatus
from vogue.schemas.requests import GenerationRequest, Thinking
from vogue.schemas.wire import validate

from . import translate
from .intake import Body, Input, Office, once_of, read_body, submit, taken_in
from .requests import ChatRequest
from .waiting import failure_of, finished, first_result, unless_gone
from .wishes import Wish, wish_of

__all__ = ["serve_chat"]

_KEEP_ALIVE_S = 15.0


async def _begin(request: Request, office: Office, body: Body, wanted: ChatRequest) -> Job:
    """Queue what the conversation asks for."""
    translate.check_model(wanted.model, office.preset)
    if wanted.thinking is Thinking.REVIEW:
        raise RequestInvalid("a chat cannot wait until a plan is approved; submit a job to /v1/jobs", param="thinking")
    once = once_of(request, body)
    if once is not None and (first := await office.orchestrator.submitted(once)) is not None:
        return first
    translate.shape_of(wanted, office.preset)
    wish = wish_of(wanted)
    inputs = [Input(one.field, one.reference, one.role, one.tag) for one in wish.mentions]
    inputs += [Input(f"visuals.{n}", one.reference, one.role, one.tag) for n, one in enumerate(wanted.visuals)]
    async with taken_in(request, office, inputs) as given:
        return await submit(office, _wanted(wish, wanted, given, office), wanted, given, once)
    raise VogueError("the request ended before its job was queued")


def _wanted(wish: Wish, wanted: ChatRequest, given: list[translate.Given], office: Office) -> GenerationRequest:
    if wish.kind == "text":
        return _question(wish, wanted, given, office)
    fields: dict[str, Any] = dict(translate.shape_of(wanted, office.preset))
    if wish.kind == "image" and wanted.num_frames != 1:
        fields["num_frames"] = 1
    return translate.generation(wish.prompt, wanted, given, wish.kind == "video", **fields)


def _question(wish: Wish, wanted: ChatRequest, given: list[translate.Given], office: Office) -> GenerationRequest:
    longest = office.preset.mllm.max_new_tokens
    # Both are upper bounds, so the lower one holds.
    tokens = min(longest, wanted.max_completion_tokens or wanted.max_tokens or longest)
    knobs = wanted if wanted.task is not None else wanted.model_copy(update={"task": Task.UNDERSTAND})
    fields: dict[str, Any] = dict(translate.shape_of(wanted, office.preset)) | {"max_new_tokens": tokens}
    if wanted.temperature is not None:
        fields["temperature"] = wanted.temperature
    return translate.generation(wish.prompt, knobs, given, False, **fields)


def _told(request: Request, job: Job) -> str:
    """What a finished job has to say: its answer, or links to what it made."""
    if not job.spec.task.makes_media:
        return job.answer or ""
    asset = first_result(job)
    url = request.url_for("asset_content", asset_id=asset.id)
    said = " ".join(job.request.instruction.split()).replace("[", "(").replace("]", ")")
    return f"{'' if asset.kind == 'video' else '!'}[{said[:200]}]({url})"


def _extras(request: Request, job: Job) -> dict[str, Any]:
    """Fields of our own: what was made, by which job."""
    assets = [
        {
            "url": str(request.url_for("asset_content", asset_id=asset.id)),
            **asset.model_dump(mode="json", exclude={"num_bytes"}),
        }
        for asset in job.assets
    ]
    return {"assets": assets, "job_ids": [job.id]}


def _question_back(error: VogueError) -> str:
    """A request that cannot be met as it is is answered by the question that would help."""
    if isinstance(error, ClarificationNeeded):
        return error.message
    raise error


async def _whole(request: Request, office: Office, job: Job, keeps: bool) -> JSONResponse:
    """The answer in one piece. A job nobody waits for is cancelled, unless the caller said that it will ask again (`keeps`)."""
    try:
        if keeps:
            (over,) = await finished(office.orchestrator, [job], keeps=True)
        else:
            async with unless_gone(request):
                (over,) = await finished(office.orchestrator, [job])
        content, extras = _told(request, over), _extras(request, over)
    except ClarificationNeeded as error:
        content, extras = _question_back(error), {"assets": [], "job_ids": [job.id]}
    message = {"role": "assistant", "content": content, "refusal": None, **extras}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return JSONResponse(_head(office, job, "chat.completion") | {"choices": [choice]})


def _head(office: Office, job: Job, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{job.id}", "object": kind, "created": int(job.created_at_s), "model": office.preset.name}


class _Stream:
    """The answer as it comes, in server-sent events."""

    def __init__(self, request: Request, office: Office, job: Job, keeps: bool) -> None:
        self._request, self._office, self._job, self._keeps = request, office, job, keeps
        self._cancelling: asyncio.Task[Job] | None = None

    def _chunk(self, finish: str | None = None, **delta: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event(_head(self._office, self._job, "chat.completion.chunk") | {"choices": [choice]})

    async def __aiter__(self) -> AsyncIterator[bytes]:
        over = False
        try:
            yield self._chunk(role="assistant", content="")
            async for piece in self._pieces():
                yield piece
            over = True
        except VogueError as error:
            # The head of the answer is long sent; the client raises what it reads here.
            over = True
            yield _event(error.body())
        finally:
            if not over and not self._keeps:
                # Whoever left is not waited for, and this generator may not wait either.
                self._cancelling = asyncio.create_task(self._office.orchestrator.cancel(self._job.id))
        yield b"data: [DONE]\n\n"

    async def _pieces(self) -> AsyncIterator[bytes]:
        events = self._office.orchestrator.events(self._job.id)
        pending = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                done, _ = await asyncio.wait({pending}, timeout=_KEEP_ALIVE_S)
                if not done:
                    yield b": still here\n\n"
                    continue
                event = pending.result()
                if event is None:
                    break
                if event.kind is EventKind.TEXT:
                    yield self._chunk(content=event.text)
                pending = asyncio.ensure_future(anext(events, None))
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        job = await self._office.orchestrator.get(self._job.id)
        if job.status is not JobStatus.COMPLETED:
            yield self._chunk(content=_question_back(failure_of(job)))
        elif job.spec.task.makes_media:
            yield self._chunk(content=_told(self._request, job), **_extras(self._request, job))
        yield self._chunk("stop")


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def serve_chat(app: FastAPI, office: Office) -> None:
    """Add the route."""

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        """Answer the last message, in words or with a picture or clip."""
        body = await read_body(request, office)
        wanted = validate(ChatRequest, body.values)
        job = await _begin(request, office, body, wanted)
        keeps = "idempotency-key" in request.headers
        if not wanted.stream:
            return await _whole(request, office, job, keeps)
        stream = _Stream(request, office, job, keeps)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(aiter(stream), media_type="text/event-stream", headers=headers)
