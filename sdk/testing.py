"""A VOGUE server in memory, to test programs that use VOGUE: no network, no models, no waiting.

    from vogue.testing import FakeServer

    server = FakeServer()
    with server.client() as vogue:
        job = vogue.generate("a red ball rolls").wait()
    assert server.requests[0].instruction == "a red ball rolls"

It keeps the server's contract (statuses, events, errors, ranges) but not its limits. It makes no picture: a job delivers the
bytes that the test gave.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np

from vogue.schemas.access import Account, MediaDeletion, Usage
from vogue.schemas.base import Contract
from vogue.schemas.errors import IdempotencyConflict, KeyInvalid, PlanConflict, RequestInvalid, SessionError, VogueError
from vogue.schemas.jobs import Asset, EventKind, Job, JobStatus
from vogue.schemas.plan import PlanDecision
from vogue.schemas.recipes import Replay, ReplayRequest
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.tensors import pack_tensor
from vogue.schemas.wire import validate

from .asynchronous import AsyncVogue
from .blocking import Vogue
from .loopback import listening
from .rehearsal import SMALLEST_GIF, Rehearsal
from .rehearsal_sessions import RehearsedSessions
from .retry import Retry

__all__ = ["SMALLEST_GIF", "FakeServer"]

_VIDEO_NAMES = (".mp4", ".mov", ".webm", ".mkv", ".gif")
Fault = VogueError | httpx.TransportError


class FakeServer:
    """A server in memory. A job goes on by one event each time somebody asks for it, and to its end for a listener.

    Args:
        steps: how many steps every job takes.
        result: the bytes each job delivers.
        media_type: what they are.
        failure: what every job ends with instead, if given.
        api_key: the one key that it takes; without one it asks for none.
    """

    def __init__(
        self,
        *,
        steps: int = 4,
        result: bytes = SMALLEST_GIF,
        media_type: str = "image/gif",
        failure: VogueError | None = None,
        api_key: str | None = None,
    ) -> None:
        self.stage = Rehearsal(steps, result, media_type, failure)
        """The jobs that are played; its fields may be changed at any time."""
        self.requests: list[GenerationRequest] = []
        """What was submitted, in order."""
        self.calls: list[tuple[str, str]] = []
        """Method and path of every call, in order."""
        self._sessions = RehearsedSessions(self.stage, self.requests)
        self.api_key = api_key
        self._keys: dict[str, str] = {}
        self._faults: list[Fault] = []
        self._break_after: list[int] = []

    def client(self, **options: Any) -> Vogue:
        """A blocking client of this server; it waits a millisecond where others wait seconds."""
        return Vogue("http://fake.invalid", transport=self.transport(), **{"retry": _IMPATIENT, **options})

    def async_client(self, **options: Any) -> AsyncVogue:
        """An asynchronous client of this server."""
        return AsyncVogue("http://fake.invalid", transport=self.transport(), **{"retry": _IMPATIENT, **options})

    def transport(self) -> httpx.MockTransport:
        """For a client made otherwise."""
        return httpx.MockTransport(self._handle)

    def listen(self) -> AbstractContextManager[str]:
        """Answer on a real port of this machine while the block lasts, for programs in other processes; gives the URL."""
        return listening(self._handle)

    def fail_next(self, *faults: Fault) -> None:
        """Answer the coming calls with these errors, or break their connections, before anything is done."""
        self._faults.extend(faults)

    def break_next_stream(self, after_bytes: int) -> None:
        """Break the next streamed answer (events, content) after so many bytes."""
        self._break_after.append(after_bytes)

    def advance(self, job_id: str) -> Job:
        """Let one more thing happen to a job."""
        record = self.stage.record(job_id)
        if not record.job.status.final:
            self.stage.advance(record)
        return record.job

    def _handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.calls.append((request.method, path))
        try:
            if self._faults:
                raise self._faults.pop(0)
            self._check_key(request)
            for method, pattern, answer in self._routes():
                match = re.fullmatch(pattern, path)
                if match and method == request.method:
                    return answer(request, *match.groups())
            raise SessionError(f"nothing is served at {request.method} {path}")
        except VogueError as error:
            headers = {} if error.retry_after_s is None else {"retry-after": f"{error.retry_after_s:g}"}
            return httpx.Response(error.http_status, json=error.body(), headers=headers)

    def _check_key(self, request: httpx.Request) -> None:
        is_open = request.url.path in ("/healthz", "/readyz")
        if (
            self.api_key is not None
            and not is_open
            and request.headers.get("authorization") != f"Bearer {self.api_key}"
        ):
            raise KeyInvalid("this server asks for an API key: set VOGUE_API_KEY")

    def _routes(self) -> tuple[tuple[str, str, Callable[..., httpx.Response]], ...]:
        return (
            ("GET", "/(?:healthz|readyz)", lambda _: httpx.Response(200, json={"status": "ok"})),
            ("GET", "/v1/models", lambda _: httpx.Response(200, json={"object": "list", "data": [{"id": "fake"}]})),
            ("POST", "/v1/uploads", self._upload),
            ("POST", "/v1/jobs", self._submit),
            ("GET", "/v1/jobs", self._list),
            ("GET", "/v1/jobs/([^/]+)", self._job),
            ("POST", "/v1/jobs/([^/]+)/cancel", self._cancel),
            ("POST", "/v1/jobs/([^/]+)/resume", self._resume),
            ("GET", "/v1/jobs/([^/]+)/plan", self._plan),
            ("POST", "/v1/jobs/([^/]+)/plan", self._decide),
            ("GET", "/v1/jobs/([^/]+)/events", self._events),
            ("GET", "/v1/jobs/([^/]+)/deliveries", self._deliveries),
            ("DELETE", "/v1/jobs/([^/]+)", self._forget),
            ("DELETE", "/v1/assets/([^/]+)", self._forget),
            ("POST", "/v1/replays", self._replay),
            ("GET", "/v1/me", self._account),
            ("DELETE", "/v1/me/media", self._forget_everything),
            *self._sessions.routes(),
            ("GET", "/v1/assets", self._assets),
            ("GET", "/v1/assets/([^/]+)/frames", self._frames),
            ("GET", "/v1/assets/([^/]+)", lambda _, asset_id: _answer(self.stage.file(asset_id)[0])),
            ("GET", "/v1/assets/([^/]+)/content", self._content),
        )

    def _upload(self, request: httpx.Request) -> httpx.Response:
        name, content = _multipart_file(request)
        kind = MediaKind.VIDEO if name.lower().endswith(_VIDEO_NAMES) else MediaKind.IMAGE
        return _answer(self.stage.keep("upload", content, kind, name, "application/octet-stream"))

    def _submit(self, request: httpx.Request) -> httpx.Response:
        wanted = validate(GenerationRequest, json.loads(request.read()))
        for visual in wanted.visuals:
            self.stage.file(visual.upload_id)
        key = request.headers.get("idempotency-key")
        if key is not None and (first := self._keys.get(key, "")) in self.stage.records:
            if self.stage.record(first).job.request != wanted:
                raise IdempotencyConflict(f"the idempotency key {key[:80]!r} came with another request before")
            return _answer(self.stage.record(first).job, 201)
        self.requests.append(wanted)
        record = self.stage.begin(wanted)
        if key is not None:
            self._keys[key] = record.job.id
        return _answer(record.job, 201)

    def _list(self, request: httpx.Request) -> httpx.Response:
        return _page(request, [record.job for record in self.stage.records.values()], self.stage.record)

    def _assets(self, request: httpx.Request) -> httpx.Response:
        return _page(request, [asset for asset, _ in self.stage.files.values()], self.stage.file)

    def _job(self, request: httpx.Request, job_id: str) -> httpx.Response:
        end_s = time.monotonic() + float(request.url.params.get("wait_s", 0))
        before: Job | None = None
        job = self.advance(job_id)
        # A job that waits for a word, or is held, moves for nobody who asks.
        while job is not before and not job.status.final and time.monotonic() < end_s:
            before, job = job, self.advance(job_id)
        return _answer(job)

    def _cancel(self, _: httpx.Request, job_id: str) -> httpx.Response:
        record = self.stage.record(job_id)
        if not record.job.status.final:
            self.stage.tell(record, EventKind.CANCELLED, status=JobStatus.CANCELLED)
        return _answer(record.job)

    def _deliveries(self, _: httpx.Request, job_id: str) -> httpx.Response:
        """None: a rehearsal calls nobody."""
        self.stage.record(job_id)
        return httpx.Response(200, json={"object": "list", "data": []})

    def _resume(self, _: httpx.Request, job_id: str) -> httpx.Response:
        record = self.stage.record(job_id)
        if record.job.status is JobStatus.FAILED:
            self.stage.failure = None
            self.stage.tell(record, EventKind.RESUMED, status=JobStatus.IN_PROGRESS)
            record.job = record.job.model_copy(update={"error": None})
        return _answer(record.job)

    def _plan(self, _: httpx.Request, job_id: str) -> httpx.Response:
        plan = self.stage.record(job_id).job.plan
        if plan is None:
            raise PlanConflict(f"job {job_id} has no plan, or not yet")
        return _answer(plan)

    def _decide(self, request: httpx.Request, job_id: str) -> httpx.Response:
        record = self.stage.record(job_id)
        self.stage.decide(record, validate(PlanDecision, json.loads(request.read())))
        return _answer(record.job)

    def _forget(self, _: httpx.Request, identifier: str) -> httpx.Response:
        self.stage.forget(identifier)
        return httpx.Response(200, json={"id": identifier, "deleted": True})

    def _account(self, _: httpx.Request) -> httpx.Response:
        stored = sum(len(content) for _, content in self.stage.files.values())
        running = sum(not record.job.status.final for record in self.stage.records.values())
        return _answer(Account(usage=Usage(open_jobs=running, num_files=len(self.stage.files), stored_bytes=stored)))

    def _forget_everything(self, _: httpx.Request) -> httpx.Response:
        counts = (len(self.stage.records), len(self.stage.files), self._sessions.forget_all())
        self.stage.records.clear()
        self.stage.files.clear()
        return _answer(MediaDeletion(num_jobs=counts[0], num_files=counts[1], num_sessions=counts[2]))

    def _replay(self, request: httpx.Request) -> httpx.Response:
        wanted = validate(ReplayRequest, json.loads(request.read()))
        spec, ids = wanted.recipe.spec, {one.tag: one.asset_id for one in wanted.recipe.inputs} | wanted.replacements
        visuals = [{"tag": one.tag, "role": one.role, "upload_id": ids[one.tag]} for one in wanted.recipe.inputs]
        for visual in visuals:
            self.stage.file(visual["upload_id"])
        fields = {"instruction": spec.instruction, "task": spec.task, "seed": spec.seed, "steps": spec.steps}
        again = validate(GenerationRequest, {**fields, "visuals": visuals, "thinking": "off"})
        self.requests.append(again)
        return _answer(Replay(job=self.stage.begin(again).job), 201)

    def _frames(self, _: httpx.Request, asset_id: str) -> httpx.Response:
        asset, _content = self.stage.file(asset_id)
        if not asset.is_result:
            raise RequestInvalid(f"{asset_id} has no lossless frames: it is an upload")
        frames = np.zeros((asset.num_frames, asset.height_px, asset.width_px, 3), np.uint8)
        return httpx.Response(200, content=pack_tensor(frames))

    def _events(self, request: httpx.Request, job_id: str) -> httpx.Response:
        record = self.stage.record(job_id)
        after = int(request.headers.get("last-event-id") or 0)

        def told() -> Iterator[bytes]:
            seq = after
            yield b": hello\n\n"
            while True:
                while seq >= len(record.events):
                    if record.job.status.final:
                        return
                    self.stage.advance(record)
                    if seq >= len(record.events):
                        yield b": still here\n\n"
                event = record.events[seq]
                seq += 1
                yield f"id: {event.seq}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n".encode()

        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self._streamed(told()))

    def _content(self, request: httpx.Request, asset_id: str) -> httpx.Response:
        asset, content = self.stage.file(asset_id)
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start = int(asked[1]) if asked else 0
        if start >= len(content):
            return httpx.Response(416, headers={"content-range": f"bytes */{len(content)}"})
        headers = {"content-type": asset.media_type, "content-length": str(len(content) - start)}
        if asked:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return httpx.Response(206 if asked else 200, headers=headers, stream=self._streamed(iter([content[start:]])))

    def _streamed(self, chunks: Iterator[bytes]) -> _Chunks:
        return _Chunks(chunks, self._break_after.pop(0) if self._break_after else None)


class _Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces for either kind of client, which may break on the way."""

    def __init__(self, chunks: Iterator[bytes], break_after: int | None) -> None:
        self._chunks, self._left = chunks, break_after

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if self._left is not None and len(chunk) > self._left:
                yield chunk[: self._left]
                raise httpx.ReadError("the connection was reset")
            self._left = None if self._left is None else self._left - len(chunk)
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def _answer(contract: Contract, status: int = 200) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return httpx.Response(status, content=contract.model_dump_json(), headers=headers)


def _page(request: httpx.Request, oldest: Sequence[Asset | Job], find: Callable[[str], object]) -> httpx.Response:
    """A list answer, newest first; `find` raises for a `before` that there is not."""
    newest = [entry.model_dump(mode="json") for entry in reversed(oldest)]
    before = request.url.params.get("before")
    if before is not None:
        find(before)
        newest = newest[[entry["id"] for entry in newest].index(before) + 1 :]
    limit = int(request.url.params.get("limit", "20"))
    return httpx.Response(200, json={"object": "list", "data": newest[:limit]})


def _multipart_file(request: httpx.Request) -> tuple[str, bytes]:
    """Name and content of the field `file`."""
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].encode()
    for part in request.read().split(b"--" + boundary) if boundary else []:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="file"; filename="([^"]*)"', head)
        if name:
            return name[1].decode("utf-8"), content.removesuffix(b"\r\n")
    raise RequestInvalid("send the file as the multipart field `file`", param="file")


_IMPATIENT = Retry(first_delay_s=0.001, max_delay_s=60.0)
