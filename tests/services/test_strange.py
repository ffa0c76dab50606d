"""What strangers and broken programs send: nothing of it is more than a refused request, and what is taken in keeps no trace of paths."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from email.message import Message
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from vogue.schemas.errors import MediaUnreadable
from vogue.services.fakes import netpbm

JSON = {"content-type": "application/json"}
NAMES = [
    (b'name="file"; filename="../../etc/passwd"', "passwd"),
    (b'name="file"; filename="..\\\\..\\\\windows\\\\x.png"', "x.png"),
    (b"name=\"file\"; filename*=UTF-8''%2e%2e%2f%2e%2e%2fx.png", "x.png"),
    (b'name="file"; filename=".."', "upload"),
    (b'name="file"; filename="."', "upload"),
    (b'name="file"; filename="a/.. "', "upload"),
    (b'name="file"; filename="/"', "upload"),
    (b'name="file"; filename=""', "upload"),
    (b'name="file"; filename="a\x00b.png"', "ab.png"),
    (b'name="file"; filename="a\x1b[31m.png"', "a[31m.png"),
    ('name="file"; filename="\u202egnp.exe"'.encode(), "gnp.exe"),
    (b'name="file"; filename="\xff\xfe.png"', "\ufffd\ufffd.png"),
    (b"name=\"file\"; filename*=nonsense''x.png", "x.png"),
]


@pytest.mark.parametrize("path", ["/v1/uploads", "/v1/files"])
@pytest.mark.parametrize(("disposition", "kept"), NAMES)
async def test_names_of_files_are_names_and_nothing_else(
    client: httpx.AsyncClient, house: Any, path: str, disposition: bytes, kept: str
) -> None:
    picture = netpbm(np.zeros((1, 8, 8, 3), np.uint8))
    body = b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + picture + b"\r\n"
    if path == "/v1/files":
        body += b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = await client.post(path, content=body + b"--b--\r\n", headers=headers)
    assert answer.status_code in (200, 201), answer.text
    assert answer.json()["filename"] == kept
    content = await client.get(f"/v1/assets/{answer.json()['id']}/content")
    assert content.content == picture
    parsed = Message()
    parsed["content-disposition"] = content.headers["content-disposition"]
    assert parsed.get_filename() == kept
    stray = [one for one in house.state_dir.rglob("*") if one.name in ("passwd", "x.png", kept)]
    assert not stray, "names never reach the file system"


HEADERS = [b"\xff\xfe", b"k\xc3\xa9y", b"a\x00b", b"x" * 300, b"", b"\xed\xa0\x80"]


@pytest.mark.parametrize("value", HEADERS)
@pytest.mark.parametrize(
    "name",
    ["host", "origin", "authorization", "content-type", "range", "content-length", "last-event-id", "if-none-match"],
)
async def test_headers_of_any_bytes(client: httpx.AsyncClient, value: bytes, name: str) -> None:
    given = [(b"content-type", b"application/json")] if name != "content-type" else []
    headers = [*given, (name.encode(), value)]
    answers = [
        await client.post("/v1/jobs", content=b'{"instruction": "a star", "steps": 0}', headers=headers),
        await client.get("/v1/jobs/job_none/events", headers=headers),
        await client.get("/v1/assets/asset_none/content", headers=headers),
        await client.post("/v1/videos", content=b'{"prompt": "", "seed": -1}', headers=headers),
        await client.post("/v1/uploads", content=b"x", headers=headers),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.text
        assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("value", [one for one in HEADERS if one and len(one) < 256])
async def test_an_idempotency_key_may_be_any_bytes(client: httpx.AsyncClient, value: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", value)]
    body = b'{"instruction": "a star", "seed": 1}'
    first, again = [await client.post("/v1/jobs", content=body, headers=headers) for _ in range(2)]
    assert first.status_code == 201 and first.json()["id"] == again.json()["id"]


WORDS = {
    "half a character": (r"a \ud800 star", 400),
    "a null": (r"a \u0000 star", 201),
    "right to left": (r"a \u202e star", 201),
    "more than a model reads": ("x" * 5000, 413),
    "more than anybody says": ("x" * 30_000, 400),
    "nothing": ("   ", 400),
}


@pytest.mark.parametrize("words", WORDS)
async def test_instructions_of_any_characters(client: httpx.AsyncClient, house: Any, words: str) -> None:
    said, status = WORDS[words]
    session = (await client.post("/v1/sessions")).json()["id"]
    for path, field in (("jobs", "instruction"), (f"sessions/{session}/turns", "instruction"), ("videos", "prompt")):
        answer = await client.post(f"/v1/{path}", content=f'{{"{field}": "{said}"}}'.encode(), headers=JSON)
        assert answer.status_code in (status, 200 if status == 201 else status), answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"]["param"] == field
            assert len(answer.text) < 1000, "what was said is not said back at length"
        elif path == "jobs":
            assert (await house.finish(answer.json()["id"])).status == "completed"


@pytest.mark.parametrize("body", [b'{"instruction": "a \xff star"}', b"\xff\xfe\xfd", b"[" * 100_000, b"nul", b""])
async def test_bodies_that_are_no_json(client: httpx.AsyncClient, body: bytes) -> None:
    for path in ("jobs", "videos", "chat/completions", "sessions", "replays", "fetches"):
        answer = await client.post(f"/v1/{path}", content=body, headers=JSON)
        allowed = {400} | ({201} if path == "sessions" and body == b"" else set())
        assert answer.status_code in allowed, (path, answer.text)


async def test_a_body_of_no_type_is_told_which_one(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        answer = await client.post("/v1/jobs", content=b'{"instruction": "a star"}', headers=headers)
        assert answer.status_code == 400
        assert "application/json" in answer.json()["error"]["message"]


def _paths() -> Iterator[str]:
    for odd in ("%FF", "%00", "..%2F..%2Fetc", "%2e%2e", "a" * 3000, "%C3%28"):
        for kind in ("jobs", "assets", "sessions", "videos", "files"):
            yield f"/v1/{kind}/{odd}"
        yield f"/v1/assets/{odd}/content"
        yield f"/studio/{odd}"
        yield f"/v1/jobs?before={odd}"
        yield f"/v1/videos?after={odd}"


@pytest.mark.parametrize("path", list(_paths()))
async def test_paths_of_any_bytes(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code in (400, 404), answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("words", ["a \0 star", "a \x1b]0;x\x07 star", "\u202e", "a 'quoted' \"star\"; = \\ # \n[x]"])
async def test_any_words_become_a_file_with_its_recipe(
    media_house: Any, media_client: httpx.AsyncClient, words: str
) -> None:
    """Recipes go through ffmpeg's command line."""
    made = await media_client.post("/v1/jobs", json={"instruction": words, "steps": 1, "num_frames": 5})
    assert made.status_code == 201, made.text
    job = await media_house.finish(made.json()["id"])
    assert job.status == "completed", job.error
    clip = (await media_client.get(f"/v1/assets/{job.assets[0].id}/content")).content
    from vogue.recipes import read_recipe

    assert read_recipe(clip).asked == words.strip()


