"""Two gateways before one orchestrator: whichever of them a request reaches, the answer is the same, over MCP too."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .conftest import client_of

MCP = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}


@pytest.fixture
async def gateways(house: Any) -> Any:
    async with client_of(house) as one, client_of(house) as other:
        yield one, other


async def _rpc(client: httpx.AsyncClient, method: str, params: dict[str, Any], **more: Any) -> httpx.Response:
    return await client.post(
        "/mcp", headers=MCP, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params} | more
    )


async def test_an_agent_may_be_answered_by_another_gateway_each_time(gateways: Any, house: Any) -> None:
    one, other = gateways
    client = {"name": "test", "version": "1"}
    hello = await _rpc(one, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
    assert hello.status_code == 200 and "mcp-session-id" not in hello.headers
    assert '"tools"' in (await _rpc(other, "tools/list", {})).text
    asked = {"name": "submit_generate", "arguments": {"instruction": "a red star", "seed": 1}}
    made = await _rpc(one, "tools/call", asked)
    (job,) = await house.orchestrator.list()
    assert job.id in made.text
    waited = await _rpc(other, "tools/call", {"name": "get_job", "arguments": {"job_id": job.id, "wait_s": 60}})
    assert "completed" in waited.text and job.id in waited.text


async def test_keys_events_and_conversations_cross_gateways(gateways: Any, house: Any) -> None:
    one, other = gateways
    body, key = {"instruction": "a red star", "seed": 1}, {"idempotency-key": "k"}
    first, again = [await client.post("/v1/jobs", json=body, headers=key) for client in gateways]
    assert first.json()["id"] == again.json()["id"]
    path = f"/v1/jobs/{first.json()['id']}/events"
    whole = (await one.get(path)).text
    rest = (await other.get(path, headers={"last-event-id": "2"})).text
    assert rest and whole.endswith(rest) and "id: 3\n" in rest and "id: 2\n" not in rest
    session = (await one.post("/v1/sessions")).json()["id"]
    turn = (await other.post(f"/v1/sessions/{session}/turns", json=body)).json()
    late = await one.post(f"/v1/sessions/{session}/turns", json=body | {"expected_head": 0})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "turn_conflict")
    await house.finish(turn["job_id"])
