"""Logs: one line a fact, the job it is about, and nothing that a user wrote or must keep to himself."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from vogue.schemas.errors import EngineError, MediaUnreadable
from vogue.schemas.jobs import JobStatus
from vogue.services.carrying import carried, receiving
from vogue.services.config import LogConfig
from vogue.services.logs import JOB, JsonFormatter, TextFormatter, set_up_logs

PROMPT = "a zebra in Zanzibar"
SECRET = "vogue_k3yk3yk3yk3yk3yk3yk3y"


@pytest.fixture
def restored() -> Iterator[None]:
    """The logger as it was."""
    root = logging.getLogger("vogue")
    handlers, level, propagate = root.handlers[:], root.level, root.propagate
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    root.propagate = propagate


@pytest.fixture
def written(restored: None) -> io.StringIO:
    """What the services write, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("test"))
    root = logging.getLogger("vogue")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def test_what_a_job_does_is_logged_with_its_id(house: Any, written: io.StringIO) -> None:
    jobs = [await house.make(instruction=f"{PROMPT} {n}", steps=2) for n in (1, 2)]
    for job in jobs:
        told = [line["message"] for line in _lines(written) if line.get("job_id") == job.id]
        assert told[0] == "taken, for the 1. time"
        assert {"stepped 2 of 2 steps: completed", "over: completed"} <= set(told)
    assert PROMPT not in written.getvalue() and "zebra" not in written.getvalue()


async def test_a_failure_is_told_without_the_words_of_its_exception(
    new_house: Any, tmp_path: Path, written: io.StringIO
) -> None:
    house = new_house.build(tmp_path)

    async def fall(request: Any) -> None:
        raise ValueError(f"cannot draw {request.recipe.asked} with the key {SECRET}")

    house.ports.codec.decode = fall
    await house.orchestrator.start()
    job = await house.make(instruction=PROMPT, steps=1)
    await house.orchestrator.close()
    assert job.status is JobStatus.FAILED
    failed = next(line for line in _lines(written) if line["level"] == "ERROR")
    assert failed["job_id"] == job.id and failed["errors"][0]["type"] == "ValueError"
    assert any("fall" in place for place in failed["errors"][0]["where"])
    assert "zebra" not in written.getvalue() and SECRET not in written.getvalue()


