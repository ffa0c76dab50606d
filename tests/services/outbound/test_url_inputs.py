"""URLs as inputs, at every door that takes inputs: refused where they are not allowed, else looked at as any upload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from vogue.schemas.config import Role
from vogue.schemas.queries import PageQuery
from vogue.services.fakes import netpbm
from vogue.services.fetching import Fetcher
from vogue.services.gateway import build_http
from vogue.services.outbound import UrlInputConfig

PICTURE = netpbm(np.full((1, 32, 32, 3), 7, np.uint8))


def client_of(house: Any, fetcher: Fetcher | None) -> httpx.AsyncClient:
    async def readiness() -> dict[str, bool]:
        return {}

    app = build_http(house.orchestrator, readiness, house.blobs, house.preset, fetcher=fetcher)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


@pytest.fixture
async def client(house: Any, web: Any, dial: Any, reply: Any) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP that fetches from the test's own server."""
    web.replies |= {
        "/star.ppm": reply(headers={"content-type": "text/html"}, pieces=[PICTURE]),
        "/page": reply(headers={"content-type": "image/png"}, pieces=[b"<html>"]),
        "/large.ppm": reply(pieces=[PICTURE * 100]),
    }
    rules = UrlInputConfig(enabled=True, ports=(web.port,), max_bytes=len(PICTURE) * 2)
    fetcher = Fetcher(house.blobs, rules, house.preset.limits.max_upload_bytes, dial(rules))
    async with client_of(house, fetcher) as made:
        yield made


async def uploads(house: Any) -> list[str]:
    return [one.asset.id for one in await house.orchestrator.file_page(PageQuery())]


async def test_a_url_becomes_an_upload(client: httpx.AsyncClient, web: Any, house: Any) -> None:
    answer = await client.post("/v1/fetches", json={"url": f"{web.url}/star.ppm"})
    asset = answer.json()
    assert (answer.status_code, asset["kind"], asset["filename"], asset["height_px"]) == (201, "image", "star.ppm", 32)
    visual = {"tag": "image1", "role": "source", "upload_id": asset["id"]}
    job = (await client.post("/v1/jobs", json={"instruction": "make it blue", "visuals": [visual]})).json()
    assert (await house.finish(job["id"])).status == "completed"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/page", 400, "media_unreadable"),
        ("/nothing", 400, "url_unreachable"),
        ("/large.ppm", 413, "limit_exceeded"),
    ],
)
async def test_what_is_no_picture_is_refused_as_an_upload_would_be(
    client: httpx.AsyncClient, web: Any, house: Any, path: str, status: int, code: str
) -> None:
    answer = await client.post("/v1/fetches", json={"url": f"{web.url}{path}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert await uploads(house) == []


async def test_addresses_that_are_not_public_are_refused(client: httpx.AsyncClient, web: Any) -> None:
    for host in ("127.0.0.2", "10.0.0.1", "[::1]", "169.254.169.254"):
        answer = await client.post("/v1/fetches", json={"url": f"http://{host}:{web.port}/star.ppm"})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "url_refused", "url")


async def test_openai_s_ways_of_naming_a_url(client: httpx.AsyncClient, web: Any, house: Any) -> None:
    url = f"{web.url}/star.ppm"
    video = await client.post("/v1/videos", json={"prompt": "it moves", "input_reference": {"image_url": url}})
    assert video.status_code == 200, video.text
    job = await house.finish(video.json()["id"])
    assert [visual.role for visual in job.request.visuals] == [Role.FIRST_FRAME]
    extra = [{"image_url": url, "role": "reference"}]
    image = await client.post(
        "/v1/images/edits", json={"prompt": "make it blue", "images": [{"image_url": url}], "visuals": extra}
    )
    assert image.status_code == 200, image.text
    parts = [{"type": "text", "text": "make it blue"}, {"type": "image_url", "image_url": {"url": url}}]
    chat = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
    assert chat.status_code == 200, chat.text
    assert chat.json()["choices"][0]["message"]["assets"]
    assert len(web.calls) == 4


async def test_errors_name_the_field_and_leave_nothing_behind(client: httpx.AsyncClient, web: Any, house: Any) -> None:
    visuals = [{"image_url": f"{web.url}/star.ppm"}, {"image_url": f"{web.url}/page"}]
    answer = await client.post("/v1/videos", json={"prompt": "a star", "visuals": visuals})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "media_unreadable", "visuals.1")
    assert await uploads(house) == [], "the first was fetched for this request only"


async def test_a_repeated_request_fetches_once(client: httpx.AsyncClient, web: Any) -> None:
    body = {"prompt": "it moves", "input_reference": {"image_url": f"{web.url}/star.ppm"}}
    ids = {
        (await client.post("/v1/videos", json=body, headers={"idempotency-key": "k"})).json()["id"] for _ in range(2)
    }
    assert len(ids) == 1 and len(web.calls) == 1


async def test_by_default_no_door_fetches(house: Any, web: Any) -> None:
    url = f"{web.url}/star.ppm"
    async with client_of(house, None) as client:
        for path, body, field in (
            ("/v1/fetches", {"url": url}, "url"),
            ("/v1/videos", {"prompt": "x", "input_reference": {"image_url": url}}, "input_reference"),
            ("/v1/images/edits", {"prompt": "x", "images": [{"image_url": url}]}, "images.0"),
        ):
            error = (await client.post(path, json=body)).json()["error"]
            assert (error["code"], error["param"]) == ("url_refused", field)
    assert web.calls == []
