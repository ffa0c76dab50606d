"""Bad input through HTTP: a typed error that names the value and the limit, and no job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from vogue.engines.media.samples import GOOD, HOSTILE, write_sample
from vogue.services.fakes import netpbm

FINE = {"instruction": "a red star"}
UPLOAD = "upload_0123456789abcdef"


def _visual(**fields: Any) -> dict[str, Any]:
    return {"tag": "image1", "role": "source", "upload_id": UPLOAD} | fields


BODIES: dict[str, tuple[dict[str, Any], int, str, str | None, str]] = {
    "no instruction": ({"instruction": None}, 400, "request_invalid", "instruction", "string"),
    "empty instruction": ({"instruction": ""}, 400, "request_invalid", "instruction", "at least 1"),
    "blank instruction": ({"instruction": " \n\t "}, 400, "request_invalid", "instruction", "at least 1"),
    "long instruction": ({"instruction": "x" * 4001}, 413, "limit_exceeded", "instruction", "4001.*4000"),
    "very long": ({"instruction": "x" * 20_001}, 400, "request_invalid", "instruction", "20000"),
    "odd height": ({"height_px": 33}, 400, "shape_unsupported", "height_px", "33.*multiples of 16"),
    "huge width": ({"width_px": 10_000}, 400, "shape_unsupported", "width_px", "10000.*64"),
    "no width": ({"width_px": 0}, 400, "request_invalid", "width_px", "greater than 0, got 0"),
    "frames off the grid": ({"num_frames": 6}, 400, "shape_unsupported", "num_frames", r"6.*4k \+ 1"),
    "too many frames": ({"num_frames": 13}, 400, "shape_unsupported", "num_frames", "13.*at most 9"),
    "no steps": ({"steps": 0}, 400, "request_invalid", "steps", "greater than 0, got 0"),
    "many steps": ({"steps": 10_000}, 413, "limit_exceeded", "steps", "10000.*64"),
    "broken steps": ({"steps": 2.5}, 400, "request_invalid", "steps", "2.5"),
    "huge guidance": ({"guidance": 1e9}, 413, "limit_exceeded", "guidance", "30"),
    "negative guidance": ({"guidance": -1}, 400, "request_invalid", "guidance", "-1"),
    "negative seed": ({"seed": -1}, 400, "request_invalid", "seed", "-1"),
    "huge seed": ({"seed": 2**63}, 400, "request_invalid", "seed", "9223372036854775808"),
    "unknown task": ({"task": "t2x"}, 400, "task_unsupported", "task", "t2x"),
    "task of another preset": ({"task": "multiid"}, 400, "task_unsupported", "visuals", "reference images"),
    "task without its input": ({"task": "v2v_edit"}, 400, "task_unsupported", "visuals", "a source video"),
    "unknown role": ({"visuals": [_visual(role="muse")]}, 400, "request_invalid", "visuals.0.role", "muse"),
    "unknown tag": ({"visuals": [_visual(tag="audio1")]}, 400, "request_invalid", "visuals.0.tag", "audio1"),
    "tag twice": ({"visuals": [_visual(), _visual(role="reference")]}, 400, "request_invalid", None, "image1"),
    "no upload": ({"visuals": [{"tag": "image1", "role": "source"}]}, 400, "request_invalid", "visuals.0.upload_id", "required"),
    "unknown upload": ({"visuals": [_visual()]}, 404, "asset_not_found", "visuals.0.upload_id", UPLOAD),
    "a path": ({"visuals": [_visual(upload_id="/etc/passwd")]}, 400, "request_invalid", "visuals.0.upload_id", "/etc/passwd"),
    "a url": ({"visuals": [_visual(upload_id="https://example.org/a.png")]}, 400, "request_invalid", "visuals.0.upload_id", "https"),
    "too many visuals": ({"visuals": [_visual(tag=f"image{n}") for n in range(1, 18)]}, 400, "request_invalid", "visuals", "16"),
    "thinking": ({"thinking": "perhaps"}, 400, "request_invalid", "thinking", "auto"),
    "unknown field": ({"instructions": "x"}, 400, "request_invalid", "instructions", "not permitted"),
}  # fmt: skip


async def _expect(
    client: httpx.AsyncClient, answer: httpx.Response, status: int, code: str, param: str | None, message: str
) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert re.search(message, error["message"]), error["message"]
    assert (await client.get("/v1/jobs")).json()["data"] == []


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_request(client: httpx.AsyncClient, name: str) -> None:
    body, status, code, param, message = BODIES[name]
    await _expect(client, await client.post("/v1/jobs", json=FINE | body), status, code, param, message)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "required"),
        (b"{", 400, "not valid JSON"),
        (b"[1, 2]", 400, "valid dictionary|GenerationRequest"),
        (b'{"instruction": "x", "guidance": NaN}', 400, "finite number"),
        (b'{"instruction": "x", "guidance": 1e999}', 400, "finite number"),
        (b'{"instruction": "x", "guidance": "NaN"}', 400, "finite number"),
        (b'{"instruction": "\xff\xfe"}', 400, "body"),
        (b'{"instruction": "x", "a": ' + b"[" * 100_000, 400, "body|JSON|request"),
        (b'{"instruction": "' + b"x" * (1024 * 1024) + b'"}', 413, "1048576"),
    ],
)
async def test_a_bad_body(client: httpx.AsyncClient, content: bytes, status: int, message: str) -> None:
    answer = await client.post("/v1/jobs", content=content, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert re.search(message, error["message"]), error["message"]
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_tag_that_does_not_fit_its_upload(client: httpx.AsyncClient) -> None:
    clip = netpbm(np.zeros((5, 8, 8, 3), np.uint8))
    upload = (await client.post("/v1/uploads", files={"file": ("clip.ppm", clip)})).json()
    body = FINE | {"visuals": [_visual(upload_id=upload["id"])]}
    answer = await client.post("/v1/jobs", json=body)
    await _expect(client, answer, 400, "request_invalid", "visuals.0.tag", "image1 stands for the upload 'clip.ppm'")


@pytest.mark.usefixtures("ffmpeg_path")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_bad_file(media_client: httpx.AsyncClient, tmp_path: Path, name: str) -> None:
    content = write_sample(name, tmp_path).read_bytes()
    answer = await media_client.post("/v1/uploads", files={"file": (name, content)})
    error = HOSTILE[name][1]
    assert answer.status_code == error.http_status, answer.text
    told = answer.json()["error"]
    assert (told["code"], told["param"]) == (error.code, "file")
    assert str(tmp_path) not in told["message"]
    assert "store/blobs" not in told["message"]


@pytest.mark.usefixtures("ffmpeg_path")
@pytest.mark.parametrize("name", GOOD)
async def test_a_good_file(media_client: httpx.AsyncClient, tmp_path: Path, name: str) -> None:
    content = write_sample(name, tmp_path).read_bytes()
    answer = await media_client.post("/v1/uploads", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("content_type", "content", "message"),
    [
        ("application/json", b"{}", "multipart/form-data"),
        ("", b"x", "multipart/form-data"),
        ("multipart/form-data", b"x", "multipart/form-data"),
        ("multipart/form-data; boundary=b", b"", "closing boundary"),
        ("multipart/form-data; boundary=b", b"junk", "malformed"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n', "no file"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n--b--\r\n', "text"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1',
            "closing boundary",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1\r\n' * 2 + b"--b--\r\n",
            "one file",
        ),
    ],
)  # fmt: skip
async def test_a_bad_form(
    house: Any, client: httpx.AsyncClient, content_type: str, content: bytes, message: str
) -> None:
    answer = await client.post("/v1/uploads", content=content, headers={"content-type": content_type})
    assert answer.status_code == 400, answer.text
    assert re.search(message, answer.json()["error"]["message"]), answer.text
    assert list(house.blobs.scratch.iterdir()) == []


@pytest.mark.parametrize("announced", [True, False])
async def test_an_upload_beyond_the_limit_is_stopped_on_the_way(
    house: Any, client: httpx.AsyncClient, announced: bool
) -> None:
    limit = house.preset.limits.max_upload_bytes

    async def body() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(2 * limit >> 20):
            yield bytes(1 << 20)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    headers |= {"content-length": str(2 * limit)} if announced else {}
    answer = await client.post("/v1/uploads", content=body(), headers=headers)
    assert answer.status_code == 413, answer.text
    assert str(limit) in answer.json()["error"]["message"]
    assert list(house.blobs.scratch.iterdir()) == []
