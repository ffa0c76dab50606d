"""OpenAI's own client before real services: every call crosses processes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import openai
import pytest
from PIL import Image

from .cluster import Server

pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")]

FEW = {"steps": 2, "seed": 3}


@pytest.fixture
def api(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=300) as made:
        yield made


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A red square on black, 48×32 pixels."""
    file, drawn = BytesIO(), Image.new("RGB", (48, 32))
    drawn.paste((255, 0, 0), (8, 8, 24, 24))
    drawn.save(file, "PNG")
    return file.getvalue()


def test_videos_are_made_edited_shown_and_deleted(api: openai.OpenAI) -> None:
    made = api.videos.create_and_poll(prompt="a red star", seconds="0.5", size="32x32", extra_body=FEW)
    assert (made.status, made.progress, made.seconds, made.size) == ("completed", 100, "0.5", "32x32")
    clip = api.videos.download_content(made.id).read()
    assert clip[4:8] == b"ftyp"
    for variant in ("thumbnail", "spritesheet"):
        shown = api.videos.download_content(made.id, variant=variant).read()
        assert Image.open(BytesIO(shown)).size[0] >= 32
    remixed = api.videos.poll(api.videos.remix(made.id, prompt="make it blue", extra_body=FEW).id)
    assert (remixed.status, remixed.remixed_from_video_id) == ("completed", made.id)
    edited = api.videos.edit(prompt="make it green", video=("clip.mp4", clip, "video/mp4"), extra_body=FEW)
    assert api.videos.poll(edited.id).status == "completed"
    assert {made.id, remixed.id, edited.id} <= {video.id for video in api.videos.list(limit=20).data}
    for video in (edited, remixed, made):
        assert api.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        api.videos.retrieve(made.id)


def test_pictures_are_made_and_edited(api: openai.OpenAI, picture: bytes) -> None:
    made = api.images.generate(prompt="a red star", n=2, extra_body=FEW)
    assert made.data is not None and len(made.data) == 2
    edited = api.images.edit(image=("red.png", picture), prompt="make it blue", extra_body=FEW)
    assert edited.data is not None and edited.data[0].b64_json


def test_questions_are_answered_whole_and_in_pieces(api: openai.OpenAI, picture: bytes) -> None:
    file = api.files.create(file=("red.png", picture), purpose="vision")
    parts: Any = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": file.id}}]
    asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": parts}], "max_completion_tokens": 5}
    whole = api.chat.completions.create(**asked)
    pieces = list(api.chat.completions.create(**asked, stream=True))
    said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    # The tiny weights are random, and greedy: what they say means nothing, and is the same each time.
    assert said == whole.choices[0].message.content and pieces[-1].choices[0].finish_reason in ("stop", "length")
    assert api.files.content(file.id).read() == picture
    assert api.files.delete(file.id).deleted


def test_what_is_ordered_in_a_chat_comes_as_a_picture(api: openai.OpenAI) -> None:
    talk: Any = {"model": "tiny", "messages": [{"role": "user", "content": "draw a red star"}]}
    answer = api.chat.completions.create(**talk, extra_body=FEW).choices[0].message
    assert answer.content is not None and "/v1/assets/" in answer.content
    assert answer.assets[0]["kind"] == "image"


def test_errors_and_limits_come_through(api: openai.OpenAI) -> None:
    (model,) = api.models.list().data
    assert model.id == "tiny" and model.requests["t2v"]["num_frames"] == [1, 5, 9]
    with pytest.raises(openai.BadRequestError, match="the nearest is") as caught:
        api.videos.create(prompt="a star", size="1280x720")
    assert (caught.value.code, caught.value.param) == ("shape_unsupported", "size")
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("gpt-5")
    first, again = (
        api.videos.create(prompt="x", extra_headers={"Idempotency-Key": "once"}, extra_body=FEW) for _ in "ab"
    )
    assert first.id == again.id
    api.post(f"/videos/{first.id}/cancel", cast_to=object)
    assert api.videos.poll(first.id).id == first.id
