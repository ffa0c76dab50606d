"""HTTP: every path, every answer's form. Bad input has a file of its own."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from vogue.schemas.jobs import Asset, Job, JobEvent
from vogue.schemas.requests import GenerationRequest
from vogue.services.fakes import netpbm, read_netpbm

BODY = {"instruction": "a red star", "seed": 1}


async def _finished(client: httpx.AsyncClient, **fields: Any) -> Job:
    answer = await client.post("/v1/jobs", json=BODY | fields)
    assert answer.status_code == 201, answer.text
    job_id = answer.json()["id"]
    await client.get(f"/v1/jobs/{job_id}/events")
    return Job.model_validate_json((await client.get(f"/v1/jobs/{job_id}")).content)


def _events(answer: httpx.Response) -> list[JobEvent]:
    """Server-sent events back to events, checking ids and names."""
    events = []
    for block in answer.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        event = JobEvent.model_validate_json(fields["data"])
        assert (fields["id"], fields["event"]) == (str(event.seq), event.kind)
        events.append(event)
    return events


async def test_submit_get_list(client: httpx.AsyncClient) -> None:
    jobs = [await _finished(client) for _ in range(3)]
    assert {job.status for job in jobs} == {"completed"}
    listed = (await client.get("/v1/jobs", params={"limit": 2})).json()
    assert [job["id"] for job in listed["data"]] == [jobs[2].id, jobs[1].id]
    page = (await client.get("/v1/jobs", params={"before": jobs[1].id})).json()
    assert [job["id"] for job in page["data"]] == [jobs[0].id]
    assert (await client.post(f"/v1/jobs/{jobs[0].id}/cancel")).json()["status"] == "completed"
    assert (await client.post(f"/v1/jobs/{jobs[0].id}/resume")).json()["status"] == "completed"


async def test_events_can_be_picked_up_anywhere(client: httpx.AsyncClient) -> None:
    job = await _finished(client)
    answer = await client.get(f"/v1/jobs/{job.id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = _events(answer)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    by_query = _events(await client.get(f"/v1/jobs/{job.id}/events", params={"after": 3}))
    by_header = _events(await client.get(f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": "3"}))
    assert by_query == by_header == events[3:]


async def test_uploads_come_back_as_they_went_in(client: httpx.AsyncClient) -> None:
    content = netpbm(np.zeros((1, 8, 8, 3), np.uint8))
    answer = await client.post("/v1/uploads", files={"file": ("C:\\photos\\../naïve “name”.ppm", content)})
    assert answer.status_code == 201, answer.text
    asset = Asset.model_validate_json(answer.content)
    assert asset.id.startswith("upload_")
    assert asset.filename == "naïve “name”.ppm"
    assert (asset.num_bytes, asset.height_px) == (len(content), 8)
    assert Asset.model_validate_json((await client.get(f"/v1/assets/{asset.id}")).content) == asset
    back = await client.get(f"/v1/assets/{asset.id}/content")
    assert back.content == content
    assert back.headers["x-content-type-options"] == "nosniff"


async def test_results_in_ranges(client: httpx.AsyncClient) -> None:
    job = await _finished(client)
    path = f"/v1/assets/{job.assets[0].id}/content"
    whole = await client.get(path)
    assert read_netpbm(whole.content).shape == (5, 32, 32, 3)
    assert whole.headers["content-type"] == "video/x-portable-pixmap"
    assert whole.headers["accept-ranges"] == "bytes"
    assert int(whole.headers["content-length"]) == len(whole.content) == job.assets[0].num_bytes
    part = await client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    tail = await client.get(path, headers={"Range": "bytes=-5"})
    assert (tail.status_code, tail.content) == (206, whole.content[-5:])
    for asked, status in (("bytes=99999999-", 416), ("bytes=9-3", 400), ("seconds=1-2", 400)):
        refused = await client.get(path, headers={"Range": asked})
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, "request_invalid")
        assert "range" in refused.json()["error"]["message"]
        assert refused.headers.get("content-range") == (f"bytes */{len(whole.content)}" if status == 416 else None)
    fresh = await client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")
    stale = await client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert stale.status_code == 200
    head = await client.head(path)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", whole.headers["etag"])


async def test_health_models_openapi(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"ready": True, "services": {"orchestrator": True, "denoiser": True}}
    (model,) = (await client.get("/v1/models")).json()["data"]
    assert (model["id"], model["limits"]["max_frames"]) == ("tiny", 9)
    schema = (await client.get("/openapi.json")).json()
    assert {"/v1/uploads", "/v1/jobs", "/v1/jobs/{job_id}/events", "/v1/assets/{asset_id}/content"} <= set(
        schema["paths"]
    )
    assert schema["paths"]["/v1/uploads"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert "Error" in schema["components"]["schemas"]


async def test_a_full_queue_says_when_to_come_back(tmp_path: Any, new_house: Any) -> None:
    from vogue.services.gateway import build_http

    house = new_house.build(tmp_path, max_open_jobs=1)

    async def nobody() -> dict[str, bool]:
        return {"denoiser": False}

    app = build_http(house.orchestrator, nobody, house.blobs, house.preset)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        assert (await client.post("/v1/jobs", json=BODY)).status_code == 201
        answer = await client.post("/v1/jobs", json=BODY)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "service_overloaded"
        assert len((await client.get("/v1/jobs")).json()["data"]) == 1
        assert (await client.get("/readyz")).status_code == 503
    await house.orchestrator.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/jobs/job_nobody", 404, "job_not_found"),
        ("GET", "/v1/jobs/job_nobody/events", 404, "job_not_found"),
        ("GET", f"/v1/jobs/job_nobody/events?after={2**63}", 400, "request_invalid"),
        ("POST", "/v1/jobs/job_nobody/cancel", 404, "job_not_found"),
        ("POST", "/v1/jobs/job_nobody/resume", 404, "job_not_found"),
        ("GET", "/v1/assets/asset_nobody", 404, "asset_not_found"),
        ("GET", "/v1/assets/..%2f..%2fetc%2fpasswd/content", 404, "not_found"),
        ("GET", "/v2/anything", 404, "not_found"),
        ("DELETE", "/v1/jobs", 405, "request_invalid"),
        ("GET", "/v1/jobs?limit=0", 400, "request_invalid"),
        ("GET", "/v1/jobs?limit=many", 400, "request_invalid"),
        ("GET", "/v1/jobs?before=job_nobody", 404, "job_not_found"),
    ],
)
async def test_every_error_has_the_same_form(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["type"]) == (code, "invalid_request_error")


async def test_an_unforeseen_error_tells_no_secrets(house: Any, client: httpx.AsyncClient) -> None:
    async def broken(*_: Any) -> None:
        raise ValueError("/secret/path")

    house.orchestrator.get = broken
    answer = await client.get("/v1/jobs/job_1")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert json.loads(answer.content)["error"]["code"] == "internal_error"


async def test_waiting_for_the_end_has_bounds(client: httpx.AsyncClient, house: Any) -> None:
    job = await house.orchestrator.submit(GenerationRequest(instruction="a red star"))
    answer = await client.get(f"/v1/jobs/{job.id}", params={"wait_s": 60})
    assert answer.json()["status"] == "completed"
    answer = await client.get(f"/v1/jobs/{job.id}", params={"wait_s": 61})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "wait_s")
