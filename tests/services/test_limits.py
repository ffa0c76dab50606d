"""What a tenant may have at once: requests, jobs, bytes and connections; all of it told, and all of it deleted when asked."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, AuthenticationError, PermissionDeniedError, RateLimitError

from vogue.schemas.access import Account, Knock, MediaDeletion, Scope, TenantLimits
from vogue.schemas.errors import ServiceOverloaded
from vogue.services.database import Database
from vogue.services.keys import admission
from vogue.services.keys.admission import Admission
from vogue.services.keys.guard import KeyGuard

from .keyed import LIMITS, Keyed, digest, keyed_gateway, keys_of, make, picture, upload


def _limits(**fields: Any) -> TenantLimits:
    return LIMITS.model_copy(update=fields)


def _error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_requests_per_minute_are_counted_for_all_replicas_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000_000.0
    monkeypatch.setattr(admission.time, "time", lambda: now_s)
    with keys_of(tmp_path) as keys:
        (_, key), (_, other) = keys.create("a", Scope.READ), keys.create("b", Scope.READ)
    limits = _limits(requests_per_minute=60, burst=3)
    # Two orchestrators, or one before and after a restart: all they share is the file.
    databases = [Database(tmp_path / "jobs.sqlite") for _ in range(2)]
    doors = [Admission(database, limits) for database in databases]

    def knock(door: Admission, who: str = key) -> None:
        door.admit(Knock(digest=digest(who), scope=Scope.READ))

    for door in (doors[0], doors[1], doors[0]):
        knock(door)
    with pytest.raises(ServiceOverloaded, match="more than 60 requests per minute") as caught:
        knock(doors[1])
    assert caught.value.retry_after_s == pytest.approx(1.0)
    knock(doors[1], other)
    doors[0].admit(Knock(digest=digest(key), scope=Scope.READ, counted=False))
    now_s += 1.0
    knock(doors[0])
    with pytest.raises(ServiceOverloaded):
        knock(doors[0])
    now_s -= 500.0  # a clock that is set back gives nothing, and takes nothing for good
    with pytest.raises(ServiceOverloaded):
        knock(doors[0])
    now_s += 5000.0
    for _ in range(3):
        knock(doors[1])
    with pytest.raises(ServiceOverloaded):
        knock(doors[1])
    for database in databases:
        database.close()


async def test_too_many_requests_are_told_when_to_come_back(tmp_path: Path) -> None:
    limits = TenantLimits(requests_per_minute=0.5, burst=2)
    async with keyed_gateway(tmp_path, limits) as gateway, gateway.new_client() as client:
        answers = [await client.get("/v1/jobs") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert _error(answers[2]) == (429, "service_overloaded")
        assert 100 <= int(answers[2].headers["retry-after"]) <= 120
        assert answers[2].headers["x-should-retry"] == "true"
        # What probes ask for costs nobody anything.
        assert (await client.get("/healthz")).status_code == 200


async def test_open_jobs_are_limited_for_each_tenant(tmp_path: Path) -> None:
    async with (
        keyed_gateway(tmp_path, _limits(max_open_jobs=1), at_work=False) as gateway,
        gateway.new_client() as one,
        gateway.new_client() as other,
    ):
        body = {"instruction": "a red star"}
        first = await one.post("/v1/jobs", json=body)
        assert first.status_code == 201
        for path, more in (("/v1/jobs", body), ("/v1/videos", {"prompt": "a star"})):
            full = await one.post(path, json=more)
            assert _error(full) == (429, "service_overloaded")
            assert "and it may have 1 at once" in full.json()["error"]["message"]
            assert int(full.headers["retry-after"]) >= 1
        assert (await other.post("/v1/jobs", json=body)).status_code == 201
        await one.post(f"/v1/jobs/{first.json()['id']}/cancel")
        assert (await one.post("/v1/jobs", json=body)).status_code == 201


async def test_files_are_counted_and_what_is_full_takes_nothing_more(tmp_path: Path) -> None:
    limits = _limits(max_stored_bytes=2 * len(picture()))
    async with (
        keyed_gateway(tmp_path, limits) as gateway,
        gateway.new_client() as one,
        gateway.new_client() as other,
    ):
        first = await upload(one)
        await upload(one, picture(1))
        for path in ("/v1/uploads", "/v1/files"):
            full = await one.post(path, files={"file": ("a.ppm", picture(2))})
            assert _error(full) == (413, "limit_exceeded")
            assert full.headers["x-should-retry"] == "false"
        assert _error(await one.post("/v1/jobs", json={"instruction": "a star"})) == (413, "limit_exceeded")
        # Nobody else is in the way of it, and who deletes has room again.
        await upload(other, picture(2))
        await one.delete(f"/v1/assets/{first}")
        await upload(one, picture(2))


async def test_a_large_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path, _limits(max_stored_bytes=1000)) as gateway, gateway.new_client() as client:

        async def body() -> Any:
            raise AssertionError("nobody may ask for this")
            yield b""

        headers = {"content-length": str(5 * 1024 * 1024), "content-type": "multipart/form-data; boundary=x"}
        request = client.build_request("POST", "/v1/uploads", headers=headers)
        sent: list[Any] = []

        async def receive() -> Any:
            raise AssertionError("the body was asked for")

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/uploads",
            "raw_path": b"/v1/uploads",
            "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
        }
        await gateway.app(scope, receive, send)
        assert sent[0]["status"] == 413


async def test_refused_files_do_not_stay_on_the_disk(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path, _limits(max_stored_bytes=1)) as gateway, gateway.new_client() as client:
        for content in (picture(1), b"no picture"):
            assert (await client.post("/v1/uploads", files={"file": ("a.ppm", content)})).status_code in (400, 413)
        blobs = [path for path in (tmp_path / "store" / "blobs").glob("*/*")]
        assert len(blobs) == 2
        for path in blobs:
            _age(path)
        gateway.orchestrator._housekeeper.clear()
        assert not list((tmp_path / "store" / "blobs").glob("*/*"))


def _age(path: Path) -> None:
    import os

    os.utime(path, (time.time() - 1000, time.time() - 1000))


async def test_open_connections_are_limited_for_each_tenant() -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.set()
        await leave.wait()

    async def admit(knock: Knock) -> Any:
        from vogue.schemas.access import Caller

        return Caller(tenant=knock.digest[:4], key_id="key", scope=Scope.READ)

    guard: Any = KeyGuard(app, admit, _limits(max_connections=1))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    def scope(letter: str) -> dict[str, Any]:
        key = f"Bearer vogue-{letter * 43}".encode()
        return {"type": "http", "method": "GET", "path": "/v1/jobs", "headers": [(b"authorization", key)]}

    waiting = asyncio.create_task(guard(scope("a"), None, send))
    await inside.wait()
    await guard(scope("a"), None, send)
    assert sent[0]["status"] == 429 and (b"retry-after", b"1") in sent[0]["headers"]
    other = asyncio.create_task(guard(scope("b"), None, send))
    leave.set()
    await asyncio.gather(waiting, other)
    await guard(scope("a"), None, send)
    assert len([message for message in sent if message["type"] == "http.response.start"]) == 1
    assert not guard._open


async def test_who_asks_is_told_about_itself(tmp_path: Path) -> None:
    limits = _limits(max_open_jobs=3)
    async with keyed_gateway(tmp_path, limits, media_retention_s=3600) as gateway:
        info, key = gateway.key(Scope.READ)
        async with gateway.client(key) as client, gateway.new_client(like=info.id) as writer:
            await upload(writer)
            told = Account.model_validate_json((await client.get("/v1/me")).content)
        assert told.key == info and told.limits == limits and told.media_retention_s == 3600
        assert (told.usage.num_files, told.usage.stored_bytes, told.usage.open_jobs) == (1, len(picture()), 0)
        assert key not in told.model_dump_json()


async def test_a_server_without_keys_tells_what_it_holds(client: httpx.AsyncClient) -> None:
    await upload(client)
    told = Account.model_validate_json((await client.get("/v1/me")).content)
    assert (told.key, told.limits, told.usage.num_files) == (None, None, 1)


# The end of it.


async def test_all_of_a_keys_media_go_and_nobody_elses(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway, gateway.new_client() as one, gateway.new_client() as other:
        kept = [await make(other), await upload(other)]
        session = (await other.post("/v1/sessions")).json()["id"]
        source = await upload(one)
        edited = {"visuals": [{"tag": "image1", "role": "source", "upload_id": source}], "instruction": "blue"}
        job = await make(one, **edited)
        waiting = (await one.post("/v1/jobs", json={"instruction": "a star", "thinking": "review"})).json()["id"]
        turns = (await one.post("/v1/sessions")).json()["id"]
        await one.post(f"/v1/sessions/{turns}/turns", json={"instruction": "a red star"})
        answer = await one.request("DELETE", "/v1/me/media")
        assert answer.status_code == 200, answer.text
        deletion = MediaDeletion.model_validate_json(answer.content)
        assert deletion.unfinished == () and deletion.num_sessions == 1 and deletion.num_jobs == 3
        for path in (f"jobs/{job['id']}", f"jobs/{waiting}", f"assets/{source}", f"sessions/{turns}"):
            assert (await one.get(f"/v1/{path}")).status_code == 404, path
        for name in ("jobs", "assets", "sessions", "videos", "files"):
            assert (await one.get(f"/v1/{name}")).json()["data"] == []
        usage = Account.model_validate_json((await one.get("/v1/me")).content).usage
        assert (usage.num_files, usage.stored_bytes, usage.open_jobs) == (0, 0, 0)
        assert _words_left(tmp_path, "a star") == 0
        assert (await other.get(f"/v1/jobs/{kept[0]['id']}")).status_code == 200
        assert (await other.get(f"/v1/assets/{kept[1]}/content")).status_code == 200
        assert (await other.get(f"/v1/sessions/{session}")).status_code == 200


def _words_left(state_dir: Path, words: str) -> int:
    """In how many rows of the jobs' tables something is still said."""
    database = Database(state_dir / "jobs.sqlite")
    with database.reading() as db:
        tables = ("jobs", "events", "turns", "sessions", "assets", "submissions")
        rows = [tuple(row) for table in tables for row in db.execute(f"SELECT * FROM {table}").fetchall()]
    database.close()
    return sum(words in str(row) for row in rows)


