"""What one key owns does not exist for another: tried on every route, those that are yet to be written included.

A route with an id in its path is tried by itself, with what `IDS` says about the name of its parameter, and must answer 404, exactly
as for an id that nobody has. A route without must be named in one of the tables, which say how it is tried.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Mount

from vogue.schemas.access import Scope
from vogue.schemas.errors import VogueError
from vogue.services.callers import ANYBODY, acting_for
from vogue.services.database import new_id
from vogue.toolbox import TOOLS

from .border import remote_orchestrator
from .keyed import Keyed, keyed_gateway, make, picture, upload

# Ray's own models, at import.
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")

OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
"""What needs no key, beside the studio's own files."""
NOBODYS = {("GET", "/v1/models"), ("GET", "/v1/models/{model}"), ("GET", "/openapi.json"), ("GET", "/v1/me")}
"""What shows nothing that anybody owns, or of the caller only; `test_limits` looks into the last one."""
LISTS = {"/v1/jobs", "/v1/assets", "/v1/sessions", "/v1/videos", "/v1/files"}
OWN = {("DELETE", "/v1/me/media")} | {
    ("POST", f"/v1/{name}") for name in ("uploads", "fetches", "files", "sessions", "webhooks/secret")
}
"""What makes something new of what comes along, or touches the caller's own things."""
ADMIN = {("GET", "/v1/counters"), ("GET", "/metrics")}
CARRIERS = {"/mcp"}
"""Tried by their tools, below."""

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/jobs/{job_id}/plan"): {"json": {"approved": True}},
    ("POST", "/v1/sessions/{session_id}/turns"): {"json": {"instruction": "make it blue"}},
    ("POST", "/v1/sessions/{session_id}/head"): {"json": {"turn": 1}},
    ("GET", "/v1/sessions/{session_id}/compare"): {"params": {"a": 1, "b": 1}},
    ("GET", "/v1/sessions/{session_id}/compare/picture"): {"params": {"a": 1, "b": 1}},
    ("POST", "/v1/videos/{video_id}/remix"): {"json": {"prompt": "make it blue"}},
}
"""What a route with an id in its path must be sent, so that it is the id that it refuses."""


def _recipe(asset: str) -> dict[str, Any]:
    spec = {
        "task": "i2i_edit",
        "instruction": "make it blue",
        "negative_prompt": "",
        "height_px": 32,
        "width_px": 32,
        "num_frames": 1,
        "fps": 8.0,
        "steps": 2,
        "guidance": 6.0,
        "image_guidance": 1.0,
        "seed": 1,
    }
    return {"spec": spec, "inputs": [{"tag": "image1", "role": "source", "kind": "image", "asset_id": asset}]}


def _edit(asset: str) -> dict[str, Any]:
    return {"instruction": "blue", "visuals": [{"tag": "image1", "role": "source", "upload_id": asset}]}


def _chat(part: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}]}}


MAKERS: dict[tuple[str, str], list[Callable[[str, str], dict[str, Any]]]] = {
    ("POST", "/v1/jobs"): [lambda asset, _: {"json": _edit(asset)}],
    ("POST", "/v1/replays"): [lambda asset, _: {"json": {"recipe": _recipe(asset), "anyway": True}}],
    ("POST", "/v1/videos"): [
        lambda asset, _: {"json": {"prompt": "x", "input_reference": {"file_id": asset}}},
    ],
    ("POST", "/v1/videos/edits"): [lambda _, job: {"json": {"prompt": "x", "video": {"id": job}}}],
    ("POST", "/v1/images/generations"): [lambda asset, _: {"json": {"prompt": "x", "visuals": [{"file_id": asset}]}}],
    ("POST", "/v1/images/edits"): [
        lambda asset, _: {"json": {"prompt": "x", "images": [{"file_id": asset}]}},
        lambda asset, _: {
            "json": {"prompt": "x", "images": [{"image_url": f"http://127.0.0.1:8000/v1/assets/{asset}/content"}]}
        },
    ],
    ("POST", "/v1/chat/completions"): [
        lambda asset, _: _chat({"type": "file", "file": {"file_id": asset}}),
        lambda asset, _: _chat({"type": "image_url", "image_url": {"url": asset}}),
    ],
}
"""Requests that name an asset or a job in their body."""


