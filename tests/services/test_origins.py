"""Whose requests the gateway answers, and in which form."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from vogue.services.gateway import build_http
from vogue.services.origins import OriginGuard

BODY = {"instruction": "a red star"}
OURS = [
    {},
    {"host": "localhost:8000"},
    {"host": "LOCALHOST"},
    {"host": "[::1]:8000"},
    {"host": "vogue.example"},
    {"host": "vogue.example", "origin": "https://vogue.example", "sec-fetch-site": "same-origin"},
    {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
]
FOREIGN = [
    ({"host": "evil.example:8000"}, 421),
    ({"host": "127.0.0.1.evil.example:8000"}, 421),
    ({"host": "localhost.evil.example"}, 421),
    ({"host": "localhost:8000@evil.example"}, 421),
    ({"host": ""}, 421),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "http://localhost.evil.example"}, 403),
    ({"origin": "http://localhost@evil.example"}, 403),
    ({"origin": "file://localhost"}, 403),
    ({"origin": "null"}, 403),
]


@pytest.fixture
def outside(house: Any) -> httpx.AsyncClient:
    """HTTP to a server that is also called vogue.example."""

    async def readiness() -> dict[str, bool]:
        return {}

    app = build_http(house.orchestrator, readiness, house.blobs, house.preset, hosts=["Vogue.example"])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000")


@pytest.mark.parametrize("headers", OURS)
async def test_who_belongs_here_is_answered(outside: httpx.AsyncClient, headers: dict[str, str]) -> None:
    async with outside as client:
        assert (await client.get("/v1/assets", headers=headers)).status_code == 200
        assert (await client.post("/v1/jobs", json=BODY, headers=headers)).status_code == 201


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
async def test_pages_of_others_are_refused(outside: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    async with outside as client:
        for method, path in (
            ("GET", "/v1/assets"),
            ("DELETE", "/v1/jobs/job_1"),
            ("POST", "/v1/jobs"),
            ("POST", "/mcp"),
        ):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == status, path
            assert answer.json()["error"]["code"] == "request_invalid"
        assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_link_from_elsewhere_may_be_followed_but_change_nothing(outside: httpx.AsyncClient) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    async with outside as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
        for path in ("/v1/jobs", "/v1/videos", "/v1/uploads"):
            assert (await client.post(path, json=BODY, headers=headers)).status_code == 403


async def test_probes_of_a_cluster_need_no_name(outside: httpx.AsyncClient) -> None:
    async with outside as client:
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path, headers={"host": "10.0.0.7:8000"})).status_code == 200


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/images/generations", "/v1/chat/completions", "/v1/jobs"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_is_read_only_where_it_is_called_so(
    outside: httpx.AsyncClient, path: str, content_type: str
) -> None:
    content = b'{"prompt": "a star", "messages": [{"role": "user", "content": "draw a star"}], "instruction": "a star"}'
    headers = {"content-type": content_type} if content_type else {}
    async with outside as client:
        answer = await client.post(path, content=content, headers=headers)
        assert answer.status_code == 400, answer.text
        assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_other_protocols_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    guard: Any = OriginGuard(app)
    await guard({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