async def test_media_of_an_age_go_by_themselves(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path, media_retention_s=3600) as gateway, gateway.new_client() as client:
        old, asset = await make(client), await upload(client)
        database = Database(tmp_path / "jobs.sqlite")
        with database.transaction() as db:
            db.execute("UPDATE jobs SET finished_at_s = finished_at_s - 3601")
            db.execute("UPDATE assets SET created_at_s = created_at_s - 3601")
        database.close()
        young = await make(client)
        # A plan that nobody came back for, and a conversation of which nothing is left.
        waiting = (await client.post("/v1/jobs", json={"instruction": "a blue star", "thinking": "review"})).json()[
            "id"
        ]
        while (await client.get(f"/v1/jobs/{waiting}")).json()["status"] != "waiting":
            await asyncio.sleep(0.01)
        empty, used = [(await client.post("/v1/sessions")).json()["id"] for _ in range(2)]
        turn = await client.post(f"/v1/sessions/{used}/turns", json={"instruction": "a red star"})
        await client.get(f"/v1/jobs/{turn.json()['job_id']}", params={"wait_s": 60})
        database = Database(tmp_path / "jobs.sqlite")
        with database.transaction() as db:
            db.execute("UPDATE jobs SET created_at_s = created_at_s - 3601 WHERE id = ?", (waiting,))
            db.execute("UPDATE sessions SET created_at_s = created_at_s - 3601")
        database.close()
        await asyncio.to_thread(gateway.orchestrator._housekeeper.expire)
        assert (await client.get(f"/v1/jobs/{old['id']}")).status_code == 404
        assert (await client.get(f"/v1/assets/{asset}")).status_code == 404
        assert (await client.get(f"/v1/jobs/{waiting}")).status_code == 404
        assert (await client.get(f"/v1/sessions/{empty}")).status_code == 404
        assert (await client.get(f"/v1/sessions/{used}")).status_code == 200
        assert (await client.get(f"/v1/jobs/{young['id']}")).status_code == 200
        assert _words_left(tmp_path, "a blue star") == 0


# OpenAI's own client reads all of this as it reads OpenAI's.


def _openai(gateway: Keyed, key: str) -> AsyncOpenAI:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app))
    return AsyncOpenAI(api_key=key, base_url="http://127.0.0.1:8000/v1", http_client=http, max_retries=0)


async def test_openais_client_understands_refusals(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path, TenantLimits(requests_per_minute=0.5, burst=2)) as gateway:
        _, reader = gateway.key(Scope.READ)
        async with _openai(gateway, "sk-wrong") as client:
            with pytest.raises(AuthenticationError) as unknown:
                await client.models.list()
            assert unknown.value.code == "invalid_api_key" and unknown.value.type == "invalid_request_error"
        async with _openai(gateway, reader) as client:
            assert (await client.models.list()).data
            with pytest.raises(PermissionDeniedError) as denied:
                await client.images.generate(prompt="a star")
            assert denied.value.code == "scope_missing"
            assert (await client.models.list()).data
            with pytest.raises(RateLimitError) as full:
                await client.models.list()
            assert full.value.code == "service_overloaded"
            assert int(full.value.response.headers["retry-after"]) > 60