async def test_files_that_are_called_what_they_are_not(media_client: httpx.AsyncClient) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32)).save(picture, "PNG")
    named = await media_client.post("/v1/uploads", files={"file": ("clip.mp4", picture.getvalue(), "video/mp4")})
    assert (named.status_code, named.json()["kind"], named.json()["media_type"]) == (201, "image", "image/png")
    for content in (b"<svg onload=alert(1)>", b"#!/bin/sh", b"PK\x03\x04", picture.getvalue()[:40], b"\0" * 1000):
        answer = await media_client.post("/v1/uploads", files={"file": ("star.png", content, "image/png")})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, MediaUnreadable.code), answer.text


def _call(name: str, **arguments: Any) -> bytes:
    params = {"name": name, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


SAID_TO_AGENTS = [
    (_call("submit_generate", instruction="x" * 20_001), 200, "at most 20000 characters"),
    (_call("submit_generate", instruction="x" * 5000), 200, "limit_exceeded (instruction)"),
    (_call("submit_generate", instruction="a star", preview_every_steps=-1), 200, "greater than or equal to 0"),
    (_call("generate"), 200, "The arguments of generate are instruction"),
    (_call("submit_generate", instruction="x" * 2_000_000), 413, "too large"),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"vogue://assets/../etc"}}',
        200,
        "of the form",
    ),
    (b'{"jsonrpc":"2.0","id":1,"method":"resources/list","params":{"cursor":"../x"}}', 200, "asset_not_found"),
    (_call("\ud800"), 400, "Parse error"),
    (b"\xff\xfe", 400, "Parse error"),
    (b"[" * 100_000, 400, "Parse error"),
    (b"", 400, "Parse error"),
]


@pytest.mark.parametrize(("body", "status", "said"), SAID_TO_AGENTS)
async def test_agents_that_speak_nonsense(
    client: httpx.AsyncClient, house: Any, body: bytes, status: int, said: str
) -> None:
    headers = JSON | {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    answer = await client.post("/mcp", content=body, headers=headers)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text[:500]
    assert await house.orchestrator.list() == []
