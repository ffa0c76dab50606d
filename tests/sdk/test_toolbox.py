"""The tools themselves, without any agent's protocol: which files may be named, how errors are told, the in-process transport."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vogue import AsyncVogue, JobEvent, JobStatus, RequestInvalid, Retry, VogueError
from vogue.asgi import AppTransport
from vogue.blocking import unsuspended
from vogue.schemas.errors import DeviceOutOfMemory, JobCancelled, MediaUnreadable, ServiceOverloaded
from vogue.testing import FakeServer
from vogue.toolbox import TOOLS, Bench, JobReport, Roots, explain, tool_named
from vogue.transport import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "inner").mkdir(parents=True)
    (folder / "clip.mp4").write_bytes(b"clip")
    (folder / "inner" / "deep.mp4").write_bytes(b"deep")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (folder / "out").symlink_to(tmp_path)
    (folder / "secret.mp4").symlink_to(tmp_path / "secret.mp4")
    return folder


def opened(roots: Roots, named: str) -> bytes:
    with roots.opened(roots.locate(named, "source")) as (name, file):
        assert name == Path(named).name
        return file.read()


def test_files_inside_are_found_by_any_name_that_leads_to_them(root: Path) -> None:
    roots = Roots([root])
    for named in ("clip.mp4", "./clip.mp4", "inner/../clip.mp4", str(root / "clip.mp4"), "inner/deep.mp4"):
        assert opened(roots, named) in (b"clip", b"deep")


segments = st.sampled_from(
    [
        "..",
        ".",
        "root",
        "inner",
        "out",
        "secret.mp4",
        "clip.mp4",
        "deep.mp4",
        "",
        "~",
        "\udcff",
        "\ud800",
        "loop",
        "a" * 300,
    ]
)


@settings(max_examples=300)
@given(st.lists(segments, max_size=8), st.booleans())
def test_nothing_outside_is_ever_opened(tmp_path_factory: Any, names: list[str], absolute: bool) -> None:
    outside = tmp_path_factory.getbasetemp() / "fixed"
    folder = outside / "root"
    if not folder.exists():
        (folder / "inner").mkdir(parents=True)
        (outside / "secret.mp4").write_bytes(b"secret")
        (folder / "clip.mp4").write_bytes(b"clip")
        (folder / "inner" / "deep.mp4").write_bytes(b"deep")
        (folder / "out").symlink_to(outside)
        (folder / "loop").symlink_to(folder / "loop")
        (folder / "secret.mp4").symlink_to(outside / "secret.mp4")
    named = "/".join([str(outside)] * absolute + names)
    roots = Roots([folder])
    try:
        with roots.opened(roots.locate(named, "source")) as (_, file):
            assert file.read() in (b"clip", b"deep")
    except VogueError as error:
        assert "secret" not in error.message.replace("secret.mp4", "")


def test_what_was_swapped_after_the_check_is_not_read(root: Path, tmp_path: Path) -> None:
    roots = Roots([root])
    path = roots.locate("clip.mp4", "source")
    path.unlink()
    path.symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(MediaUnreadable), roots.opened(path):
        pass
    deep = roots.locate("inner/deep.mp4", "source")
    (root / "inner").rename(tmp_path / "moved")
    (tmp_path / "moved" / "deep.mp4").write_bytes(b"other")
    (root / "inner").symlink_to(tmp_path / "moved")
    with pytest.raises(MediaUnreadable, match="was replaced"), roots.opened(deep):
        pass


def test_pipes_and_empty_files_are_no_media(root: Path) -> None:
    roots = Roots([root])
    (root / "empty.mp4").touch()
    with pytest.raises(MediaUnreadable, match="0 bytes"):
        opened(roots, "empty.mp4")
    path = root / "clip.mp4"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MediaUnreadable, match="was replaced"), roots.opened(path):
        pass


def test_a_root_must_be_a_folder(root: Path) -> None:
    for wrong in (root / "nowhere", root / "clip.mp4"):
        with pytest.raises(RequestInvalid, match="is not a folder"):
            Roots([wrong])
    assert not Roots()


def test_names_and_schemas_are_fit_for_models() -> None:
    for tool in TOOLS:
        schema = tool.arguments.model_json_schema()
        assert schema["additionalProperties"] is False and len(tool.description) < 400
        assert all("description" in field for field in schema["properties"].values()), tool.name
        assert tool_named(tool.name) is tool
    assert tool_named("paint") is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RequestInvalid("steps: too many", param="steps"), "request_invalid: steps: too many"),
        (RequestInvalid("too many", param="steps"), "request_invalid (steps): too many"),
        (ServiceOverloaded("full", retry_after_s=5), "service_overloaded: full. Try again in 5 s"),
        (
            DeviceOutOfMemory("1 GiB are missing"),
            "device_out_of_memory: 1 GiB are missing. Trying again later may help",
        ),
        (JobCancelled("it was cancelled"), "cancelled: it was cancelled. Submit it again if it is still wanted"),
    ],
)
def test_errors_are_told_so_that_a_model_can_act(error: VogueError, told: str) -> None:
    assert explain(error) == told


def _tool(name: str) -> Any:
    found = tool_named(name)
    assert found is not None
    return found


def test_every_tool_runs_without_an_event_loop(root: Path) -> None:
    server = FakeServer()
    bench = Bench(unsuspended("http://fake.invalid", transport=server.transport()), Roots([root]))
    report = run(_tool("edit").call(bench, {"instruction": "make it blue", "source": "clip.mp4"}))
    assert isinstance(report, JobReport) and report.status == "completed"
    assert [path for method, path in server.calls if method == "POST"] == ["/v1/uploads", "/v1/jobs"]
    started = run(_tool("submit_generate").call(bench, {"instruction": "a ball"}))
    assert run(_tool("get_job").call(bench, {"job_id": started.job_id, "wait_s": 5})).status == "completed"
    assert run(_tool("list_assets").call(bench, {"limit": 1})).next_before


def test_ctrl_c_while_waiting_cancels_the_job() -> None:
    async def interrupt(_: JobEvent) -> None:
        raise KeyboardInterrupt

    server = FakeServer()
    bench = Bench(unsuspended("http://fake.invalid", transport=server.transport()), tell=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(_tool("generate").call(bench, {"instruction": "a ball"}))
    assert [record.job.status for record in server.stage.records.values()] == [JobStatus.CANCELLED]


async def test_a_failed_job_is_an_error_with_its_id_and_of_its_class(root: Path) -> None:
    server = FakeServer(failure=DeviceOutOfMemory("2 GiB are missing"))
    async with server.async_client() as client:
        with pytest.raises(DeviceOutOfMemory, match=r"^job job_0+1: 2 GiB are missing$"):
            await _tool("generate").call(Bench(client), {"instruction": "a ball"})
        report = await _tool("get_job").call(Bench(client), {"job_id": "job_0000000000000001", "wait_s": 1})
        assert report.status == "failed" and report.error.code == "device_out_of_memory"


async def test_arguments_are_checked_before_anything_is_sent() -> None:
    server = FakeServer()
    async with server.async_client() as client:
        for given in ({}, {"instruction": "x", "sede": 1}, {"instruction": "x", "references": ["data:,a"]}):
            with pytest.raises(RequestInvalid, match="The arguments of generate are instruction, "):
                await _tool("generate").call(Bench(client), given)
    assert server.calls == []


async def test_nothing_is_uploaded_for_settings_that_cannot_work(root: Path) -> None:
    server = FakeServer()
    async with server.async_client() as client:
        bench = Bench(client, Roots([root]))
        for given in ({"steps": 0}, {"num_frames": -1}, {"seed": -1}):
            with pytest.raises(RequestInvalid) as caught:
                await _tool("edit").call(bench, {"instruction": "make it blue", "source": "clip.mp4", **given})
            assert caught.value.param == next(iter(given))
    assert server.calls == []


def test_the_base_installation_suffices_for_the_tools_themselves() -> None:
    script = (
        "import sys, vogue, vogue.cli, vogue.toolbox, vogue.asgi\n"
        "sys.exit(' '.join({'mcp', 'langchain_core', 'PIL', 'starlette', 'torch', 'ray'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


# The transport into an application of this process.


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    headers = [(b"x-path", scope["path"].encode()), (b"x-key", dict(scope["headers"]).get(b"authorization", b""))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    for byte in body:
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
    await send({"type": "http.response.body"})


def _client(app: Any, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=AppTransport(app, headers), base_url="http://here:8000", timeout=5)


async def test_requests_and_answers_pass_through_whole() -> None:
    async with _client(_echo, authorization="Bearer k") as client:
        answer = await client.post("/a%2Fb%2520/ä?c=d", content=bytes(range(200)))
        assert (answer.status_code, answer.content) == (201, bytes(range(200)))
        assert (answer.headers["x-path"], answer.headers["x-key"]) == ("/a/b%20/ä", "Bearer k")


async def test_pieces_arrive_as_they_are_made_and_leaving_stops_the_application() -> None:
    ended: list[str] = []
    go_on = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await go_on.wait()
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
        except asyncio.CancelledError:
            ended.append("stopped")
            raise

    async with _client(endless) as client, client.stream("GET", "/") as answer:
        pieces: AsyncIterator[bytes] = answer.aiter_bytes()
        assert await anext(pieces) == b"first"
        go_on.set()
        assert await anext(pieces) == b"more"
    assert ended == ["stopped"]


async def test_an_application_that_falls_over_is_a_broken_connection() -> None:
    async def before(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("no")

    async def amid(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("no")

    for app in (before, amid):
        async with _client(app) as client:
            with pytest.raises(httpx.ReadError):
                await client.get("/")
    async with AsyncVogue("http://here", transport=AppTransport(before), retry=Retry(attempts=1)) as vogue:
        with pytest.raises(VogueError):
            await vogue.jobs.list()


async def test_silence_has_a_limit() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def falls_silent(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    for app in (silent, falls_silent):
        async with _client(app) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/", timeout=0.02)
