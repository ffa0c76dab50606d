"""`client.videos` of the unmodified `openai` package against a server that listens."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from vogue.schemas.presets import get_preset

# OpenAI has closed its own service of this shape; its client says so at every call.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

EXTRA = {"steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def clip(client: openai.OpenAI) -> Any:
    """A finished video."""
    with pytest.warns(DeprecationWarning, match="The Sora API"):
        return client.videos.create_and_poll(prompt="a red star", seconds="0.5", size="48x32", extra_body=EXTRA)  # type: ignore[arg-type]


def test_create_and_poll(clip: Any) -> None:
    assert (clip.status, clip.progress, clip.object) == ("completed", 100, "video")
    assert (clip.seconds, clip.size, clip.model) == ("0.5", "48x32", "tiny")
    assert (clip.prompt, clip.error, clip.remixed_from_video_id) == ("a red star", None, None)
    assert clip.created_at <= clip.completed_at
    assert (clip.seed, clip.steps, clip.task, clip.num_frames, clip.fps) == (7, 2, "t2v", 5, 8.0)


def test_content_in_three_variants(client: openai.OpenAI, clip: Any) -> None:
    content = client.videos.download_content(clip.id)
    assert content.response.headers["content-type"] == "video/mp4"
    assert content.read()[4:8] == b"ftyp"
    thumbnail = Image.open(io.BytesIO(client.videos.download_content(clip.id, variant="thumbnail").read()))
    assert (thumbnail.format, thumbnail.size) == ("PNG", (48, 32))
    answer = client.videos.download_content(clip.id, variant="spritesheet")
    sheet = Image.open(io.BytesIO(answer.read()))
    assert sheet.size == (3 * 48, 2 * 32), "five frames are three columns and two rows"
    assert not np.asarray(sheet)[32:, 96:].any()
    again = client.videos.download_content(clip.id, variant="spritesheet")
    assert again.response.headers["etag"] == answer.response.headers["etag"]
    assert again.read() == answer.read()


def test_retrieve_and_list_in_pages(client: openai.OpenAI, clip: Any) -> None:
    assert client.videos.retrieve(clip.id) == clip
    made = [client.videos.create(prompt=f"star {n}", extra_body=EXTRA).id for n in range(4)]
    client.images.generate(prompt="not a video", model="tiny", extra_body=EXTRA)
    for job_id in made:
        client.videos.poll(job_id)
    newest = client.videos.list(limit=2)
    assert [video.id for video in newest.data] == made[:1:-1]
    assert newest.has_more and newest.last_id == made[2]
    assert [video.id for video in client.videos.list(limit=3)][:5] == [*made[::-1], clip.id], (
        "all pages, one after another"
    )
    oldest = client.videos.list(order="asc", after=made[1], limit=1)
    assert [video.id for video in oldest.data] == [made[2]]
    with pytest.raises(openai.NotFoundError):
        client.videos.list(after="job_nobody").data  # noqa: B018
    with pytest.raises(openai.BadRequestError, match="limit"):
        client.videos.list(limit=1000)


def test_a_picture_to_begin_with(client: openai.OpenAI, png: bytes) -> None:
    video = client.videos.create_and_poll(prompt="it moves", input_reference=("red.png", png), extra_body=EXTRA)
    assert (video.status, video.task, video.error) == ("completed", "i2v", None)  # type: ignore[attr-defined]
    # The client's own check refuses an object in this argument, though its types allow one; `extra_body` goes past it.
    inline = {"image_url": "data:image/png;base64," + base64.b64encode(png).decode()}
    video = client.videos.create_and_poll(prompt="it moves", extra_body={"input_reference": inline, **EXTRA})
    assert (video.status, video.task) == ("completed", "i2v")  # type: ignore[attr-defined]
    file = client.files.create(file=("red.png", png), purpose="vision")
    video = client.videos.create_and_poll(
        prompt="it moves", extra_body={"input_reference": {"file_id": file.id}, **EXTRA}
    )
    assert (video.status, video.task) == ("completed", "i2v")  # type: ignore[attr-defined]


def test_edit_a_file_and_a_finished_video(client: openai.OpenAI, clip: Any, mp4: bytes) -> None:
    edited = client.videos.edit(prompt="make it blue", video=("move.mp4", mp4), extra_body=EXTRA)
    assert edited.status in ("queued", "in_progress")
    edited = client.videos.poll(edited.id)
    assert (edited.status, edited.task, edited.seconds) == ("completed", "v2v_edit", "1")  # type: ignore[attr-defined]
    assert edited.remixed_from_video_id is None
    by_id = {"prompt": "make it blue", "video": {"id": clip.id}, **EXTRA}
    again = client.videos.poll(client.post("/videos/edits", body=by_id, cast_to=openai.types.Video).id)
    assert (again.status, again.remixed_from_video_id) == ("completed", clip.id)
    remixed = client.videos.poll(client.videos.remix(clip.id, prompt="make it green", extra_body=EXTRA).id)
    assert (remixed.status, remixed.remixed_from_video_id, remixed.size) == ("completed", clip.id, clip.size)
    assert remixed.prompt == "make it green"


def test_what_one_field_cannot_say(client: openai.OpenAI, mp4: bytes, png: bytes) -> None:
    """A source and a reference, with roles and tags: in a form as JSON text, in JSON as they are."""
    source, reference = (
        client.files.create(file=(n, c), purpose="vision") for n, c in (("a.mp4", mp4), ("b.png", png))
    )
    visuals = [
        {"file_id": source.id, "role": "source", "tag": "video7"},
        {"file_id": reference.id, "role": "reference"},
    ]
    extra = {"visuals": json.dumps(visuals), **EXTRA}
    by_form = client.videos.create(prompt="put image1 into video7", extra_body=extra)
    by_json = client.post(
        "/videos", body={"prompt": "change video7", "visuals": visuals[:1], **EXTRA}, cast_to=openai.types.Video
    )
    assert client.videos.poll(by_form.id).task == "i+v2v_edit"  # type: ignore[attr-defined]
    assert client.videos.poll(by_json.id).task == "v2v_edit"  # type: ignore[attr-defined]
    him = client.videos.create(
        prompt="him", input_reference=("b.png", png), extra_body={"roles": ["reference"], "thinking": "off", **EXTRA}
    )
    assert client.videos.poll(him.id).task == "multiid"  # type: ignore[attr-defined]
    with pytest.raises(openai.BadRequestError, match="2 roles were given for 1 inputs"):
        client.videos.create(prompt="a", input_reference=("b.png", png), extra_body={"roles": ["source", "source"]})


def test_delete(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(prompt="soon gone", extra_body=EXTRA)
    answer = client.videos.delete(video.id)
    assert (answer.id, answer.deleted, answer.object) == (video.id, True, "video.deleted")
    for call in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.NotFoundError) as caught:
            call(video.id)
        assert caught.value.code == "job_not_found"


BAD: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str, str]] = {
    "size": ({"size": "1280x720"}, openai.BadRequestError, "size", r"at most; the nearest is 64x32"),
    "a size that is none": ({"size": "big"}, openai.BadRequestError, "size", "WIDTHxHEIGHT"),
    "too long": ({"seconds": "12"}, openai.BadRequestError, "seconds", r"at most 1 s \(9 frames at 8 per second\)"),
    "no time": ({"seconds": "soon"}, openai.BadRequestError, "seconds", "number above 0"),
    "another model": ({"model": "sora-2"}, openai.NotFoundError, "model", "'sora-2' is not served here; name 'tiny'"),
    "no prompt": ({"prompt": " "}, openai.BadRequestError, "prompt", "at least 1 character"),
    "too many steps": ({"extra_body": {"steps": 999}}, openai.APIStatusError, "steps", "at most 64"),
    "an unknown field": ({"extra_body": {"stepz": 9}}, openai.BadRequestError, "stepz", "not permitted"),
    "frames twice": ({"seconds": "1", "extra_body": {"num_frames": 5}}, openai.BadRequestError, "num_frames", "leave one out"),
    "thinking": ({"extra_body": {"visuals": "["}}, openai.BadRequestError, "visuals", "JSON text"),
    "a url": (
        {"extra_body": {"input_reference": {"image_url": "https://example.org/cat.png"}}},
        openai.BadRequestError,
        "input_reference",
        "does not fetch 'https://example.org/cat.png': upload the file",
    ),
    "no picture": ({"input_reference": ("a.png", b"hello")}, openai.BadRequestError, "input_reference", "."),
    "nobody's file": (
        {"extra_body": {"input_reference": {"file_id": "upload_" + "x" * 24}}},
        openai.NotFoundError,
        "input_reference",
        "upload the file first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(client: openai.OpenAI, name: str) -> None:
    fields, kind, param, message = BAD[name]
    before = [video.id for video in client.videos.list(limit=1).data]
    with pytest.raises(kind, match=message) as caught:
        client.videos.create(**({"prompt": "a star"} | fields))
    assert caught.value.param == param
    assert set(caught.value.body) == {"message", "type", "param", "code"}  # type: ignore[call-overload]
    assert [video.id for video in client.videos.list(limit=1).data] == before


def test_no_edit_without_a_video(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="give one video to edit"):
        client.post("/videos/edits", body={"prompt": "blue"}, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        client.videos.remix("job_nobody", prompt="blue")
    with pytest.raises(openai.BadRequestError, match="is not valid JSON"):
        client.post("/videos", content=b"{", cast_to=object)
    picture = client.images.generate(prompt="still", model="tiny", extra_body=EXTRA)
    with pytest.raises(openai.NotFoundError, match="makes no video"):
        client.videos.retrieve(picture.data[0].job_id)  # type: ignore[index, union-attr]


def test_what_came_with_a_refused_request_is_not_kept(client: openai.OpenAI, png: bytes) -> None:
    kept = client.files.create(file=("a.png", png), purpose="vision")
    for reference in ({"file_id": kept.id}, {"image_url": "data:image/png;base64," + base64.b64encode(png).decode()}):
        with pytest.raises(openai.BadRequestError, match="shape of its input") as caught:
            client.videos.create(prompt="it moves", size="64x64", extra_body={"input_reference": reference})
        assert caught.value.param == "size"
    with pytest.raises(openai.BadRequestError):
        client.videos.create(prompt="it moves", size="64x64", input_reference=("b.png", png))
    assert client.files.list(limit=1).data[0].id == kept.id


def test_what_came_beside_a_wrong_input_is_not_kept(client: openai.OpenAI, png: bytes) -> None:
    kept = client.files.create(file=("a.png", png), purpose="vision")
    inline = {"image_url": "data:image/png;base64," + base64.b64encode(png).decode()}
    unknown = {"file_id": "upload_" + "0" * 24}
    with pytest.raises(openai.NotFoundError) as caught:
        client.post("/videos", body={"prompt": "it moves", "visuals": [inline, unknown]}, cast_to=object)
    assert caught.value.param == "visuals.1"
    twice = [inline | {"role": "source", "tag": "image1"}, inline | {"role": "source", "tag": "image1"}]
    with pytest.raises(openai.BadRequestError):
        client.post("/videos", body={"prompt": "it moves", "visuals": twice}, cast_to=object)
    assert client.files.list(limit=1).data[0].id == kept.id


@pytest.fixture
def gated(start: Callable[..., Any]) -> Iterator[Any]:
    """A server whose jobs stop after one step."""
    server = start(gated=True, max_open_jobs=2)
    yield server
    server.open_gate()


def test_a_video_on_its_way(gated: Any) -> None:
    client = gated.client()
    raw = client.videos.with_raw_response.create(prompt="a star", extra_body={"steps": 4, "seed": 1})
    video = raw.parse()
    assert (video.status, video.progress, video.completed_at) == ("queued", 0, None)
    assert int(raw.headers["openai-poll-after-ms"]) >= 100
    while (raw := client.videos.with_raw_response.retrieve(video.id)).parse().progress == 0:
        pass
    assert (raw.parse().status, raw.parse().progress) == ("in_progress", 25)
    assert int(raw.headers["openai-poll-after-ms"]) >= 100
    for call in (client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.ConflictError) as caught:
            call(video.id)
        assert caught.value.code == "job_unfinished"
    second = client.videos.create(prompt="another")
    with pytest.raises(openai.RateLimitError) as full:
        client.videos.create(prompt="one too many")
    assert int(full.value.response.headers["retry-after"]) >= 1
    assert full.value.response.headers["x-should-retry"] == "true"
    for job_id in (video.id, second.id):
        client.post(f"/videos/{job_id}/cancel", cast_to=object)
    gated.open_gate()
    stopped = client.videos.poll(video.id)
    assert (stopped.status, stopped.error.code) == ("failed", "cancelled")
    assert stopped.job_status == "cancelled"
    with pytest.raises(openai.NotFoundError, match="cancelled"):
        client.videos.download_content(video.id)
    assert client.videos.delete(video.id).deleted


def test_the_same_key_gives_the_first_video(start: Callable[..., Any]) -> None:
    from vogue.services.fakes import netpbm

    picture = netpbm(np.zeros((1, 32, 32, 3), np.uint8))
    key = {"Idempotency-Key": "monday-1"}
    server = start()

    def create(**fields: Any) -> Any:
        return server.client().videos.create(prompt="a star", extra_headers=key, **fields)

    first = create(input_reference=("a.ppm", picture))
    assert create(input_reference=("a.ppm", picture)).id == first.id, "the same bytes are the same request"
    with pytest.raises(openai.ConflictError) as caught:
        create(input_reference=("a.ppm", netpbm(np.ones((1, 32, 32, 3), np.uint8))))
    assert caught.value.code == "idempotency_conflict"
    assert caught.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.ConflictError):
        create()
    assert len(server.client().files.list().data) == 1, "a repeated request stores no second file"
    server.close()
    server = start()
    assert create(input_reference=("a.ppm", picture)).id == first.id, "also after a restart"
    assert len(server.client().videos.list().data) == 1


async def test_the_asynchronous_client(live: Any, png: bytes) -> None:
    async with live.async_client() as client:
        video = await client.videos.create_and_poll(prompt="a star", input_reference=("a.png", png), extra_body=EXTRA)
        assert (video.status, video.seconds) == ("completed", "0.5")
        content = await client.videos.download_content(video.id, variant="thumbnail")
        assert (await content.aread()).startswith(b"\x89PNG")
        remixed = await client.videos.remix(video.id, prompt="a moon", extra_body=EXTRA)
        assert (await client.videos.poll(remixed.id)).remixed_from_video_id == video.id
        listed = [one.id async for one in client.videos.list(limit=1)]
        assert listed[:2] == [remixed.id, video.id]
        assert (await client.videos.delete(remixed.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve(remixed.id)


def test_when_a_video_goes_by_itself(clip: Any) -> None:
    from vogue.schemas.jobs import Job, JobStatus
    from vogue.services.openai.objects import file_object, poll_after_ms, progress, video_object

    assert clip.expires_at is None
    spec = {
        name: getattr(clip, name)
        for name in ("task", "steps", "guidance", "image_guidance", "num_frames", "fps", "seed")
    }
    job = Job.model_validate(
        {
            "id": "job_1",
            "status": "completed",
            "request": {"instruction": "x"},
            "spec": spec | {"instruction": "x", "negative_prompt": "", "height_px": 32, "width_px": 48},
            "created_at_s": 1.0,
            "started_at_s": 2.0,
            "finished_at_s": 10.5,
            "steps_total": 2,
        }
    )
    preset = get_preset("tiny")
    assert video_object(job, preset, retention_s=100)["expires_at"] == 110
    assert file_object(_stored(None), 100)["expires_at"] == 150
    assert file_object(_stored("job_1"), 100)["expires_at"] is None
    begun = job.model_copy(update={"status": JobStatus.IN_PROGRESS, "finished_at_s": None, "steps_done": 1})
    assert video_object(begun, preset, retention_s=100)["expires_at"] is None
    assert (progress(begun), poll_after_ms(begun, 12.0)) == (50, 1000), "one step took ten seconds, and one is left"


def _stored(job_id: str | None) -> Any:
    from vogue.schemas.jobs import Asset, StoredAsset
    from vogue.schemas.references import Artifact, MediaKind

    asset = Asset(
        id="upload_" + "x" * 24,
        kind=MediaKind.IMAGE,
        media_type="image/png",
        num_bytes=1,
        filename="a.png",
        height_px=1,
        width_px=1,
    )
    artifact = Artifact(uri="file:///x", sha256="a" * 64, media_type="image/png", num_bytes=1)
    return StoredAsset(asset=asset, artifact=artifact, created_at_s=50.0, job_id=job_id)


def test_the_tier_and_previews_are_extra_fields(client: openai.OpenAI) -> None:
    quick = client.videos.create(prompt="a red star", extra_body={"tier": "fast", "preview_every_steps": 1})
    exact = client.videos.create(prompt="a red star", extra_body={"tier": "exact"})
    plain = client.videos.create(prompt="a red star")
    tiers = [one.tier for one in (quick, exact, plain)]  # type: ignore[attr-defined]
    assert tiers == ["fast", "exact", "exact"]
    assert quick.steps < exact.steps  # type: ignore[attr-defined]
    for one in (quick, exact, plain):
        client.videos.poll(one.id)
    asked = client.get(f"/jobs/{quick.id}", cast_to=httpx.Response).json()["request"]
    assert (asked["tier"], asked["preview_every_steps"]) == ("fast", 1)
    with pytest.raises(openai.BadRequestError, match="tier"):
        client.videos.create(prompt="a red star", extra_body={"tier": "warp"})
    picture = client.images.generate(prompt="a red star", extra_body={"tier": "fast"}).data
    assert picture
