"""`client.images`, `client.files` and `client.models` of the unmodified `openai` package."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from vogue.schemas.presets import get_preset

EXTRA = {"steps": 2, "seed": 7}
KEY = {"Idempotency-Key": "tuesday-1"}


def _picture(entry: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(entry.b64_json)))


def test_pictures_from_words(client: openai.OpenAI) -> None:
    made = client.images.generate(prompt="two stars", model="tiny", n=2, size="48x32", extra_body=EXTRA)
    assert made.data is not None
    assert (made.size, made.output_format, len(made.data)) == ("48x32", "png", 2)
    assert [entry.seed for entry in made.data] == [7, 8]  # type: ignore[attr-defined]
    first = _picture(made.data[0])
    assert (first.format, first.size) == ("PNG", (48, 32))
    again = client.images.generate(prompt="two stars", size="48x32", extra_body=EXTRA)
    assert again.data is not None
    assert _picture(again.data[0]).tobytes() == first.tobytes()


def test_a_picture_by_its_url(client: openai.OpenAI, live: Any) -> None:
    made = client.images.generate(prompt="a star", response_format="url", extra_body=EXTRA)
    assert made.data is not None
    (entry,) = made.data
    assert entry.b64_json is None
    assert entry.url is not None and entry.url.startswith(live.url)
    answer = httpx.get(entry.url)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (32, 32)


def test_edits_of_one_and_of_several(client: openai.OpenAI, png: bytes, live: Any) -> None:
    one = client.images.edit(image=("a.png", png), prompt="make it blue", extra_body=EXTRA)
    assert one.data is not None
    job = httpx.get(f"{live.url}/v1/jobs/{one.data[0].job_id}").json()  # type: ignore[attr-defined]
    assert (job["spec"]["task"], one.size) == ("i2i_edit", "32x16")
    files = [("a.png", png), ("b.png", png)]
    several = client.images.edit(image=files, prompt="put image2 on image1", extra_body=EXTRA)
    assert several.data is not None
    job = httpx.get(f"{live.url}/v1/jobs/{several.data[0].job_id}").json()  # type: ignore[attr-defined]
    assert job["spec"]["task"] == "i+i2i_edit"
    assert [(one["tag"], one["role"]) for one in job["request"]["visuals"]] == [
        ("image1", "source"),
        ("image2", "reference"),
    ]
    inline = "data:image/png;base64," + base64.b64encode(png).decode()
    body = {"prompt": "blue", "images": [{"image_url": inline}], **EXTRA}
    by_json = client.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse)
    assert by_json.data is not None and one.data is not None
    assert _picture(by_json.data[0]).size == _picture(one.data[0]).size


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"size": "1024x1024"}, openai.BadRequestError, "size"),
        ({"n": 100}, openai.BadRequestError, "n"),
        ({"output_format": "webp"}, openai.BadRequestError, "output_format"),
        ({"background": "transparent"}, openai.BadRequestError, "background"),
        ({"model": "gpt-image-1"}, openai.NotFoundError, "model"),
        ({"extra_body": {"num_frames": 5}}, openai.BadRequestError, "num_frames"),
    ],
)
def test_what_pictures_cannot_be(
    client: openai.OpenAI, fields: Any, kind: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(kind) as caught:
        client.images.generate(**({"prompt": "a star"} | fields))
    assert caught.value.param == param


def test_edits_that_cannot_be(client: openai.OpenAI, png: bytes) -> None:
    with pytest.raises(openai.BadRequestError, match="mask is not supported"):
        client.images.edit(image=("a.png", png), mask=("m.png", png), prompt="blue")
    with pytest.raises(openai.BadRequestError, match="no picture to edit"):
        client.post("/images/edits", body={"prompt": "blue"}, cast_to=object)
    with pytest.raises(openai.APIStatusError) as caught:
        client.images.edit(image=[("a.png", png)] * 9, prompt="blue")
    assert caught.value.status_code == 413


def test_files(client: openai.OpenAI, png: bytes, mp4: bytes) -> None:
    picture = client.files.create(file=("red.png", png), purpose="vision")
    assert (picture.object, picture.bytes, picture.filename, picture.status) == (
        "file",
        len(png),
        "red.png",
        "processed",
    )
    assert (picture.width_px, picture.height_px, picture.kind) == (48, 32, "image")  # type: ignore[attr-defined]
    clip = client.files.create(file=("move.mp4", mp4), purpose="user_data")
    assert (clip.num_frames, clip.fps) == (9, 8.0)  # type: ignore[attr-defined]
    assert client.files.retrieve(picture.id) == picture
    assert client.files.content(picture.id).read() == png
    assert [file.id for file in client.files.list(limit=2).data] == [clip.id, picture.id]
    listed = [file.id for file in client.files.list(limit=1)]
    assert listed[:2] == [clip.id, picture.id] and len(set(listed)) == len(listed)
    assert [file.id for file in client.files.list(order="asc", after=picture.id).data] == [clip.id]
    assert client.files.list(purpose="batch").data == []
    gone = client.files.delete(clip.id)
    assert (gone.id, gone.deleted, gone.object) == (clip.id, True, "file")
    for call in (client.files.retrieve, client.files.delete, client.files.content):
        with pytest.raises(openai.NotFoundError) as caught:
            call(clip.id)
        assert caught.value.code == "asset_not_found"


def test_files_that_are_refused(client: openai.OpenAI, png: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("a.png", b"no picture"), purpose="vision")
    assert (caught.value.code, caught.value.param) == ("media_unreadable", "file")
    with pytest.raises(openai.BadRequestError, match="purpose is 'fine-tune'"):
        client.files.create(file=("a.png", png), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError, match="expires_after is not supported"):
        client.files.create(
            file=("a.png", png), purpose="vision", expires_after={"anchor": "created_at", "seconds": 3600}
        )
    with pytest.raises(openai.BadRequestError, match="send one file"):
        client.post("/files", body={"purpose": "vision"}, cast_to=object)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "vogue")
    described: Any = client.models.retrieve("tiny")
    assert described == model
    limits = get_preset("tiny").limits
    assert described.frames == [1, 5, 9]
    assert (described.seconds_max, described.steps_max) == ("1", limits.max_steps)
    assert described.sizes["default"]["t2v"] == "32x32"
    assert described.sizes["max_area_px"] == described.limits["max_area_px"] == limits.max_area_px
    assert described.tasks["t2v"]["num_frames"] == 5
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-5")
    assert caught.value.code == "model_not_found"


def test_whoever_hangs_up_is_not_waited_for(start: Callable[..., Any]) -> None:
    server = start(gated=True)
    with pytest.raises(openai.APITimeoutError):
        server.client(timeout=1.0).images.generate(prompt="a star", extra_body={"steps": 4})
    job = server.run(server.orchestrator.list(1))[0]
    server.open_gate()

    async def end() -> Any:
        async for _ in server.orchestrator.events(job.id):
            pass
        return await server.orchestrator.get(job.id)

    assert server.run(end()).status == "cancelled"


def test_the_same_key_gives_the_first_pictures(start: Callable[..., Any]) -> None:
    server = start()
    client = server.client()
    fields: Any = {"prompt": "stars", "n": 2, "extra_headers": KEY}
    first, again = client.images.generate(**fields), client.images.generate(**fields)
    assert [entry.job_id for entry in again.data] == [entry.job_id for entry in first.data]
    assert again.data[0].b64_json == first.data[0].b64_json
    with pytest.raises(openai.ConflictError):
        client.images.generate(**fields | {"prompt": "moons"})
    answer = httpx.post(
        f"{server.url}/v1/jobs", json={"instruction": "x", "steps": 2}, headers={"Idempotency-Key": "j"}
    )
    same = httpx.post(f"{server.url}/v1/jobs", json={"instruction": "x", "steps": 2}, headers={"Idempotency-Key": "j"})
    other = httpx.post(f"{server.url}/v1/jobs", json={"instruction": "y", "steps": 2}, headers={"Idempotency-Key": "j"})
    assert answer.json()["id"] == same.json()["id"]
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_a_repeated_request_whose_pictures_were_deleted(start: Callable[..., Any]) -> None:
    server = start()
    client = server.client()
    made = client.images.generate(prompt="stars", extra_headers=KEY)
    talk: Any = {"model": "tiny", "messages": [{"role": "user", "content": "draw a star"}]}
    drawn = client.chat.completions.create(**talk, extra_headers={"Idempotency-Key": "talk"})
    for asset_id in (made.data[0].asset_id, drawn.choices[0].message.assets[0]["id"]):
        client.files.delete(asset_id)
    with pytest.raises(openai.NotFoundError, match="was deleted"):
        client.images.generate(prompt="stars", extra_headers=KEY)
    with pytest.raises(openai.NotFoundError, match="was deleted"):
        client.chat.completions.create(**talk, extra_headers={"Idempotency-Key": "talk"})


async def test_the_asynchronous_client(live: Any, png: bytes) -> None:
    async with live.async_client() as client:
        assert [model.id async for model in client.models.list()] == ["tiny"]
        file = await client.files.create(file=("a.png", png), purpose="vision")
        assert (await client.files.content(file.id)).content == png
        made = await client.images.generate(prompt="a star", extra_body=EXTRA)
        edited = await client.images.edit(image=("a.png", png), prompt="blue", extra_body=EXTRA)
        assert made.data is not None and edited.data is not None
        assert _picture(made.data[0]).size == (32, 32)
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.BadRequestError):
            await client.images.generate(prompt="a star", size="1x1")  # type: ignore[call-overload]
