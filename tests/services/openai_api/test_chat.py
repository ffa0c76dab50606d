"""`client.chat.completions` of the unmodified `openai` package. The fake MLLM says how many visuals it sees."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

EXTRA = {"steps": 2, "seed": 7}


def _ask(said: str, *parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": said}, *parts]}]


def _shown(content: bytes, kind: str = "image/png") -> dict[str, Any]:
    field = "video_url" if kind.startswith("video") else "image_url"
    return {"type": field, field: {"url": f"data:{kind};base64,{base64.b64encode(content).decode()}"}}


def test_a_question_about_pictures_and_clips(client: openai.OpenAI, png: bytes, mp4: bytes) -> None:
    file = client.files.create(file=("a.png", png), purpose="vision")
    by_id = {"type": "image_url", "image_url": {"url": file.id}}
    as_file = {"type": "file", "file": {"file_id": file.id}}
    answer = client.chat.completions.create(
        model="tiny",
        messages=_ask("what is this?", _shown(png), _shown(mp4, "video/mp4"), by_id, as_file),
        max_tokens=4000,
        temperature=0,
        seed=3,
    )
    assert (answer.object, answer.model) == ("chat.completion", "tiny")
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "4 visuals", "stop")
    assert choice.message.assets == []  # type: ignore[attr-defined]


def test_an_answer_in_pieces(client: openai.OpenAI, png: bytes) -> None:
    chunks = list(
        client.chat.completions.create(model="tiny", messages=_ask("what is this?", _shown(png)), stream=True)
    )
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "1 ", "visuals", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_stream_as_it_is_sent(live: Any) -> None:
    body = {"messages": [{"role": "user", "content": "hello?"}], "stream": True}
    answer = httpx.post(f"{live.url}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.strip().split("\n\n")
    assert all(event.startswith("data: {") for event in events[:-1])
    assert events[-1] == "data: [DONE]"


def test_media_as_an_answer_and_as_the_next_question(client: openai.OpenAI, live: Any) -> None:
    talk: list[Any] = [{"role": "user", "content": "draw a red star"}]
    drawn = client.chat.completions.create(model="tiny", messages=talk, extra_body=EXTRA).choices[0].message
    (asset,) = drawn.assets  # type: ignore[attr-defined]
    assert drawn.content == f"![draw a red star]({asset['url']})"
    assert Image.open(io.BytesIO(httpx.get(asset["url"]).content)).size == (32, 32)
    talk += [drawn.to_dict(), {"role": "user", "content": "make it blue"}]
    blue = client.chat.completions.create(model="tiny", messages=talk, extra_body=EXTRA).choices[0].message
    job = httpx.get(f"{live.url}/v1/jobs/{blue.job_ids[0]}").json()  # type: ignore[attr-defined]
    assert (job["spec"]["task"], job["request"]["instruction"]) == ("i2i_edit", "make it blue")
    assert [one["upload_id"] for one in job["request"]["visuals"]] == [asset["id"]]
    talk += [blue.to_dict(), {"role": "user", "content": "now animate it"}]
    chunks = list(client.chat.completions.create(model="tiny", messages=talk, stream=True, extra_body=EXTRA))
    told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert told.startswith(f"[now animate it]({live.url}/v1/assets/asset_")
    clip = chunks[-2].choices[0].delta.assets[0]  # type: ignore[attr-defined]
    assert (clip["kind"], clip["media_type"]) == ("video", "video/mp4")
    assert httpx.get(clip["url"]).content[4:8] == b"ftyp"
    talk += [{"role": "assistant", "content": told}, {"role": "user", "content": "what is this?"}]
    answer = client.chat.completions.create(model="tiny", messages=talk)
    assert answer.choices[0].message.content == "3 visuals"


def test_fields_decide_before_words(client: openai.OpenAI, png: bytes) -> None:
    asked = {"model": "tiny", "messages": _ask("a red star", _shown(png))}
    text = client.chat.completions.create(**asked, modalities=["text"])
    assert text.choices[0].message.content == "1 visuals"
    video = client.chat.completions.create(**asked, extra_body={"modalities": ["video"], "seconds": "0.5", **EXTRA})
    assert video.choices[0].message.assets[0]["num_frames"] == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "kind", "param", "message"),
    [
        ({"model": "gpt-5"}, openai.NotFoundError, "model", "not served"),
        ({"messages": []}, openai.BadRequestError, "messages", "at least 1 item"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            openai.BadRequestError,
            "messages.0.content",
            ".",
        ),
        ({"tools": [{"type": "function"}]}, openai.BadRequestError, "tools", "not permitted"),
        ({"n": 2}, openai.BadRequestError, "n", "Input should be 1"),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            openai.BadRequestError,
            "stream_options.include_usage",
            ".",
        ),
        ({"extra_body": {"thinking": "review", "task": "t2v"}}, openai.BadRequestError, "thinking", "/v1/jobs"),
        (
            {"messages": _ask("what?", {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}})},
            openai.BadRequestError,
            "messages.0.content.1",
            "does not fetch",
        ),
        (
            {"messages": _ask("what?", {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})},
            openai.BadRequestError,
            "messages.0.content.1",
            ".",
        ),
    ],
)
def test_what_is_refused(client: openai.OpenAI, fields: Any, kind: Any, param: str, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        client.chat.completions.create(**({"model": "tiny", "messages": _ask("hello?")} | fields))
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)


def test_bodies_beyond_the_limit(live: Any) -> None:
    with live.client() as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="tiny", messages=_ask("what?", _shown(bytes(25 * 1024 * 1024))))
    assert caught.value.status_code == 413
    assert "/v1/files" in str(caught.value)
    assert list(live.blobs.scratch.iterdir()) == []


def test_a_stream_that_fails_or_is_left(start: Callable[..., Any]) -> None:
    server = start(gated=True)
    client = server.client()
    asked = {"model": "tiny", "messages": _ask("draw a star"), "stream": True, "extra_body": {"steps": 4}}
    stream = client.chat.completions.create(**asked)
    next(stream)
    (job,) = server.run(server.orchestrator.list(1))
    server.run(server.orchestrator.cancel(job.id))
    server.open_gate()
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "cancelled"
    server.gate.open.clear()
    left = client.chat.completions.create(**asked)
    next(left)
    left.close()
    (job,) = server.run(server.orchestrator.list(1))

    async def end() -> Any:
        async for _ in server.orchestrator.events(job.id):
            pass
        return await server.orchestrator.get(job.id)

    assert server.run(end()).status == "cancelled"


async def test_the_asynchronous_client(live: Any, png: bytes) -> None:
    async with live.async_client() as client:
        answer = await client.chat.completions.create(model="tiny", messages=_ask("what is it?", _shown(png)))
        assert answer.choices[0].message.content == "1 visuals"
        stream = await client.chat.completions.create(
            model="tiny", messages=_ask("what is it?", _shown(png)), stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "1 visuals"
        drawn = await client.chat.completions.create(model="tiny", messages=_ask("draw a star"), extra_body=EXTRA)
        assert drawn.choices[0].message.content is not None
        assert drawn.choices[0].message.content.startswith("![draw a star](http://127.0.0.1")
