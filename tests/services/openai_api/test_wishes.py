"""What a conversation asks for, by its fields and by its words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas.errors import RequestInvalid
from vogue.services.openai.requests import ChatRequest
from vogue.services.openai.wishes import wish_of

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CLIP = {"type": "video_url", "video_url": {"url": "upload_" + "v" * 24}}
LINK = "http://here/v1/assets/asset_" + "a" * 24 + "/content"


def _request(said: str, *visuals: Any, **fields: Any) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": [{"type": "text", "text": said}, *visuals]}], **fields)


@pytest.mark.parametrize(
    ("said", "visuals", "kind"),
    [
        ("draw a red star", (), "image"),
        ("Please paint me the sea.", (), "image"),
        ("Make a picture of a red star", (), "image"),
        ("Could you generate a short video of a ball?", (), "video"),
        ("I want you to create an animation of rain", (), "video"),
        ("hi! can you show me a photo of a moon?", (), "image"),
        ("make it blue", (PICTURE,), "image"),
        ("make it blue", (CLIP,), "video"),
        ("now remove the circle", (CLIP,), "video"),
        ("animate this picture", (PICTURE,), "video"),
        ("can you turn the star into a square?", (PICTURE,), "image"),
        ("what is this?", (PICTURE,), "text"),
        ("Describe the video.", (CLIP,), "text"),
        ("how many stars are there", (PICTURE,), "text"),
        ("Make a list of what is in the picture", (PICTURE,), "text"),
        ("create a caption for this image", (PICTURE,), "text"),
        ("colour of the star?", (PICTURE,), "text"),
        ("make sense of this", (PICTURE,), "text"),
        ("make it blue", (), "text"),
        ("tell me about pictures", (), "text"),
    ],
)
def test_words(said: str, visuals: tuple[Any, ...], kind: str) -> None:
    assert wish_of(_request(said, *visuals)).kind == kind


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"modalities": ["text"]}, "text"),
        ({"modalities": ["image"]}, "image"),
        ({"modalities": ["text", "video"]}, "video"),
        ({"task": "t2v"}, "video"),
        ({"task": "i2i_edit"}, "image"),
        ({"task": "understand"}, "text"),
        ({"modalities": ["text"], "task": "t2v"}, "text"),
        ({"seconds": "1"}, "video"),
        ({"num_frames": 5}, "video"),
        ({"num_frames": 1}, "image"),
        ({"size": "32x32"}, "image"),
        ({"steps": 3}, "image"),
        ({}, "text"),
    ],
)
def test_fields_come_before_words(fields: dict[str, Any], kind: str) -> None:
    assert wish_of(_request("a red star", **fields)).kind == kind


def test_the_last_result_is_meant_when_nothing_is_shown() -> None:
    talk = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "draw this"}, PICTURE]},
        {"role": "assistant", "content": f"![a star]({LINK}) and [elsewhere](https://example.org/x)"},
    ]
    wish = wish_of(ChatRequest(messages=[*talk, {"role": "user", "content": "make it blue"}]))
    assert (wish.kind, wish.prompt) == ("image", "make it blue")
    assert [one.reference for one in wish.mentions] == [LINK]
    wish = wish_of(ChatRequest(messages=[*talk, {"role": "user", "content": "what is it?"}]))
    assert wish.kind == "text"
    assert [one.reference for one in wish.mentions] == [PICTURE["image_url"]["url"], LINK]  # type: ignore[index]
    assert wish.prompt.splitlines() == [
        "Be short.",
        "User: draw this",
        f"Assistant: ![a star]({LINK}) and [elsewhere](https://example.org/x)",
        "User: what is it?",
    ]


def test_a_conversation_without_a_question() -> None:
    with pytest.raises(RequestInvalid, match="no message of the role user"):
        wish_of(ChatRequest(messages=[{"role": "system", "content": "hello"}]))
    with pytest.raises(RequestInvalid, match="has no text"):
        wish_of(ChatRequest(messages=[{"role": "user", "content": [PICTURE]}]))


@given(st.text(min_size=1))
def test_any_words_are_understood_somehow(said: str) -> None:
    if said.strip():
        assert wish_of(_request(said, PICTURE)).kind in ("text", "image", "video")


@pytest.mark.parametrize("said", ["please " * 5000, "a" * 20000, "[" * 20000, "now, " * 4000 + "!", "[](" * 6000])
def test_long_words_take_no_time(said: str) -> None:
    talk = [{"role": "assistant", "content": said}, {"role": "user", "content": said}]
    assert wish_of(ChatRequest(messages=talk)).kind == "text"
