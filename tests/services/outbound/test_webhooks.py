"""Webhooks: written down with what they tell of, signed so that OpenAI's client believes them, sent again until they arrive."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from vogue.schemas.errors import RequestInvalid, UrlRefused
from vogue.schemas.jobs import JobStatus
from vogue.schemas.plan import PlanDecision
from vogue.schemas.queries import DeliveryStatus
from vogue.schemas.requests import GenerationRequest, Thinking
from vogue.services.database import Database
from vogue.services.dialing import Dialer
from vogue.services.gateway import build_http
from vogue.services.orchestrator import OrchestratorService
from vogue.services.outbound import WebhookConfig
from vogue.services.postman import Postman
from vogue.services.webhooks import Delivery, DeliveryTable, Signer


@pytest.fixture
def posting(tmp_path: Path, new_house: Any, web: Any, dial: Callable[..., Dialer]) -> Callable[..., Any]:
    """A house that may call the test's own server."""

    def build(**rules: Any) -> Any:
        house = new_house.build(tmp_path)
        webhooks = WebhookConfig(**({"enabled": True, "ports": (web.port,), "first_delay_s": 0.01} | rules))
        config = house.config.model_copy(update={"webhooks": webhooks})
        preset = house.preset.model_copy(update={"can_plan": True})
        house.orchestrator = OrchestratorService(
            Database(tmp_path / "jobs.sqlite"), house.blobs, house.ports, preset, config, dialer=dial(webhooks)
        )
        return house

    return build


def ask(web: Any, **fields: Any) -> GenerationRequest:
    named = {"instruction": "a red star", "steps": 2, "webhook_url": f"{web.url}/hook"}
    return GenerationRequest(**(named | fields))


async def heard(web: Any, count: int) -> list[Any]:
    """The first calls that come in."""
    while len(web.calls) < count:
        web.heard.clear()
        await web.heard.wait()
    found: list[Any] = web.calls[:count]
    return found


async def settled(house: Any, count: int) -> list[Any]:
    """The rows once so many are settled."""
    while True:
        with house.orchestrator._database.reading() as db:
            rows = db.execute("SELECT * FROM deliveries WHERE due_at_s IS NULL").fetchall()
        if len(rows) >= count:
            return list(rows)
        await asyncio.sleep(0.01)


