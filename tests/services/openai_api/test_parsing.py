"""Everything of an OpenAI request that is parsed, with whatever may come."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from vogue.graph.shapes import fitting_size
from vogue.schemas.config import Limits
from vogue.schemas.errors import LimitExceeded, RequestInvalid, ShapeUnsupported, VogueError
from vogue.schemas.presets import PRESETS, get_preset
from vogue.services.blobs import BlobStore
from vogue.services.forms import FormLimits, FormRules, receive_form
from vogue.services.openai.bodies import MAX_TEXT_BYTES, read_body
from vogue.services.openai.fields import frames_of, nest, parse_size, seconds_of
from vogue.services.openai.references import DataUrl, KnownId, WebUrl, parse_reference

TINY, MINI = get_preset("tiny"), get_preset("mini")
HOST = "127.0.0.1:8000"
UPLOAD = "upload_" + "x" * 24


@given(st.text() | st.from_regex(r"[0-9]{1,6}x[0-9]{1,6}", fullmatch=True))
def test_a_size_is_read_or_refused(text: str) -> None:
    try:
        found = parse_size(text, TINY)
    except RequestInvalid as error:
        assert error.param == "size"
        return
    assert found is None or f"{found[1]}x{found[0]}" == text


@given(st.integers(1, 99999), st.integers(1, 99999), st.sampled_from([get_preset(name).limits for name in PRESETS]))
def test_the_nearest_size_can_be_made(height: int, width: int, limits: Limits) -> None:
    found = fitting_size(height, width, limits)
    assert all(limits.min_side_px <= side <= limits.max_side_px for side in found)
    assert all(side % limits.side_multiple_px == 0 for side in found)
    assert found[0] * found[1] <= limits.max_area_px
    assert fitting_size(*found, limits) == found


def test_sizes_that_are_written_down() -> None:
    assert parse_size("96x64", MINI) == (64, 96)
    assert parse_size(None, MINI) is parse_size("auto", MINI) is None
    with pytest.raises(ShapeUnsupported, match="the nearest is 128x64"):
        parse_size("1280x720", MINI)


@given(st.text() | st.floats() | st.integers() | st.decimals().map(str))
def test_seconds_are_read_or_refused(seconds: Any) -> None:
    try:
        frames = frames_of(seconds, MINI)
    except RequestInvalid as error:
        assert error.param == "seconds"
        return
    assert frames % 4 == 1
    assert 5 <= frames <= MINI.limits.max_frames
    assert float(seconds_of(frames, MINI.fps)) + 1e-9 >= float(seconds)


@given(st.integers(1, 32))
def test_seconds_come_back_as_they_were_sent(groups: int) -> None:
    release = get_preset("univideo-hidden")
    for frames, preset in ((4 * min(groups, 4) + 1, MINI), (4 * groups + 1, release)):
        assert frames_of(seconds_of(frames, preset.fps), preset) in (frames, frames + 4)
    assert frames_of(seconds_of(17, 8.0), MINI) == 17


def test_how_long_a_clip_may_be() -> None:
    assert (frames_of("2", MINI), frames_of(0.1, MINI), frames_of("0.51", MINI)) == (17, 5, 9)
    with pytest.raises(ShapeUnsupported, match=r"at most 2 s \(17 frames at 8 per second\)"):
        frames_of("2.01", MINI)
    for wrong in ("1e999999999", "9" * 1000):
        with pytest.raises(ShapeUnsupported):
            frames_of(wrong, MINI)
    for wrong in ("", "-1", "0", "nan", "inf", "two"):
        with pytest.raises(RequestInvalid, match="above 0"):
            frames_of(wrong, MINI)


@given(st.lists(st.tuples(st.text(alphabet="ab[]", min_size=1, max_size=8), st.text(max_size=3)), max_size=6))
def test_fields_are_nested_or_refused(pairs: list[tuple[str, str]]) -> None:
    def leaves(value: Any) -> int:
        if isinstance(value, str):
            return 1
        return sum(map(leaves, value.values() if isinstance(value, dict) else value))

    try:
        found = nest(pairs)
    except RequestInvalid:
        return
    assert leaves(found) == len(pairs), "nothing is lost"


def test_fields_that_are_nested() -> None:
    assert nest([("a", "1"), ("b[c]", "2"), ("b[d][e]", "3"), ("f[]", "4"), ("f[]", "5"), ("g[h][]", "6")]) == {
        "a": "1",
        "b": {"c": "2", "d": {"e": "3"}},
        "f": ["4", "5"],
        "g": {"h": ["6"]},
    }
    for wrong in (
        [("a", "1"), ("a", "2")],
        [("a", "1"), ("a[b]", "2")],
        [("a[][b]", "1")],
        [("a[b", "1")],
        [("", "1")],
    ):
        with pytest.raises(RequestInvalid):
            nest(wrong)


@given(st.binary(max_size=400), st.sampled_from(["image/png", "video/mp4", "application/octet-stream", ""]))
def test_data_urls_there_and_back(content: bytes, media_type: str) -> None:
    found = parse_reference(f"data:{media_type};base64,{base64.b64encode(content).decode()}", HOST, 10_000)
    assert isinstance(found, DataUrl)
    assert b"".join(found.pieces()) == content
    assert found.num_bytes >= len(content)


@given(st.text(max_size=80).map(lambda text: "data:" + text) | st.text(max_size=80))
def test_references_are_read_or_refused(text: str) -> None:
    try:
        found = parse_reference(text, HOST, 1000, "image")
        if isinstance(found, DataUrl):
            list(found.pieces("image"))
    except RequestInvalid as error:
        assert error.param == "image"


def test_large_data_urls_are_decoded_in_pieces_and_bounded() -> None:
    content = bytes(range(256)) * 4096
    text = "data:image/png;base64," + base64.b64encode(content).decode()
    found = parse_reference(text, HOST, len(content) + 3)
    assert isinstance(found, DataUrl)
    pieces = list(found.pieces())
    assert b"".join(pieces) == content
    assert len(pieces) > 1
    with pytest.raises(LimitExceeded, match="upload the file to /v1/files"):
        parse_reference(text, HOST, len(content) - 3)
    broken = parse_reference(text[:-4] + "====", HOST, 10**7)
    assert isinstance(broken, DataUrl)
    with pytest.raises(RequestInvalid, match="not base64"):
        list(broken.pieces())


@pytest.mark.parametrize(
    "text", ["data:image/png,abc", "data:text/html;base64,AAAA", "data:;base64", "data:image/svg xml;base64,AA"]
)
def test_data_urls_of_another_kind(text: str) -> None:
    with pytest.raises(RequestInvalid, match="data URL"):
        parse_reference(text, HOST, 1000)


def test_links_to_this_server_need_no_fetching() -> None:
    for own in (UPLOAD, f"http://{HOST}/v1/assets/{UPLOAD}/content", f"https://{HOST}/v1/files/{UPLOAD}/content"):
        assert parse_reference(own, HOST, 1) == KnownId(UPLOAD)
    for other in (
        f"http://elsewhere/v1/assets/{UPLOAD}/content",
        f"http://{HOST}@evil/v1/assets/{UPLOAD}/content",
        f"http://{HOST}/v1/jobs/{UPLOAD}/content",
        f"http://{HOST}/v1/assets/../{UPLOAD}/content",
        "http://169.254.169.254/latest/meta-data",
    ):
        assert isinstance(parse_reference(other, HOST, 1), WebUrl)
    for no_input in (
        "/etc/passwd",
        "file:///etc/passwd",
        "gopher://x",
        "upload_short",
        "http://[",
        "https://" + "x" * 5000,
    ):
        with pytest.raises(RequestInvalid, match="is no input"):
            parse_reference(no_input, HOST, 1)


_RULES, _LIMITS = (
    FormRules(files=("image", "image[]")),
    FormLimits(max_file_bytes=1000, max_text_bytes=200, max_fields=5),
)


async def _form(blobs: BlobStore, body: bytes, step: int) -> Any:
    async def chunks() -> Any:
        for at in range(0, len(body), step):
            yield body[at : at + step]

    return await receive_form("multipart/form-data; boundary=b", None, chunks(), blobs, _LIMITS, _RULES)


def _part(name: str, content: bytes, filename: str | None = None) -> bytes:
    label = f'; filename="{filename}"' if filename is not None else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{label}\r\n\r\n'.encode() + content + b"\r\n"


@given(
    st.lists(st.tuples(st.sampled_from(["image", "image[]"]), st.binary(max_size=60)), max_size=3),
    st.lists(st.tuples(st.sampled_from(["prompt", "a[b]"]), st.text(max_size=20)), max_size=3),
    st.integers(1, 50),
)
async def test_forms_arrive_whole_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], texts: list[tuple[str, str]], step: int
) -> None:
    files = [(name, content) for name, content in files if b"\r\n--b" not in b"\r\n" + content]
    blobs = BlobStore(tmp_path_factory.mktemp("forms"))
    body = b"".join(
        [_part(name, content, "x.png") for name, content in files]
        + [_part(name, text.encode("utf-8", "replace")) for name, text in texts]
    )
    form = await _form(blobs, body + b"--b--\r\n", step)
    assert [(one.field, bytes(blobs.get(one.original))) for one in form.files] == files
    assert form.fields == [(name, text.encode("utf-8", "replace").decode()) for name, text in texts]
    assert list(blobs.scratch.iterdir()) == []


@given(st.binary(max_size=300), st.integers(1, 50))
async def test_no_body_leaves_anything_behind(tmp_path_factory: pytest.TempPathFactory, body: bytes, step: int) -> None:
    blobs = BlobStore(tmp_path_factory.mktemp("forms"))
    for attempt in (body, _part("image", b"x", "x.png") + body, _part("image", body, "x.png")):
        try:
            await _form(blobs, attempt, step)
        except VogueError as error:
            assert error.http_status in (400, 413)
        assert list(blobs.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (_part("mask", b"x", "x.png"), RequestInvalid, "`mask` takes no file"),
        (_part("prompt", b"x" * 300), LimitExceeded, "longer than 200 bytes"),
        (_part("image", b"x" * 2000, "x.png"), LimitExceeded, "1000 bytes"),
        (_part("prompt", b"x") * 6, LimitExceeded, "more than 5 fields"),
        (_part("image", b"x", "x.png") * 17, RequestInvalid, "too many files"),
        (_part("prompt", b"\xff"), RequestInvalid, "not UTF-8"),
        (_part("prompt", b"x"), RequestInvalid, "closing boundary"),
    ],
)
async def test_forms_beyond_their_limits(tmp_path: Any, body: bytes, error: type[VogueError], message: str) -> None:
    blobs = BlobStore(tmp_path)
    end = b"" if "closing" in message else b"--b--\r\n"
    with pytest.raises(error, match=message):
        await _form(blobs, body + end, 64)
    assert list(blobs.scratch.iterdir()) == []


def _request(body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"host", HOST.encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/videos", "headers": headers, "query_string": b""}
    return Request(scope, receive)


async def test_bodies_are_parsed_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    for name in ("loads", "dumps"):
        work = getattr(json, name)

        def noting(*args: Any, work: Any = work, **named: Any) -> Any:
            threads.add(threading.get_ident())
            return work(*args, **named)

        monkeypatch.setattr(json, name, noting)
    blobs = BlobStore(tmp_path)
    one, other, third = [
        await read_body(_request(body), blobs, 1000)
        for body in (b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}', b'{"b":[3],"a":1}')
    ]
    assert one.values == {"a": 1, "b": [2]} and one.fingerprint == other.fingerprint != third.fingerprint
    assert threads and threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": [' + b"1," * 250_000 + b"1]}", "more than 200000 values"),
        (b'{"a": ' + b"[" * 250_000 + b"]" * 250_000 + b"}", "more than 200000 values"),
        (b'{"a": "' + rb"\u0041" * 1_000_001 + b'"}', "more than 1000000 escapes"),
        (b'{"a": "' + b"A" * MAX_TEXT_BYTES + b'"}', "larger than"),
    ],
)
async def test_bodies_that_take_long_to_parse_are_refused_unparsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, why: str
) -> None:
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(LimitExceeded, match=why):
        await read_body(_request(body), BlobStore(tmp_path), 1000)


async def test_a_long_data_url_is_taken(tmp_path: Path) -> None:
    text = "data:image/png;base64," + "iVBORw0KGgo/" * 900_000
    body = await read_body(_request(json.dumps({"url": text}).replace("/", r"\/").encode()), BlobStore(tmp_path), 1000)
    assert body.values == {"url": text}