@dataclass
class Two:
    """A gateway, what one tenant owns there, and another tenant."""

    gateway: Keyed
    ids: dict[str, str]
    owner: httpx.AsyncClient
    other: httpx.AsyncClient

    def theirs(self, parameter: str) -> tuple[str, str]:
        """The owner's id for a parameter of a path, and one that nobody has."""
        kind = IDS[parameter]
        mine = self.ids[kind]
        return mine, new_id(mine.partition("_")[0])

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every route of the application, as (method, path)."""
        found = []
        for route in self.gateway.app.routes:
            if isinstance(route, Mount) or route.path.startswith("/studio"):  # type: ignore[attr-defined]
                continue
            methods = getattr(route, "methods", None) or {"POST"}
            found += [(method, route.path) for method in sorted(methods)]  # type: ignore[attr-defined]
        return found


IDS = {"job_id": "job", "video_id": "job", "asset_id": "asset", "file_id": "asset", "session_id": "session"}


@pytest.fixture(params=["in one process", "apart"])
async def two(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    async with (
        keyed_gateway(tmp_path, apart=request.param == "apart") as gateway,
        gateway.new_client() as owner,
        gateway.new_client() as other,
    ):
        job = await make(owner)
        asset = await upload(owner)
        session = (await owner.post("/v1/sessions")).json()["id"]
        turn = await owner.post(f"/v1/sessions/{session}/turns", json={"instruction": "a red star"})
        await owner.get(f"/v1/jobs/{turn.json()['job_id']}", params={"wait_s": 60})
        ids = {"job": job["id"], "asset": asset, "result": job["assets"][0]["id"], "session": session}
        yield Two(gateway, ids, owner, other)


async def _all_of(client: httpx.AsyncClient) -> dict[str, Any]:
    """Everything that somebody's lists show."""
    return {path: (await client.get(path)).json() for path in sorted(LISTS)}


def _answer(answer: httpx.Response, identifier: str) -> tuple[Any, ...]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}
    return answer.status_code, answer.text.replace(identifier, "ID"), headers


async def test_every_route_is_tried_in_some_way(two: Two) -> None:
    known = OPEN | NOBODYS | OWN | ADMIN | set(MAKERS) | {("GET", path) for path in LISTS}
    for method, path in two.routes:
        parameters = set(re.findall(r"{(\w+)", path))
        tried = parameters & set(IDS) or (method, path) in known or path in CARRIERS
        assert tried or method == "HEAD", f"{method} {path} is new: say above how another key may try to cross there"


async def test_an_id_of_another_key_is_an_id_that_nobody_has(two: Two) -> None:
    before = await _all_of(two.owner)
    for method, path in two.routes:
        names = [name for name in re.findall(r"{(\w+)", path) if name in IDS]
        if not names:
            continue
        theirs, nobodys = two.theirs(names[0])
        body = BODIES.get((method, path), {})
        answers = []
        for identifier in (theirs, nobodys):
            place = re.sub(r"{\w+(:\w+)?}", "1", path.replace(f"{{{names[0]}}}", identifier))
            answer = await two.other.request(method, place, **body)
            assert answer.status_code == 404, f"{method} {place}: {answer.status_code} {answer.text}"
            answers.append(_answer(answer, identifier))
        assert answers[0] == answers[1], path
        # The route does answer whoever owns it, so that the 404 was about the id.
        if method == "GET":
            place = re.sub(r"{\w+(:\w+)?}", "1", path.replace(f"{{{names[0]}}}", theirs))
            assert (await two.owner.get(place, **body)).status_code in (200, 400, 409), path
    assert await _all_of(two.owner) == before


async def test_what_another_key_owns_cannot_be_made_use_of(two: Two) -> None:
    for (method, path), tries in MAKERS.items():
        for build in tries:
            answers = []
            for asset, job in (
                (two.ids["asset"], two.ids["job"]),
                (new_id("upload"), new_id("job")),
            ):
                answer = await two.other.request(method, path, **build(asset, job))
                assert answer.status_code == 404, f"{method} {path}: {answer.text}"
                answers.append((answer.status_code, answer.text.replace(asset, "ID").replace(job, "ID")))
            assert answers[0] == answers[1], path
    session = (await two.other.post("/v1/sessions")).json()["id"]
    for asset in (two.ids["asset"], two.ids["result"]):
        turn = {"instruction": "make it blue", "inputs": [{"upload_id": asset}]}
        assert (await two.other.post(f"/v1/sessions/{session}/turns", json=turn)).status_code == 404
    assert (await two.other.get("/v1/jobs")).json()["data"] == []