async def test_a_finished_job_is_told_and_openai_s_client_believes_it(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"] = reply(204)
    house = posting()
    await house.orchestrator.start()
    job = await house.orchestrator.submit(ask(web))
    (call,) = await heard(web, 1)
    secret = (await house.orchestrator.webhook_secret()).secret
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    event: Any = client.webhooks.unwrap(call.body, call.headers)
    assert (event.type, event.object, event.data.id) == ("video.completed", "event", job.id)
    assert event.id == call.headers["webhook-id"] and call.headers["content-type"] == "application/json"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(call.body + b" ", call.headers)
    (row,) = await settled(house, 1)
    assert (row["attempts"], row["error"], row["delivered_at_s"] is not None) == (0, None, True)
    await house.orchestrator.close()


async def test_each_end_has_its_event(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"] = reply()
    house = posting()
    waiting = await house.orchestrator.submit(ask(web, thinking=Thinking.REVIEW, num_frames=1))
    cancelled = await house.orchestrator.submit(ask(web))
    await house.orchestrator.cancel(cancelled.id)
    await house.orchestrator.start()
    told = {json.loads(call.body)["data"]["id"]: json.loads(call.body) for call in await heard(web, 2)}
    assert told[cancelled.id]["type"] == "video.failed"
    assert told[cancelled.id]["data"]["error"]["code"] == "cancelled"
    assert (told[waiting.id]["type"], told[waiting.id]["data"]["status"]) == ("image.waiting", "waiting")
    await house.orchestrator.decide(waiting.id, PlanDecision(approved=False))
    last = json.loads((await heard(web, 3))[2].body)
    assert (last["type"], last["data"]["error"]["code"]) == ("image.failed", "plan_rejected")
    assert len({json.loads(call.body)["id"] for call in web.calls}) == 3
    await house.orchestrator.close()


async def test_what_does_not_arrive_is_sent_again_under_its_id(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"] = [reply(500), reply(302, {"location": "/elsewhere"}), reply(200)]
    house = posting()
    await house.orchestrator.start()
    await house.orchestrator.submit(ask(web))
    calls = await heard(web, 3)
    (row,) = await settled(house, 1)
    assert (row["attempts"], row["delivered_at_s"] is not None) == (2, True)
    assert len({call.headers["webhook-id"] for call in calls}) == 1 and len({call.body for call in calls}) == 1
    assert {call.target for call in web.calls} == {"/hook"}, "redirects are not followed"
    await house.orchestrator.close()


async def test_a_restart_loses_nothing(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"] = reply(200, hangs=True, headers={"content-length": "5"})
    house = posting(first_delay_s=3600.0)
    await house.orchestrator.start()
    job = await house.orchestrator.submit(ask(web))
    await house.finish(job.id)
    house.orchestrator._postman.wake.set()
    await heard(web, 1)
    await house.orchestrator.close()
    db = sqlite3.connect(house.state_dir / "jobs.sqlite")
    db.execute("UPDATE deliveries SET due_at_s = 1, delivered_at_s = NULL")
    db.commit()
    db.close()
    again = posting()
    await again.orchestrator.start()
    calls = await heard(web, 2)
    assert calls[0].headers["webhook-id"] == calls[1].headers["webhook-id"] and calls[0].body == calls[1].body
    await settled(again, 1)
    await again.orchestrator.close()


@pytest.mark.parametrize(("answers", "attempts", "said"), [([500], 3, "answered 500"), ([410], 1, "answered 410")])
async def test_somewhen_it_is_given_up(
    posting: Any, web: Any, reply: Any, answers: list[int], attempts: int, said: str
) -> None:
    web.replies["/hook"] = [reply(status) for status in answers]
    house = posting(max_attempts=3)
    await house.orchestrator.start()
    await house.orchestrator.submit(ask(web))
    (row,) = await settled(house, 1)
    assert (row["attempts"], row["delivered_at_s"], said in row["error"]) == (attempts, None, True)
    assert len(web.calls) == attempts
    await house.orchestrator.close()


async def test_addresses_are_checked_when_a_message_is_sent(posting: Any, web: Any) -> None:
    house = posting()
    await house.orchestrator.start()
    await house.orchestrator.submit(ask(web, webhook_url=f"http://127.0.0.2:{web.port}/hook"))
    (row,) = await settled(house, 1)
    assert "not public" in row["error"] and row["attempts"] == 1
    assert web.calls == []
    await house.orchestrator.close()


async def test_a_receiver_that_says_nothing_is_left(posting: Any, web: Any) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        house = posting(ports=(port,), timeout_s=0.2, max_attempts=1)
        await house.orchestrator.start()
        await house.orchestrator.submit(ask(web, webhook_url=f"http://media.test:{port}/"))
        (row,) = await settled(house, 1)
        assert "no answer within 0.2 s" in row["error"] or "in time" in row["error"]
        await house.orchestrator.close()


async def test_urls_that_will_never_be_called_are_refused_at_once(house: Any, posting: Any, web: Any) -> None:
    with pytest.raises(UrlRefused, match="sends no webhooks") as caught:
        await house.orchestrator.submit(ask(web))
    assert caught.value.param == "webhook_url"
    with pytest.raises(UrlRefused, match="sends no webhooks"):
        await house.orchestrator.webhook_secret()
    other = posting(hosts=("hooks.test",))
    for url in ("http://hooks.test:1/", "http://media.test/", f"http://me:you@hooks.test:{web.port}/"):
        with pytest.raises(UrlRefused) as caught:
            await other.orchestrator.submit(ask(web, webhook_url=url))
        assert caught.value.param == "webhook_url"
    await other.orchestrator.close()
    for url in ("ftp://x.test/", "javascript:alert(1)", "x" * 5000):
        with pytest.raises(ValueError, match="webhook_url"):
            ask(web, webhook_url=url)


async def test_delays_grow_up_to_their_limit(tmp_path: Path) -> None:
    class Table(DeliveryTable):
        def __init__(self) -> None:
            self.delays: list[float | None] = []

        def failed(self, event_id: str, error: str, delay_s: float | None, answered: int | None = None) -> None:
            self.delays.append(delay_s)

    table, rules = Table(), WebhookConfig(enabled=True, first_delay_s=5.0, max_delay_s=100.0, max_attempts=6)
    postman = Postman(table, rules, Signer(tmp_path / "secret"), chance=lambda: 1.0)
    for attempts in range(6):
        await postman._fail(Delivery("evt_1", "http://x.test", "{}", None, attempts), "no", final=False)
    assert table.delays == [5.0, 15.0, 45.0, 100.0, 100.0, None]


def test_the_secret_is_made_once_and_each_tenant_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "webhook-secret"
    signer = Signer(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Signer(path)
    assert signer.secret(None) == again.secret(None) == path.read_text().strip()
    assert len({signer.secret(tenant) for tenant in (None, "tenant_a", "tenant_b")}) == 3
    assert signer.secret("tenant_a") == again.secret("tenant_a")
    sent = Delivery("evt_1", "http://x.test", '{"a":1}', "tenant_a", 0)
    client = openai.OpenAI(api_key="none")
    client.webhooks.verify_signature(sent.body, signer.headers(sent), secret=signer.secret("tenant_a"))
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(sent.body, signer.headers(sent), secret=signer.secret("tenant_b"))


@pytest.mark.parametrize("content", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_***"])
def test_a_secret_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(RequestInvalid, match="holds no secret"):
        Signer(path)


async def test_what_was_settled_long_ago_is_forgotten_and_deleted_jobs_take_theirs_along(
    posting: Any, web: Any, reply: Any
) -> None:
    web.replies["/hook"] = reply()
    house = posting()
    await house.orchestrator.start()
    first, second = [await house.orchestrator.submit(ask(web)) for _ in range(2)]
    await settled(house, 2)
    await house.orchestrator.delete(first.id)
    assert [row["job_id"] for row in await settled(house, 1)] == [second.id]
    with house.orchestrator._database.transaction() as db:
        db.execute("UPDATE deliveries SET created_at_s = 1")
    house.orchestrator._postman._table.forget_old()
    assert await settled(house, 0) == []
    await house.orchestrator.close()


async def test_a_failed_job_says_why(posting: Any, web: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    web.replies["/hook"] = reply()
    house = posting()

    async def broken(*_: object) -> None:
        raise RequestInvalid("not like this")

    monkeypatch.setattr(type(house.ports.codec), "decode", broken)
    await house.orchestrator.start()
    job = await house.orchestrator.submit(ask(web))
    (call,) = await heard(web, 1)
    told = json.loads(call.body)
    assert (told["type"], told["data"]["error"]["message"]) == ("video.failed", "not like this")
    assert (await house.orchestrator.get(job.id)).status is JobStatus.FAILED
    await house.orchestrator.close()


async def test_openai_s_requests_name_a_webhook_and_a_deadline(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"] = reply()
    house = posting()
    await house.orchestrator.start()

    async def readiness() -> dict[str, bool]:
        return {}

    app = build_http(house.orchestrator, readiness, house.blobs, house.preset)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        form = {"prompt": "a red star", "webhook_url": f"{web.url}/hook", "deadline_s": "3600"}
        made = await client.post("/v1/videos", files={name: (None, value) for name, value in form.items()})
        assert made.status_code == 200, made.text
        (call,) = await heard(web, 1)
        assert json.loads(call.body)["data"]["id"] == made.json()["id"]
        assert (await house.orchestrator.get(made.json()["id"])).request.deadline_s == 3600
        secret = (await client.post("/v1/webhooks/secret")).json()["secret"]
        assert secret == (await house.orchestrator.webhook_secret()).secret
        refused = await client.post("/v1/videos", json=form | {"webhook_url": "http://media.test:1/"})
        assert (refused.json()["error"]["code"], refused.json()["error"]["param"]) == ("url_refused", "webhook_url")
    await house.orchestrator.close()


async def _delivered(client: httpx.AsyncClient, job_id: str, *statuses: str) -> list[dict[str, Any]]:
    """What the list shows, once each message stands as it shall."""
    while True:
        answer = await client.get(f"/v1/jobs/{job_id}/deliveries")
        assert answer.status_code == 200 and answer.json()["object"] == "list", answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        if tuple(one["status"] for one in found) == statuses:
            return found
        await asyncio.sleep(0.01)


async def test_who_was_called_when_how_often_and_with_what_end_is_told(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"], web.replies["/gone"] = [reply(500), reply(204)], reply(410)
    house = posting()
    await house.orchestrator.start()

    async def readiness() -> dict[str, bool]:
        return {}

    app = build_http(house.orchestrator, readiness, house.blobs, house.preset)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        job = await house.orchestrator.submit(ask(web))
        (one,) = await _delivered(client, job.id, "delivered")
        assert (one["url"], one["type"], one["job_id"]) == (f"{web.url}/hook", "video.completed", job.id)
        assert (one["attempts"], one["answered"], one["error"], one["due_at_s"]) == (2, 204, None, None)
        assert one["created_at_s"] <= one["attempted_at_s"] == one["delivered_at_s"]
        assert one["id"] == web.calls[0].headers["webhook-id"]

        refused = await house.orchestrator.submit(ask(web, webhook_url=f"{web.url}/gone"))
        (one,) = await _delivered(client, refused.id, "given_up")
        assert (one["attempts"], one["answered"], one["delivered_at_s"]) == (1, 410, None)
        assert "answered 410" in one["error"]

        unheard = await house.orchestrator.submit(ask(web, webhook_url=f"http://127.0.0.2:{web.port}/hook"))
        (one,) = await _delivered(client, unheard.id, "given_up")
        assert one["answered"] is None and "not public" in one["error"]

        silent = await house.orchestrator.submit(ask(web, webhook_url=None))
        assert await _delivered(client, silent.id) == []
        missing = await client.get("/v1/jobs/job_0123456789abcdefghij/deliveries")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "job_not_found")
    await house.orchestrator.close()


async def test_a_message_that_waits_for_its_next_attempt_says_when(posting: Any, web: Any, reply: Any) -> None:
    web.replies["/hook"] = reply(503)
    house = posting(first_delay_s=3600.0)
    await house.orchestrator.start()
    job = await house.orchestrator.submit(ask(web))
    await heard(web, 1)
    while not (found := await house.orchestrator.deliveries(job.id))[0].attempts:
        await asyncio.sleep(0.01)
    (one,) = found
    assert (one.status, one.attempts, one.answered) == (DeliveryStatus.PENDING, 1, 503)
    assert one.due_at_s is not None and one.attempted_at_s is not None and one.due_at_s > one.attempted_at_s
    await house.orchestrator.close()


def test_a_database_of_an_earlier_version_keeps_its_messages(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    Database(path).close()
    db = sqlite3.connect(path)
    for column in ("attempted_at_s", "answered"):
        db.execute(f"ALTER TABLE deliveries DROP COLUMN {column}")
    db.execute(
        "INSERT INTO deliveries (id, job_id, url, body, created_at_s, due_at_s)"
        " VALUES ('evt_1', 'job_1', 'http://x.test', '{}', 1, 1)"
    )
    db.commit()
    db.close()
    table = DeliveryTable(Database(path))
    assert [one.id for one in table.due(5)] == ["evt_1"]
    table.delivered("evt_1", 200)
    assert table.due(5) == []
