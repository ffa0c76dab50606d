"""The client's side of keys: where they come from, where they go, and where they must not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from vogue import AccessDenied, AsyncVogue, KeyInvalid, RequestInvalid, Retry, ScopeMissing, Vogue, VogueError
from vogue.blocking import unsuspended
from vogue.cli import build_app
from vogue.cli.exits import ExitCode, exit_code_of
from vogue.cli.session import Session
from vogue.testing import FakeServer

KEY = "vogue-" + "k" * 43


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOGUE_API_KEY", raising=False)


def _sent(**options: Any) -> str | None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"object": "list", "data": []})

    with Vogue("http://fake.invalid", transport=httpx.MockTransport(answer), **options) as client:
        client.models()
    return seen[0]


def test_a_key_comes_from_the_argument_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _sent() is None
    monkeypatch.setenv("VOGUE_API_KEY", f" {KEY}\n")
    assert _sent() == f"Bearer {KEY}"
    assert _sent(api_key="vogue-other") == "Bearer vogue-other"
    assert _sent(api_key="") is None


@pytest.mark.parametrize("wrong", ["two words", "bad\x00", "bad\r\nx: y", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_and_not_repeated(wrong: str) -> None:
    for make in (Vogue, AsyncVogue, unsuspended):
        with pytest.raises(RequestInvalid) as caught:
            make("http://fake.invalid", api_key=wrong)
        assert caught.value.param == "api_key" and wrong not in caught.value.message


async def test_both_clients_send_it_and_understand_its_refusal() -> None:
    server = FakeServer(api_key=KEY)
    with server.client(api_key=KEY) as client:
        assert client.generate("a star").wait().status == "completed"
        assert client.account().usage.num_files == 1
        assert client.delete_media().num_jobs == 1
        assert client.jobs.list() == []
        assert KEY not in repr(client) and KEY not in repr(vars(client))
    async with server.async_client(api_key="vogue-wrong") as other:
        with pytest.raises(KeyInvalid, match="VOGUE_API_KEY"):
            await other.generate("a star")
        assert await other.is_ready()
    # Nothing was tried twice: another try would not help.
    assert server.calls.count(("POST", "/v1/jobs")) == 2


def test_a_key_goes_to_its_server_only() -> None:
    """Whoever answers with a redirection does not get it."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(307, headers={"location": "http://evil.invalid/v1/models"})

    transport = httpx.MockTransport(answer)
    client = Vogue("http://fake.invalid", api_key=KEY, transport=transport, retry=Retry(attempts=1))
    with client, pytest.raises(VogueError, match="307"):
        client.models()
    assert [request.url.host for request in asked] == ["fake.invalid"]


def test_access_errors_have_the_exit_code_of_a_request_that_must_change() -> None:
    for error in (KeyInvalid("x"), ScopeMissing("x"), AccessDenied("x")):
        assert exit_code_of(error) is ExitCode.REQUEST_INVALID and not error.retryable


@pytest.fixture
def vogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)  # where results are saved
    server = FakeServer(api_key=KEY)

    def call(*arguments: str, **options: Any) -> Any:
        session = Session(connect=lambda _: server.client(api_key=KEY))
        return CliRunner().invoke(build_app(), list(arguments), obj=session, catch_exceptions=False, **options)

    return call


def test_me_and_forget(vogue: Any) -> None:
    assert vogue("run", "a star", "--json").exit_code == 0
    shown = json.loads(vogue("me", "--json").stdout)
    assert (shown["usage"]["num_files"], shown["key"]) == (1, None)
    assert "files      1" in vogue("me").stdout
    assert vogue("forget", input="n\n").exit_code == 1
    assert json.loads(vogue("me", "--json").stdout)["usage"]["num_files"] == 1
    assert vogue("forget", "--json").exit_code == 3
    assert "deleted 1 jobs, 1 files and 0 sessions" in vogue("forget", input="y\n").stdout
    assert json.loads(vogue("forget", "--json", "--yes").stdout)["num_files"] == 0


def test_the_command_line_takes_no_key_as_an_option(vogue: Any) -> None:
    """Everybody on a machine sees the arguments of its processes."""
    for command in ("run", "jobs", "me"):
        assert "--api-key" not in vogue(command, "--help").stdout


def test_the_command_line_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer(api_key=KEY)
    with server.listen() as url:
        monkeypatch.setenv("VOGUE_SERVER", url)
        refused = CliRunner().invoke(build_app(), ["jobs", "--json"])
        assert refused.exit_code == 3 and json.loads(refused.stdout)["error"]["code"] == "invalid_api_key"
        monkeypatch.setenv("VOGUE_API_KEY", KEY)
        assert CliRunner().invoke(build_app(), ["jobs", "--json"]).exit_code == 0


async def test_agents_tools_send_it() -> None:
    from vogue.tools import vogue_tools

    server = FakeServer(api_key=KEY)
    with server.listen() as url:
        tool = next(one for one in vogue_tools(url, api_key=KEY) if one.name == "list_assets")
        assert "next_before" in tool.invoke({}) or tool.invoke({}) == '{"assets":[]}'
        refused = next(one for one in vogue_tools(url) if one.name == "list_assets")
        assert "invalid_api_key" in refused.invoke({})