async def test_lists_hold_ones_own_things_and_pages_begin_at_none_of_others(two: Two) -> None:
    mine = await upload(two.other)
    for path in sorted(LISTS):
        shown = (await two.other.get(path)).text
        assert not any(identifier in shown for identifier in two.ids.values()), path
    assert [one["id"] for one in (await two.other.get("/v1/assets")).json()["data"]] == [mine]
    kinds = {
        "/v1/jobs": "job",
        "/v1/assets": "asset",
        "/v1/sessions": "session",
        "/v1/videos": "job",
        "/v1/files": "asset",
    }
    for path, kind in kinds.items():
        answers = []
        for identifier in (two.ids[kind], new_id(two.ids[kind].partition("_")[0])):
            name = "after" if path in ("/v1/videos", "/v1/files") else "before"
            answer = await two.other.get(path, params={name: identifier})
            assert answer.status_code == 404, path
            answers.append(answer.text.replace(identifier, "ID"))
        assert answers[0] == answers[1], path


async def test_one_idempotency_key_of_two_tenants_is_two_keys(two: Two) -> None:
    headers = {"idempotency-key": "again"}
    body = {"instruction": "a red star", "seed": 1}
    mine, theirs, mine_again = [
        (await client.post("/v1/jobs", json=body, headers=headers)).json()["id"]
        for client in (two.owner, two.other, two.owner)
    ]
    assert mine == mine_again != theirs
    other = await two.other.post("/v1/jobs", json=body | {"seed": 2}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


async def test_nobody_can_hold_on_to_another_ones_file(two: Two) -> None:
    """A job whose words name the id, and which waits for ever, is no reader of it."""
    body = {"instruction": f"a star like {two.ids['asset']}", "thinking": "review"}
    job_id = (await two.other.post("/v1/jobs", json=body)).json()["id"]
    assert (await two.other.get(f"/v1/jobs/{job_id}")).status_code == 200
    assert (await two.owner.delete(f"/v1/assets/{two.ids['asset']}")).status_code == 200


MCP = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
ASSETS = {"source", "first_frame", "references", "visual_prompts", "media", "inputs", "before"}
HARMLESS = {
    *("instruction", "question", "title", "output", "negative_prompt", "thinking", "tier", "approved", "plan", "limit"),
    *("num_frames", "steps", "guidance", "image_guidance", "seed", "height_px", "width_px", "max_new_tokens"),
    *("timeout_s", "wait_s", "turn", "parent", "preview_every_steps"),
}
"""Arguments of tools that name nothing owned."""


def _kind(tool: str, argument: str) -> str | None:
    """What sort of owned thing an argument names."""
    if argument in ("job_id", "session_id"):
        return argument.removesuffix("_id")
    if (tool, argument) == ("list_sessions", "before"):
        return "session"
    assert argument in ASSETS | HARMLESS, f"{tool}({argument}) is new: say above whether it names something owned"
    return "asset" if argument in ASSETS else None


async def _call(client: httpx.AsyncClient, method: str, params: dict[str, Any]) -> str:
    answer = await client.post(
        "/mcp", headers=MCP, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    )
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_tools_cross_no_border(two: Two) -> None:
    session = (await two.other.post("/v1/sessions")).json()["id"]
    benign: dict[str, Any] = {"source": await upload(two.other), "session_id": session, "turn": 1, "approved": True}
    benign |= {"instruction": "make it blue", "question": "what is it?"}
    for tool in TOOLS:
        schema = tool.arguments.model_json_schema()
        for name, argument in schema["properties"].items():
            if (kind := _kind(tool.name, name)) is None:
                continue
            said = []
            for identifier in (two.ids[kind], new_id(two.ids[kind].partition("_")[0])):
                needed = {field: benign.get(field) for field in schema.get("required", ()) if field != name}
                named = [identifier] if argument.get("type") == "array" else identifier
                told = await _call(two.other, "tools/call", {"name": tool.name, "arguments": needed | {name: named}})
                assert '"isError":true' in told and "not_found" in told, f"{tool.name}({name}): {told}"
                said.append(told.replace(identifier, "ID"))
            assert said[0] == said[1], tool.name
    uri = f"vogue://assets/{two.ids['asset']}"
    assert "asset_not_found" in await _call(two.other, "resources/read", {"uri": uri})
    assert two.ids["asset"] in await _call(two.owner, "resources/list", {})
    assert two.ids["asset"] not in await _call(two.other, "resources/list", {})


async def test_without_a_key_nothing_is_open_but_what_must_be(two: Two) -> None:
    async with two.gateway.client(None) as stranger:
        for method, path in [*two.routes, ("GET", "/v1/nothing"), ("PUT", "/v1/jobs")]:
            answer = await stranger.request(method, re.sub(r"{\w+(:\w+)?}", "1", path))
            if (method, path) in OPEN or (method == "HEAD" and ("GET", path) in OPEN):
                assert answer.status_code == 200
                continue
            assert answer.status_code == 401, f"{method} {path}"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            if method != "HEAD":
                error = answer.json()["error"]
                assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
        for path in ("/studio", "/studio/", "/studio/page.js"):
            assert (await stranger.get(path)).status_code != 401
        for path in ("/studio", "/studio/../v1/jobs", "/studiov1", "//v1/jobs", "/studio/%2e%2e/v1/jobs"):
            answer = await stranger.post(path)
            assert answer.status_code in (401, 404, 405), path


async def test_a_reading_key_changes_nothing_and_a_writing_key_is_no_admin(two: Two) -> None:
    async with two.gateway.new_client(Scope.READ) as reader:
        for method, path in two.routes:
            answer = await reader.request(method, re.sub(r"{\w+(:\w+)?}", "1", path))
            refused = (method not in ("GET", "HEAD") and path not in CARRIERS) or (method, path) in ADMIN
            assert (answer.status_code == 403) is refused, f"{method} {path}: {answer.status_code}"
            if refused:
                assert answer.json()["error"]["code"] == "scope_missing"
        told = await _call(reader, "tools/call", {"name": "submit_generate", "arguments": {"instruction": "a star"}})
        assert "scope_missing" in told
    async with two.gateway.new_client(Scope.ADMIN) as admin:
        for method, path in ADMIN:
            assert (await two.other.request(method, path)).status_code == 403
            assert (await admin.request(method, path)).status_code in (200, 404), path
        # An admin looks after the server; what others own is not part of that.
        assert (await admin.get(f"/v1/jobs/{two.ids['job']}")).status_code == 404
        assert (await admin.get("/v1/assets")).json()["data"] == []


async def test_events_and_waits_cross_no_border(two: Two) -> None:
    """What is long asked for is still asked on behalf of whoever asked."""
    job_id = (await two.owner.post("/v1/jobs", json={"instruction": "a star", "steps": 16})).json()["id"]
    owners, others = await asyncio.gather(
        two.owner.get(f"/v1/jobs/{job_id}/events"), two.other.get(f"/v1/jobs/{job_id}/events")
    )
    assert "event: completed" in owners.text and others.status_code == 404
    assert (await two.other.get(f"/v1/jobs/{job_id}", params={"wait_s": 1})).status_code == 404


async def test_a_call_on_nobodys_behalf_is_not_made(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway:
        port = remote_orchestrator(gateway.orchestrator)
        for call in (port.list(), port.account(), port.sessions.list(), anext(port.events("job_1"))):
            with pytest.raises(VogueError, match="on nobody's behalf"):
                await call
        with acting_for(ANYBODY):
            assert await port.list() == []


async def test_uploads_tell_nobody_that_the_bytes_are_known(two: Two) -> None:
    answers = []
    for content in (picture(), picture(7)):
        answer = await two.other.post("/v1/uploads", files={"file": ("a.ppm", content)})
        body = answer.json()
        answers.append((answer.status_code, body | {"id": ""}, sorted(answer.headers)))
    assert answers[0] == answers[1]
