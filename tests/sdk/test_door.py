"""The gateway's door for MCP: who may knock, and what happens where it cannot be opened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.metadata import EntryPoint
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from vogue.mcp import open_door
from vogue.services import doors

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_assets", "arguments": {}}}
ACCEPTED = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
HANDSHAKE = {"mcp-protocol-version": "2025-11-25"}


class Gateway:
    """An application that remembers who asked it."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.app = FastAPI()

        @self.app.get("/v1/assets")
        async def assets(limit: int) -> dict[str, Any]:
            return {"data": []}

        @self.app.middleware("http")
        async def remember(request: Any, call_next: Any) -> Any:
            if request.url.path == "/v1/assets":
                self.keys.append(request.headers.get("authorization"))
            return await call_next(request)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    app: Any = open_door(gateway.app, ["vogue.example"])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=ACCEPTED) as made:
        yield made


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "vogue.example"}, 200),
        ({"host": "vogue.example", "origin": "https://vogue.example"}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"host": "evil.example:8000"}, 421),
        ({"host": "127.0.0.1.evil.example:8000"}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_hosts_and_origins(client: httpx.AsyncClient, version: str, headers: dict[str, str], status: int) -> None:
    call = json.loads(json.dumps(CALL))
    more = {"mcp-protocol-version": version}
    if version == "2026-07-28":
        more |= {"mcp-method": "tools/call", "mcp-name": "list_assets"}
        call["params"]["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    answer = await client.post("/mcp", json=call, headers=headers | more)
    assert answer.status_code == status, answer.text
    assert ("next_before" in answer.text) is (status == 200)
    assert "mcp-session-id" not in answer.headers


async def test_the_callers_key_is_passed_on_and_nothing_else(client: httpx.AsyncClient, gateway: Gateway) -> None:
    for key in ("Bearer one", "Bearer two", None):
        headers = HANDSHAKE | ({"authorization": key} if key else {}) | {"cookie": "a=b"}
        assert (await client.post("/mcp", json=CALL, headers=headers)).status_code == 200
    assert gateway.keys == ["Bearer one", "Bearer two", None]


async def test_bodies_are_bounded(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 100_000

    for content in (b" " * 2_000_000, endless()):
        assert (await client.post("/mcp", content=content, headers=HANDSHAKE)).status_code == 413


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b'{"jsonrpc": "2.0"}', b"\xff", b"1" * 5000])
async def test_what_is_no_request_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/mcp", content=content, headers=HANDSHAKE)
    assert answer.status_code == 400


async def test_a_door_whose_libraries_are_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mcp", "vogue.no_such_module:open_door [agents]", doors.DOORS_GROUP)
    monkeypatch.setattr(doors, "entry_points", lambda group: [point])
    app = FastAPI()
    doors.add_doors(app, ())
    with pytest.raises(Exception, match=r"/mcp needs vogue.no_such_module: pip install 'vogue-video\[agents\]'"):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as made:
            await made.post("/mcp")


def test_the_installed_door_is_ours() -> None:
    (point,) = doors.entry_points(group=doors.DOORS_GROUP)
    assert (point.name, point.load()) == ("mcp", open_door)
