"""The client against the server in memory: both forms, through one suite."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

import vogue
from vogue import AsyncVogue, EventKind, JobStatus, Retry, Vogue, assets, blocking, handles
from vogue.schemas.errors import (
    AssetNotFound,
    DeviceOutOfMemory,
    JobCancelled,
    JobNotFound,
    LimitExceeded,
    MediaUnreadable,
    RequestInvalid,
    ServiceError,
    ServiceOverloaded,
    ServiceTimeout,
    VogueError,
    WireError,
)
from vogue.testing import SMALLEST_GIF, FakeServer
from vogue.transport import run

ASYNCHRONOUS = {"AsyncVogue": AsyncVogue, **vars(assets), **vars(handles)}


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture(params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, server: FakeServer) -> Any:
    return server.client() if request.param == "blocking" else server.async_client()


async def do(call: Any) -> Any:
    """The result of a call of either client."""
    return await call if inspect.isawaitable(call) else call


async def collect(events: Any) -> list[Any]:
    return [event async for event in events] if hasattr(events, "__aiter__") else list(events)


def test_everything_is_exported_in_order() -> None:
    assert sorted(vogue.__all__) == vogue.__all__
    assert all(hasattr(vogue, name) for name in vogue.__all__)


def test_both_clients_have_the_same_methods() -> None:
    pairs = [("AsyncVogue", "Vogue"), ("AsyncJobs", "Jobs"), ("AsyncJobHandle", "JobHandle")]
    for one, other in [*pairs, ("AsyncAssets", "Assets"), ("AsyncAssetHandle", "AssetHandle")]:
        mine, theirs = vars(ASYNCHRONOUS[one]), vars(getattr(blocking, other))
        public = {name for name in mine if not name.startswith("_")} - {"over"}
        assert public - {"job", "asset"} == {name for name in theirs if not name.startswith("_")} - {"job", "asset"}
        for name in public - {"job", "asset", "server"}:
            if inspect.isfunction(mine[name]):
                assert list(inspect.signature(mine[name]).parameters) == list(
                    inspect.signature(theirs[name]).parameters
                )


async def test_an_instruction_becomes_a_file(client: Any, server: FakeServer, tmp_path: Path) -> None:
    job = await do(client.generate("a red ball rolls", seed=7, steps=4))
    assert job.status is JobStatus.QUEUED
    seen: list[Any] = []
    await do(job.wait(seen.append))
    assert job.status is JobStatus.COMPLETED
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert [event.steps_done for event in seen if event.kind is EventKind.STEP] == [1, 2, 3, 4]
    path = await do(job.save(tmp_path / "made" / "out.gif"))
    assert path.read_bytes() == SMALLEST_GIF
    assert (await do(job.save(tmp_path))).name == f"{job.id}.gif"
    assert [entry.name for entry in (tmp_path / "made").iterdir()] == ["out.gif"]
    assert server.requests[0].seed == 7


async def test_inputs_are_uploaded_tagged_and_ordered(client: Any, server: FakeServer, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not really a clip")
    held = await do(client.upload(b"picture", "a.png"))
    await do(client.generate("put image2 on it", source=clip, references=[held, b"another"], task="i+v2v_edit"))
    visuals = server.requests[0].visuals
    assert [(v.tag, v.role) for v in visuals] == [
        ("image1", "reference"),
        ("image2", "reference"),
        ("video1", "source"),
    ]
    assert visuals[0].upload_id == held.id
    assert server.calls.count(("POST", "/v1/uploads")) == 3


async def test_who_does_not_watch_is_sent_no_events(client: Any, server: FakeServer) -> None:
    job = await do((await do(client.generate("a ball"))).wait())
    assert job.status is JobStatus.COMPLETED
    assert server.calls[-1] == ("GET", f"/v1/jobs/{job.id}")
    assert ("GET", f"/v1/jobs/{job.id}/events") not in server.calls


async def test_a_result_can_be_the_next_source(client: Any, server: FakeServer) -> None:
    first = await do((await do(client.generate("a ball"))).wait())
    await do(client.generate("make it blue", source=first.results[0]))
    assert server.requests[1].visuals[0].upload_id == first.results[0].asset.id
    assert ("POST", "/v1/uploads") not in server.calls


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"guidance": float("nan")}, "guidance"),
        ({"steps": 0}, "steps"),
        ({"task": "t2x"}, "task"),
        ({"sede": 1}, "sede"),
    ],
)
async def test_bad_settings_never_reach_the_server(
    client: Any, server: FakeServer, settings: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestInvalid) as caught:
        await do(client.generate("x", source=b"picture", **settings))
    assert caught.value.param == param and server.calls == []


async def test_bad_files_never_reach_the_server(client: Any, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for media, why in [
        (tmp_path / "no.mp4", "not a file"),
        (tmp_path / "empty.mp4", "0 bytes"),
        (b"", "empty"),
        (tmp_path, "not a"),
    ]:
        with pytest.raises(MediaUnreadable, match=why):
            await do(client.upload(media))
    assert server.calls == []


async def test_ids_of_nothing(client: Any) -> None:
    with pytest.raises(JobNotFound):
        await do(client.jobs.get("job_none"))
    with pytest.raises(AssetNotFound):
        await do(client.assets.get("asset_none"))
    with pytest.raises(VogueError):
        await do(client.jobs.get("../../v1/models"))


async def test_jobs_are_listed_newest_first(client: Any) -> None:
    ids = [(await do(client.generate(f"ball {n}"))).id for n in range(3)]
    assert [job.id for job in await do(client.jobs.list(limit=2))] == [ids[2], ids[1]]
    assert [job.id for job in await do(client.jobs.list(before=ids[1]))] == [ids[0]]


async def test_assets_are_listed_newest_first(client: Any) -> None:
    ids = [(await do(client.upload(b"picture", f"{n}.png"))).id for n in range(3)]
    assert [handle.asset.id for handle in await do(client.assets.list(limit=2))] == [ids[2], ids[1]]
    assert [handle.asset.id for handle in await do(client.assets.list(before=ids[1]))] == [ids[0]]
    with pytest.raises(AssetNotFound):
        await do(client.assets.list(before="asset_none"))


async def test_cancel(client: Any) -> None:
    job = await do(client.generate("a ball"))
    await do(job.refresh())
    await do(job.cancel())
    assert job.status is JobStatus.CANCELLED
    with pytest.raises(JobCancelled, match=job.id):
        await do(job.wait())
    assert (await do(client.jobs.cancel(job.id))).status is JobStatus.CANCELLED


async def test_a_failure_is_its_own_class_and_can_be_resumed(client: Any, server: FakeServer) -> None:
    server.stage.failure = DeviceOutOfMemory("the device has 1 GiB, and 2 GiB are needed")
    job = await do(client.generate("a ball"))
    with pytest.raises(DeviceOutOfMemory, match="2 GiB"):
        await do(job.wait())
    assert job.job.error.code == "device_out_of_memory"
    await do(job.resume())
    assert (await do(job.wait())).status is JobStatus.COMPLETED


async def test_nothing_to_save_yet(client: Any, tmp_path: Path) -> None:
    with pytest.raises(WireError, match="wait"):
        await do((await do(client.generate("a ball"))).save(tmp_path / "x.mp4"))


@pytest.mark.parametrize("cut", [1, 60, 300, 900])
async def test_events_go_on_where_the_connection_broke(client: Any, server: FakeServer, cut: int) -> None:
    job = await do(client.generate("a ball"))
    server.break_next_stream(cut)
    server.break_next_stream(cut)
    events = await collect(job.events())
    assert [event.seq for event in events] == list(range(1, 8))
    assert events[-1].kind is EventKind.COMPLETED
    assert [event.seq for event in await collect(client.jobs.events(job.id, after=5))] == [6, 7]


async def test_a_listener_can_leave_early(client: Any) -> None:
    job = await do(client.generate("a ball"))
    events = job.events()
    first = await anext(events) if hasattr(events, "__anext__") else next(events)
    await do(events.aclose() if hasattr(events, "aclose") else events.close())
    assert first.seq == 1


async def test_a_download_goes_on_where_it_broke(client: Any, server: FakeServer, tmp_path: Path) -> None:
    server.stage.result = bytes(range(256)) * 40
    job = await do((await do(client.generate("a ball"))).wait())
    server.break_next_stream(1000)
    server.break_next_stream(5000)
    assert (await do(job.save(tmp_path / "x.bin"))).read_bytes() == server.stage.result
    assert await do(job.results[0].read()) == server.stage.result


async def test_a_failed_download_leaves_no_file(client: Any, server: FakeServer, tmp_path: Path) -> None:
    job = await do((await do(client.generate("a ball"))).wait())
    server.fail_next(AssetNotFound("gone"))
    with pytest.raises(AssetNotFound):
        await do(job.save(tmp_path / "x.gif"))
    assert list(tmp_path.iterdir()) == []


async def test_what_may_work_the_next_time_is_tried_again(client: Any, server: FakeServer) -> None:
    server.fail_next(ServiceError("starting"), httpx.ReadError("reset"), ServiceOverloaded("full", retry_after_s=0.001))
    assert await do(client.jobs.list()) == []
    server.fail_next(*[ServiceError("starting")] * 4)
    with pytest.raises(ServiceError, match="starting"):
        await do(client.jobs.list())
    server.fail_next(LimitExceeded("too long"))
    calls = len(server.calls)
    with pytest.raises(LimitExceeded):
        await do(client.jobs.list())
    assert len(server.calls) == calls + 1


async def test_a_job_is_never_submitted_twice(client: Any, server: FakeServer) -> None:
    lost = iter([httpx.ReadTimeout("late"), ServiceError("died after it had stored the job"), None])

    def answer(request: httpx.Request) -> httpx.Response:
        done = server.transport().handler(request)
        assert isinstance(done, httpx.Response)
        match next(lost):
            case httpx.ReadTimeout() as fault:
                raise fault
            case ServiceError() as error:
                return httpx.Response(503, json=error.body())
        return done

    options: Any = {"transport": httpx.MockTransport(answer), "retry": Retry(first_delay_s=0.001)}
    careful = type(client)("http://fake.invalid", **options)
    handle = await do(careful.generate("a ball"))
    assert (len(server.requests), list(server.stage.records)) == (1, [handle.id])
    await do(client.generate("a ball"))
    assert len(server.requests) == 2, "another call is another request, in the same words too"


async def test_what_has_no_key_is_repeated_only_when_it_was_surely_refused(client: Any, server: FakeServer) -> None:
    for fault, kind in ((httpx.ReadTimeout("late"), ServiceTimeout), (ServiceError("died"), ServiceError)):
        server.fail_next(fault)
        with pytest.raises(kind):
            await do(client.sessions.create("a talk"))
    server.fail_next(ServiceOverloaded("full"), httpx.ConnectError("refused"))
    await do(client.sessions.create("a talk"))
    assert server.calls.count(("POST", "/v1/sessions")) == 5


async def test_a_job_that_waits_for_a_word_is_told_at_once(client: Any) -> None:
    job = await do(client.generate("a ball", thinking="review"))
    assert (await do(client.jobs.get(job.id, wait_s=60))).status is JobStatus.WAITING


async def test_no_server(client: Any, server: FakeServer) -> None:
    server.fail_next(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(ServiceError, match="vogue serve"):
        await do(client.jobs.list())
    server.fail_next(httpx.ConnectError("refused"))
    with pytest.raises(ServiceError, match="vogue serve"):
        await do(client.is_ready())
    server.fail_next(httpx.ReadTimeout("busy"), ServiceError("starting"))
    assert [await do(client.is_ready()) for _ in range(3)] == [False, False, True]


async def test_waiting_has_a_limit_and_the_job_goes_on(client: Any) -> None:
    job = await do(client.generate("a ball"))
    with pytest.raises(ServiceTimeout, match="goes on"):
        await do(job.wait(timeout_s=0))
    assert (await do(job.wait())).status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(418, json=["no"]),
        httpx.Response(500, content=b"\xff\xfe"),
        httpx.Response(200, json={"id": "from another world"}),
        httpx.Response(200, text="<html>hello</html>"),
    ],
)
async def test_strange_answers_are_typed_errors(answer: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(answer.status_code, content=answer.content))
    with Vogue("http://x.invalid", transport=transport, retry=Retry(attempts=1)) as client:
        for call in (lambda: client.jobs.get("job_1"), client.jobs.list, client.models):
            with pytest.raises(VogueError):
                call()


def test_delays_grow_with_jitter_and_honour_the_server() -> None:
    retry = Retry(attempts=4, first_delay_s=1.0, max_delay_s=3.0, random=random.Random(0))
    delays = [[retry.delay_s(tries) for _ in range(50)] for tries in (1, 2, 3)]
    for bound, drawn in zip((1.0, 2.0, 3.0), delays, strict=True):
        assert all(d is not None and bound / 2 <= d <= bound for d in drawn) and len(set(drawn)) > 40
    assert retry.delay_s(4) is None
    asked = retry.delay_s(1, ServiceOverloaded("full", retry_after_s=2.0))
    assert asked is not None and asked >= 2.0
    assert retry.delay_s(1, ServiceOverloaded("full", retry_after_s=10.0)) is None


def test_the_retry_after_header_counts() -> None:
    answers = iter([httpx.Response(429, headers={"retry-after": "30"}, json={})])
    with (
        Vogue("http://x.invalid", transport=httpx.MockTransport(lambda _: next(answers))) as client,
        pytest.raises(VogueError) as caught,
    ):
        client.jobs.list()
    assert caught.value.retry_after_s == 30


def test_the_server_is_named_by_argument_then_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOGUE_SERVER", "http://elsewhere:1/")
    with Vogue() as client:
        assert client.server == "http://elsewhere:1"
    with Vogue("http://here:2") as client:
        assert client.server == "http://here:2"


async def test_the_blocking_client_works_inside_an_event_loop(server: FakeServer) -> None:
    with server.client() as client:
        assert client.generate("a ball").wait().status is JobStatus.COMPLETED


async def test_the_clients_close(server: FakeServer) -> None:
    async with server.async_client() as client:
        assert isinstance(client, AsyncVogue)
        assert await client.models() == [{"id": "fake"}]
    with pytest.raises(RuntimeError):
        await client.models()


def test_a_coroutine_that_suspends_is_refused() -> None:
    import asyncio

    with pytest.raises(RuntimeError, match="event loop"):
        run(asyncio.sleep(1))


@pytest.mark.parametrize("name", ["..", ".", "", "../..", "a\0b", "ä" * 200, "/"])
def test_a_file_of_any_name_is_saved_into_the_folder(name: str, tmp_path: Path) -> None:
    server = FakeServer()
    folder = tmp_path / "folder"
    folder.mkdir()
    with server.client() as vogue:
        handle = vogue.assets.handle(vogue.upload(b"bytes", "x.png").model_copy(update={"filename": name}))
        path = handle.save(folder)
    assert path.parent == folder and path.read_bytes() == b"bytes" and list(tmp_path.iterdir()) == [folder]
