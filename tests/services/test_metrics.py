"""Metrics: what `/metrics` tells after real requests and jobs, how processes add up, and that labels stay few."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from vogue.schemas.jobs import JobStatus
from vogue.schemas.requests import GenerationRequest
from vogue.services import meters as meters_module
from vogue.services.database import Database
from vogue.services.exposition import _Told
from vogue.services.meters import OTHER, Counter, Gauge, Histogram, Ledger, Meters, Metric, Reading, Series
from vogue.services.metrics import METERS, OPERATION_SECONDS
from vogue.services.stock import Stock

PROMPT = "a zebra in Zanzibar"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def scrape(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(before: Samples, after: Samples, name: str, **labels: str) -> float:
    return after.get(key(name, **labels), 0.0) - before.get(key(name, **labels), 0.0)


async def test_a_job_counts_from_its_submission_to_its_end(house: Any, client: httpx.AsyncClient) -> None:
    before = await scrape(client)
    made = await client.post("/v1/jobs", json={"instruction": PROMPT, "steps": 3, "task": "t2v"})
    job = await house.finish(made.json()["id"])
    assert job.status is JobStatus.COMPLETED
    after = await scrape(client)
    assert grown(before, after, "vogue_jobs_submitted_total", task="t2v") == 1
    assert grown(before, after, "vogue_jobs_finished_total", task="t2v", status="completed") == 1
    assert grown(before, after, "vogue_queue_seconds_count", task="t2v") == 1
    assert grown(before, after, "vogue_job_seconds_count", task="t2v") == 1
    assert grown(before, after, "vogue_step_seconds_count", task="t2v") == 3
    assert grown(before, after, "vogue_step_seconds_bucket", task="t2v", le="+Inf") == 3
    assert grown(before, after, "vogue_step_seconds_sum", task="t2v") > 0


async def test_requests_count_by_the_template_of_their_path(client: httpx.AsyncClient) -> None:
    before = await scrape(client)
    for path in (
        "/v1/jobs/job_aaaaaaaaaaaaaaaa",
        "/v1/jobs/job_bbbbbbbbbbbbbbbb",
        f"/{PROMPT}",
        "/v1/videos/x/content",
    ):
        await client.get(path)
    await client.get("/healthz", headers={"host": "elsewhere.example"})
    await client.get("/v1/jobs", headers={"host": "elsewhere.example"})
    await client.request("BREW", "/healthz")
    after = await scrape(client)

    def requests(**labels: str) -> float:
        return grown(before, after, "vogue_http_requests_total", **labels)

    assert requests(method="GET", route="/v1/jobs/{job_id}", status="404") == 2
    assert requests(method="GET", route="/v1/videos/{video_id}/content", status="404") == 1
    assert requests(method="GET", route="unmatched", status="404") == 1
    assert requests(method="GET", route="unmatched", status="421") == 1
    assert requests(method="GET", route="/healthz", status="200") == 1
    assert requests(method=OTHER, route="/healthz", status="405") == 1
    assert requests(method="GET", route="/metrics", status="200") == 1
    assert grown(before, after, "vogue_http_response_seconds_count", method="GET", route="/v1/jobs/{job_id}") == 2


async def test_no_label_holds_what_a_user_said_or_an_id(house: Any, client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/jobs", json={"instruction": PROMPT, "steps": 1})
    await house.finish(made.json()["id"])
    await client.get(f"/v1/jobs/{made.json()['id']}/events")
    told = (await client.get("/metrics")).text
    assert PROMPT not in told and "zebra" not in told
    assert made.json()["id"] not in told and "job_" not in told.replace("vogue_job_", "").replace("{job_id}", "")


async def test_failures_count_by_their_code(new_house: Any, tmp_path: Path) -> None:
    house = new_house.build(tmp_path)
    before = METERS.read().sums

    async def fall(_: Any) -> None:
        raise ValueError(PROMPT)

    house.ports.codec.decode = fall
    await house.orchestrator.start()
    job = await house.make(steps=1)
    await house.orchestrator.close()
    assert job.status is JobStatus.FAILED
    series = Series("vogue_job_failures_total", ("internal_error",))
    assert METERS.read().sums[series] - before.get(series, 0) == 1


async def test_what_the_services_compute_is_timed_and_what_they_look_up_is_not(
    media_house: Any, media_client: httpx.AsyncClient
) -> None:
    file = BytesIO()
    Image.new("RGB", (48, 32), (255, 0, 0)).save(file, "PNG")
    png = file.getvalue()
    before = await scrape(media_client)
    upload = (await media_client.post("/v1/uploads", files={"file": ("red.png", png)})).json()
    visuals = [{"tag": "image1", "role": "source", "upload_id": upload["id"]}]
    for seed in (1, 2):
        wanted = {"instruction": PROMPT, "visuals": visuals, "steps": 1, "seed": seed, "task": "i2i_edit"}
        made = await media_client.post("/v1/jobs", json=wanted)
        assert (await media_house.finish(made.json()["id"])).status is JobStatus.COMPLETED
    after = await scrape(media_client)
    for operation, times in (("codec.probe", 1), ("codec.prepare", 1), ("codec.encode", 1), ("codec.decode", 2)):
        assert grown(before, after, "vogue_operation_seconds_count", operation=operation) == times
    for outcome in ("computed", "reused"):
        lookups = grown(before, after, "vogue_cache_lookups_total", operation="codec.encode", outcome=outcome)
        assert lookups == 1
    assert grown(before, after, "vogue_uploaded_bytes_total", kind="image") == len(png)


async def test_gauges_tell_of_the_queue_and_the_store(new_house: Any, tmp_path: Path) -> None:
    house = new_house.build(tmp_path)
    for _ in range(2):
        await house.orchestrator.submit(GenerationRequest(instruction=PROMPT))
    house.blobs.put(b"x" * 1000, "text/plain")
    stock = Stock(Database(tmp_path / "jobs.sqlite"), house.blobs, house.preset)
    stock.count_jobs()
    stock.weigh()
    gauges = METERS.read().gauges
    assert gauges[Series("vogue_jobs", ("queued",))] == 2 and gauges[Series("vogue_jobs", ("in_progress",))] == 0
    assert gauges[Series("vogue_queue_oldest_seconds", ())] >= 0
    assert gauges[Series("vogue_store_bytes", ())] >= 1000
    assert any(series.metric == "vogue_info" and series.labels[1] == "tiny" for series in gauges)
    await house.orchestrator.close()


async def test_openmetrics_is_spoken_where_it_is_asked_for(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "vogue_jobs_submitted" in {family.name for family in read_openmetrics(answer.text)}


def test_the_catalogue_keeps_to_prometheus_rules() -> None:
    for name, metric in METERS.metrics.items():
        assert name.startswith("vogue_") and metric.what.endswith(".")
        assert name.endswith("_total") is isinstance(metric, Counter)
        if isinstance(metric, Histogram):
            assert name.endswith("_seconds") and list(metric.bounds) == sorted(metric.bounds)
        unbounded = [label for label, known in metric._known.items() if known is None]
        assert set(unbounded) <= {"route", "status", "version", "preset"}


def test_every_operation_in_the_code_is_in_the_catalogue(repository: Path) -> None:
    named = set()
    for path in (repository / "services").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'(?:operation|cached|cached_here)\(\s*"(\w+\.\w+)"', text))
    assert named and named <= OPERATION_SECONDS._known["operation"]


class Colours:
    """A small catalogue of its own."""

    def __init__(self) -> None:
        self.meters = Meters()
        self.seen = Counter(self.meters, "seen_total", "Seen.", colour=("red", "blue"))
        self.level = Gauge(self.meters, "level", "Level.")
        self.took = Histogram(self.meters, "took_seconds", "Took.", (1.0, 2.0), colour=("red",))


def test_processes_add_up_in_one_ledger_and_outlive_their_end(tmp_path: Path) -> None:
    one, other = Colours(), Colours()
    one.seen.add(colour="red")  # before it shares
    for colours in (one, other):
        colours.meters.keep_in(tmp_path / "metrics.sqlite")
    one.seen.add(2, colour="red")
    other.seen.add(4, colour="red")
    other.level.set(7)
    other.meters.close()
    other.seen.add(100, colour="red")  # its own business from now on
    reading = one.meters.read()
    assert reading.sums == {Series("seen_total", ("red",)): 7}
    assert reading.gauges == {Series("level", ()): 7}
    one.meters.close()
    again = Colours()
    again.meters.keep_in(tmp_path / "metrics.sqlite")
    assert again.meters.read() == reading
    again.meters.close()


def test_what_is_counted_reaches_the_ledger_by_itself(tmp_path: Path) -> None:
    colours, flushed = Colours(), threading.Event()
    colours.meters.keep_in(tmp_path / "metrics.sqlite")
    flush = colours.meters.flush
    colours.meters.flush = lambda: (flush(), flushed.set())  # type: ignore[method-assign, assignment, func-returns-value]
    colours.seen.add(colour="blue")
    assert flushed.wait(60)
    ledger = Ledger(tmp_path / "metrics.sqlite")
    assert ledger.read().sums == {Series("seen_total", ("blue",)): 1}
    ledger.close()
    colours.meters.flush = flush  # type: ignore[method-assign]
    colours.meters.close()


def test_a_gauge_that_nobody_sets_any_more_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = Colours()
    colours.meters.keep_in(tmp_path / "metrics.sqlite")
    colours.level.set(3)
    assert colours.meters.read().gauges
    monkeypatch.setattr(meters_module, "_GAUGE_S", -1.0)
    assert not colours.meters.read().gauges
    colours.meters.close()


def test_a_ledger_that_cannot_be_written_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = Colours()
    colours.meters.keep_in(tmp_path / "metrics.sqlite")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", full)
        colours.seen.add(2, colour="red")
        colours.level.set(1)
        colours.meters.flush()
        colours.level.set(2)
    assert colours.meters.read() == Reading({Series("seen_total", ("red",)): 2}, {Series("level", ()): 2})
    colours.meters.close()


def test_an_unforeseen_label_value_counts_as_other() -> None:
    colours = Colours()
    colours.seen.add(colour=PROMPT)
    assert colours.meters.read().sums == {Series("seen_total", (OTHER,)): 1}
    with pytest.raises(KeyError):
        colours.seen.add()


def test_a_histogram_knows_its_buckets_and_times_what_fails() -> None:
    colours, ticks = Colours(), iter([0.0, 1.5])
    with pytest.raises(ZeroDivisionError), colours.took.time(clock=lambda: next(ticks), colour="red"):
        _ = 1 / 0
    colours.took.observe(1.0, colour="red")
    colours.took.observe(99.0, colour="red")
    [*_, family] = _Told(colours.meters, colours.meters.read()).collect()
    told = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert told == {
        ("took_seconds_bucket", "1.0"): 1,
        ("took_seconds_bucket", "2.0"): 2,
        ("took_seconds_bucket", "+Inf"): 3,
        ("took_seconds_count", None): 3,
        ("took_seconds_sum", None): 101.5,
    }


def test_counts_of_another_version_are_left_out() -> None:
    colours = Colours()
    reading = Reading({Series("gone_total", ()): 1, Series("seen_total", ("red", "large")): 1}, {})
    assert not any(family.samples for family in _Told(colours.meters, reading).collect())


def test_a_mirror_hears_everything() -> None:
    colours, heard = Colours(), []

    class Ear:
        def add(self, metric: Metric, labels: Mapping[str, str], amount: float) -> None:
            heard.append((metric.name, dict(labels), amount))

        observe = set = add

    colours.meters.mirrors.append(Ear())
    colours.seen.add(2, colour="red")
    colours.seen.add(0, colour="red")
    colours.took.observe(0.5, colour="red")
    colours.level.set(3)
    red = {"colour": "red"}
    assert heard == [("seen_total", red, 2), ("took_seconds", red, 0.5), ("level", {}, 3)]