async def test_bad_requests_leave_none_of_their_words(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await client.post("/v1/jobs", json={"instruction": PROMPT, "steps": 10_000})
    await client.post("/v1/jobs", json={"instruction": 7, "more": PROMPT})
    await client.post("/v1/jobs", content=PROMPT.encode(), headers={"content-type": "application/json"})
    await client.get(f"/v1/jobs/{PROMPT}", headers={"authorization": f"Bearer {SECRET}"}, params={"q": PROMPT})
    told = _lines(written)
    assert [line["status"] for line in told if "route" in line] == [413, 400, 400, 404]
    assert "zebra" not in written.getvalue() and SECRET not in written.getvalue()


async def test_a_request_about_a_job_is_logged_with_its_id(
    house: Any, client: httpx.AsyncClient, written: io.StringIO
) -> None:
    job = await house.make(steps=1)
    await client.get(f"/v1/jobs/{job.id}")
    [line] = [line for line in _lines(written) if line.get("route") == "/v1/jobs/{job_id}"]
    assert (line["job_id"], line["method"], line["status"]) == (job.id, "GET", 200) and line["seconds"] >= 0


def _record(message: str, *args: object, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("vogue.x", logging.INFO, __file__, 1, message, args, fields.pop("exc_info", None))
    vars(made).update(fields)
    return made


def _error(error: BaseException) -> Any:
    try:
        raise error
    except BaseException as raised:
        return type(raised), raised, raised.__traceback__


@pytest.mark.parametrize(
    "said",
    [
        f"Authorization: Bearer {SECRET}",
        f"bearer {SECRET}",
        f"api_key={SECRET}",
        f'{{"token": "{SECRET}"}}',
        f"the key {SECRET} is unknown",
        f"password: {SECRET}",
    ],
)
def test_keys_are_blotted_out_wherever_they_stand(said: str) -> None:
    for formatter in (JsonFormatter("gateway"), TextFormatter("gateway")):
        line = formatter.format(_record("%s", said, header=said, exc_info=_error(OSError(said))))
        assert SECRET not in line and "[secret]" in line


def test_the_causes_of_an_error_are_told_and_the_system_s_own_words() -> None:
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as full:
            raise EngineError(PROMPT) from full
    except EngineError as error:
        record = _record("failed", exc_info=(type(error), error, error.__traceback__))
    first, second = json.loads(JsonFormatter("codec").format(record))["errors"]
    assert first["type"].endswith("EngineError") and first["code"] == EngineError.code and "message" not in first
    assert second["type"] == "OSError" and "No space left" in second["message"]
    text = TextFormatter("codec").format(record)
    assert "codec vogue.x: failed" in text and "OSError: [Errno 28] No space left on device" in text
    assert PROMPT not in text


def test_an_error_that_caused_itself_comes_to_an_end() -> None:
    error = MediaUnreadable("x")
    error.__context__ = other = ValueError("y")
    other.__context__ = error
    told = json.loads(JsonFormatter("codec").format(_record("failed", exc_info=(type(error), error, None))))
    assert 1 < len(told["errors"]) < 10


def test_a_line_stays_one_line_and_reads_back() -> None:
    told = json.loads(JsonFormatter("codec").format(_record("one\ntwo %s", '"', seconds=1.5, job_id="job_1")))
    assert told["message"] == 'one\ntwo "' and told["seconds"] == 1.5 and told["job_id"] == "job_1"
    assert list(told)[:5] == ["time", "level", "service", "logger", "message"]


@contextmanager
def about_job(job_id: str) -> Iterator[None]:
    """What is logged in the block, and in the tasks it starts, is about this job."""
    token = JOB.set(job_id)
    yield
    JOB.reset(token)


async def test_the_settings_decide_form_level_and_place(
    restored: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("codec", LogConfig(format="json", level="WARNING", folder=tmp_path / "logs"))
    set_up_logs("codec", LogConfig(format="json", level="WARNING", folder=tmp_path / "logs"))
    logger = logging.getLogger("vogue.services.codec")
    with about_job("job_1"):
        logger.info("not this")
        await asyncio.create_task(_warn(logger))
        await asyncio.to_thread(logger.warning, "on a thread")
    assert JOB.get() is None
    shown = capsys.readouterr().err.splitlines()
    kept = (tmp_path / "logs" / "codec.log").read_text().splitlines()
    assert shown == kept
    assert [(json.loads(line)["message"], json.loads(line)["job_id"]) for line in kept] == [
        ("in a task", "job_1"),
        ("on a thread", "job_1"),
    ]
    set_up_logs("codec", LogConfig())
    logger.info("for people")
    assert "INFO codec vogue.services.codec: for people" in capsys.readouterr().err


async def _warn(logger: logging.Logger) -> None:
    logger.warning("in a task")


async def test_a_call_to_another_service_takes_its_job_along() -> None:
    class Base:
        def __init_subclass__(cls) -> None:
            receiving(cls)

        async def ready(self) -> str | None:
            return JOB.get()

    class Shell(Base):
        async def call(self, number: int) -> tuple[int, str | None]:
            return number, JOB.get()

        async def stream(self) -> Any:
            yield JOB.get()
            await asyncio.sleep(0)
            yield JOB.get()

        def plain(self) -> None: ...

    class Nested(Shell):
        """As a library might derive from it."""

    with about_job("job_1"):
        taken = carried()

    async def elsewhere() -> Any:
        assert JOB.get() is None
        return await Nested().call(3, **taken), [one async for one in Nested().stream(**taken)], await Nested().ready()

    assert await asyncio.create_task(elsewhere()) == ((3, "job_1"), ["job_1", "job_1"], None)
