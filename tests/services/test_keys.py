"""Keys at rest, at the door, on the command line, and where a server without them is refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from vogue.cli import build_app
from vogue.schemas.access import Scope
from vogue.schemas.errors import KeyInvalid, RequestInvalid
from vogue.services.config import AppConfig, KeysConfig
from vogue.services.database import Database
from vogue.services.keys.exposure import guarded, is_loopback
from vogue.services.keys.guard import needs
from vogue.services.keys.store import digest_of
from vogue.services.local import named_after

from .keyed import ORIGIN, digest, keyed_gateway, keys_of, make, upload


def test_the_database_holds_digests_only(tmp_path: Path) -> None:
    with keys_of(tmp_path) as keys:
        info, key = keys.create("lab", Scope.READ)
        assert keys.list() == [info]
    assert key not in info.model_dump_json()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("jobs.sqlite*"))
    assert digest(key).encode() in stored and key.encode() not in stored and key[6:].encode() not in stored
    assert digest_of(key) == digest(key)


@given(st.text(max_size=80))
def test_what_does_not_look_like_a_key_is_not_looked_for(text: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        digest_of(text)
    assert len(text) < 8 or text not in caught.value.message


def test_scopes_include_each_other() -> None:
    covered = {(have.value, want.value) for have in Scope for want in Scope if have.covers(want)}
    assert covered == {
        ("read", "read"),
        *(("write", one) for one in ("read", "write")),
        *(("admin", one) for one in ("read", "write", "admin")),
    }
    assert needs("GET", "/v1/jobs") is Scope.READ and needs("DELETE", "/v1/jobs/x") is Scope.WRITE
    assert needs("POST", "/mcp") is Scope.READ and needs("GET", "/metrics") is Scope.ADMIN
    assert needs("GET", "/studio/app.js") is None and needs("POST", "/studio/app.js") is Scope.WRITE


async def test_only_a_good_key_is_let_in(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway:
        info, key = gateway.key()
        _, late = gateway.key(expires_at_s=1.0)
        async with gateway.client(None) as client:
            good = [f"Bearer {key}", f"bearer {key}", f"Bearer  {key} "]
            bad = [
                "",
                key,
                f"Basic {key}",
                "Bearer",
                f"Bearer {key}x",
                f"Bearer {key[:-1]}",
                f"Bearer {late}",
                "Bearer sk-1",
            ]
            for given_header in good + bad:
                answer = await client.get("/v1/jobs", headers={"authorization": given_header})
                assert (answer.status_code == 200) is (given_header in good), given_header
                if given_header in bad:
                    assert answer.json()["error"]["code"] == "invalid_api_key"
                    assert answer.headers["x-should-retry"] == "false"
                    assert key not in answer.text
            with keys_of(tmp_path) as keys:
                keys.revoke(info.id)
            assert (await client.get("/v1/jobs", headers={"authorization": f"Bearer {key}"})).status_code == 401


async def test_below_a_prefix_and_over_websockets_nothing_opens(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway:
        _, key = gateway.key()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        def scope(kind: str, path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
            head = [(b"host", b"localhost"), *headers]
            given: dict[str, Any] = {"type": kind, "path": f"/vogue{path}", "root_path": "/vogue", "headers": head}
            return given | {"method": "GET", "query_string": b"", "subprotocols": [], "client": None, "server": None}

        authorization = (b"authorization", f"Bearer {key}".encode())
        for path, headers, status in (
            ("/v1/jobs", (), 401),
            ("/v1/jobs", (authorization,), 200),
            ("/v1/counters", (authorization,), 403),
            ("/metrics", (authorization,), 403),
            ("/healthz", (), 200),
        ):
            sent.clear()
            await gateway.app(scope("http", path, *headers), receive, send)
            assert sent[0]["status"] == status, path
        sent.clear()
        await gateway.app(scope("websocket", "/v1/jobs", authorization), receive, send)
        assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_key_that_replaces_another_sees_the_same(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway:
        info, key = gateway.key()
        async with (
            gateway.client(key) as before,
            gateway.new_client(like=info.id) as after,
            gateway.new_client() as none,
        ):
            asset = await upload(before)
            assert (await after.get(f"/v1/assets/{asset}")).status_code == 200
            assert (await none.get(f"/v1/assets/{asset}")).status_code == 404
        with keys_of(tmp_path) as keys, pytest.raises(RequestInvalid, match="no key has the id"):
            keys.create("x", Scope.READ, like="key_none")


async def test_what_was_made_without_keys_is_nobodys_until_it_is_adopted(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway, gateway.new_client() as first:
        job = await make(first)
        database = sqlite3.connect(tmp_path / "jobs.sqlite")
        for table in ("jobs", "assets"):
            database.execute(f"UPDATE {table} SET tenant = NULL")
        database.commit()
        database.close()
        assert (await first.get(f"/v1/jobs/{job['id']}")).status_code == 404
        async with gateway.new_client(adopt=True) as heir:
            assert (await heir.get(f"/v1/jobs/{job['id']}")).status_code == 200
            assert (await heir.get(f"/v1/assets/{job['assets'][0]['id']}/content")).status_code == 200


def test_a_database_of_an_earlier_version_gets_its_columns(tmp_path: Path) -> None:
    Database(tmp_path / "jobs.sqlite").close()
    old = sqlite3.connect(tmp_path / "jobs.sqlite")
    for table in ("jobs", "assets", "sessions"):
        old.execute(f"DROP INDEX {table}_by_tenant")
        old.execute(f"ALTER TABLE {table} DROP COLUMN tenant")
    old.execute("DROP TABLE keys")
    old.commit()
    old.close()
    with keys_of(tmp_path) as keys:
        assert keys.create("first", Scope.WRITE, adopt=True)[0].scope is Scope.WRITE


# Where keys are needed.


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_on_the_loopback_interface_keys_are_off_unless_asked_for(tmp_path: Path, host: str) -> None:
    assert is_loopback(host)
    assert guarded(AppConfig(state_dir=tmp_path), host) is False
    with pytest.raises(RequestInvalid, match=r"there are none: make one with `vogue keys create NAME --state-dir"):
        guarded(AppConfig(state_dir=tmp_path, keys=KeysConfig(required=True)), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "vogue.example", ""])
def test_off_it_a_server_without_keys_does_not_start(tmp_path: Path, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(RequestInvalid, match="vogue keys create"):
        guarded(AppConfig(state_dir=tmp_path), host)
    with keys_of(tmp_path) as keys:
        info, _ = keys.create("lab", Scope.WRITE)
        with pytest.raises(RequestInvalid, match="where others reach it, and ask for no keys") as caught:
            guarded(AppConfig(state_dir=tmp_path, keys=KeysConfig(required=False)), host)
        assert caught.value.param == "keys.required"
        assert guarded(AppConfig(state_dir=tmp_path), host) is True
        keys.revoke(info.id)
        with pytest.raises(RequestInvalid, match="there are none"):
            guarded(AppConfig(state_dir=tmp_path), host)


def test_behind_a_proxy_keys_are_asked_for_unless_the_proxy_does(tmp_path: Path) -> None:
    named = AppConfig(state_dir=tmp_path, hosts=("vogue.example",))
    with pytest.raises(RequestInvalid, match="there are none"):
        guarded(named, "127.0.0.1")
    assert guarded(named.model_copy(update={"keys": KeysConfig(required=False)}), "127.0.0.1") is False


def test_the_address_that_is_listened_on_is_a_name() -> None:
    config = AppConfig(hosts=("vogue.example",))
    assert named_after(config, "192.168.1.5").hosts == ("vogue.example", "192.168.1.5")
    assert named_after(config, "fe80::1").hosts == ("vogue.example", "[fe80::1]")
    for host in ("127.0.0.1", "0.0.0.0", "::", "localhost"):
        assert named_after(config, host) == config


def test_origins_are_exact() -> None:
    for wrong in ("*", "https://*.example.com", "app.example.com", "https://app.example.com/", "null", "file://x"):
        with pytest.raises(ValueError, match="origins"):
            KeysConfig.model_validate({"origins": [wrong]})


# Web pages of other sites.


async def test_a_listed_site_may_and_its_browser_is_told_so(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway, gateway.client(None) as browser, gateway.new_client() as page:
        asked = {
            "origin": ORIGIN,
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "authorization,idempotency-key",
        }
        told = await browser.options("/v1/me/media", headers=asked)
        assert told.status_code == 200
        assert told.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in told.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in told.headers
        answer = await page.get("/v1/jobs", headers={"origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN and "Origin" in answer.headers["vary"]
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accepted = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
        told = await page.post("/mcp", json=call, headers={"origin": ORIGIN} | accepted)
        assert told.status_code == 200 and told.headers["access-control-allow-origin"] == ORIGIN
        # A page reads why it was refused.
        refused = await browser.get("/v1/jobs", headers={"origin": ORIGIN})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
        for origin in ("https://evil.example", f"{ORIGIN}.evil.example", "http://app.example.com", "null"):
            other = await page.options("/v1/jobs", headers=asked | {"origin": origin})
            assert other.status_code == 403 and "access-control-allow-origin" not in other.headers
            assert (await page.get("/v1/jobs", headers={"origin": origin})).status_code == 403


async def test_without_a_list_no_site_is_told_anything(client: Any) -> None:
    answer = await client.options("/v1/jobs", headers={"origin": ORIGIN, "access-control-request-method": "GET"})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_rebound_name_is_refused_before_its_key_is_looked_at(tmp_path: Path) -> None:
    async with keyed_gateway(tmp_path) as gateway, gateway.new_client() as client:
        assert (await client.get("/v1/jobs", headers={"host": "evil.example:8000"})).status_code == 421


# The command line.


def _vogue(*arguments: str) -> Any:
    return CliRunner().invoke(build_app(), list(arguments), catch_exceptions=False)


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    place = tmp_path / "state"
    made = json.loads(_vogue("--json", "keys", "create", "lab", "--scope", "read", "--state-dir", str(place)).stdout)
    assert (made["name"], made["scope"], made["expires_at_s"]) == ("lab", "read", None)
    assert digest_of(made["key"])
    assert place.stat().st_mode & 0o077 == 0
    plain = _vogue("keys", "create", "phone", "--days", "7", "--like", made["id"], "--state-dir", str(place))
    assert digest_of(plain.stdout.strip()) and "cannot be shown again" in plain.stderr
    shown = json.loads(_vogue("keys", "list", "--json", "--state-dir", str(place)).stdout)["keys"]
    assert [one["name"] for one in shown] == ["lab", "phone"]
    assert shown[0]["tenant"] == shown[1]["tenant"] and shown[1]["expires_at_s"] > shown[1]["created_at_s"]
    assert "key" not in shown[0] and "digest" not in shown[0]
    revoked = json.loads(_vogue("keys", "revoke", made["id"], "--json", "--state-dir", str(place)).stdout)
    assert revoked["revoked_at_s"] is not None
    listed = _vogue("keys", "list", "--state-dir", str(place)).stdout
    assert "revoked" in listed and "until" in listed and made["key"] not in listed


def test_the_state_directory_may_come_from_the_servers_configuration(tmp_path: Path) -> None:
    config = tmp_path / "serve_config.yaml"
    config.write_text(f"applications: [{{args: {{state_dir: {tmp_path / 'elsewhere'}}}}}]\n")
    assert _vogue("keys", "create", "lab", "--config", str(config)).exit_code == 0
    with keys_of(tmp_path / "elsewhere") as keys:
        assert [one.name for one in keys.list()] == ["lab"]


def test_an_unknown_key_is_a_typed_error(tmp_path: Path) -> None:
    found = _vogue("--json", "keys", "revoke", "key_none", "--state-dir", str(tmp_path))
    assert found.exit_code == 3
    assert json.loads(found.stdout)["error"]["param"] == "key"


def test_serving_others_without_keys_is_refused_by_the_command(tmp_path: Path) -> None:
    found = _vogue("--json", "serve", "--host", "0.0.0.0", "--preset", "tiny", "--state-dir", str(tmp_path))
    assert found.exit_code == 3
    assert "vogue keys create" in json.loads(found.stdout)["error"]["message"]
