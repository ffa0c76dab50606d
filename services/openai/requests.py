"""OpenAI's request bodies, as far as they mean something here, and the extra fields that say what they cannot.

Fields that would change the result but cannot be honoured are refused, never ignored; those that only label a request
(`user`, `metadata`, …) are taken and left alone.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from vogue.schemas.base import Contract
from vogue.schemas.config import Role, Task, Tier
from vogue.schemas.references import Tag
from vogue.schemas.requests import SelfReview, Thinking

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "ContentPart",
    "ExtraVisual",
    "FileRef",
    "ImageRequest",
    "Knobs",
    "VideoRequest",
]

_Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
_Label = Annotated[str, StringConstraints(max_length=1000)]
_Whatever = Annotated[dict[str, str], Field(max_length=16)]


class FileRef(Contract):
    """An input that is not in the body as a file: the id of one, or a URL."""

    file_id: str | None = None
    image_url: str | None = None
    video_url: str | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self.given) != 1:
            raise ValueError("give one of file_id, image_url and video_url")
        return self

    @property
    def given(self) -> list[str]:
        """What was given."""
        return [one for one in (self.file_id, self.image_url, self.video_url) if one is not None]

    @property
    def reference(self) -> str:
        """The one that was given."""
        return self.given[0]


class ExtraVisual(FileRef):
    """An input beside those that OpenAI's fields can name, with the part it plays and the tag that the prompt calls it by."""

    role: Role | None = None
    tag: Tag | None = None


class VideoRef(Contract):
    """A finished video of this server."""

    id: str


class Knobs(Contract):
    """The extra fields: everything of a `GenerationRequest` for which OpenAI has no word.

    `roles` are those of the request's own files, in order. Lists and objects come as JSON text where the body is a form.
    """

    task: Task | None = None
    negative_prompt: str | None = None
    num_frames: Annotated[int, Field(gt=0)] | None = None
    steps: Annotated[int, Field(gt=0)] | None = None
    guidance: Annotated[float, Field(gt=0)] | None = None
    image_guidance: Annotated[float, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    tier: Tier | None = None
    thinking: Thinking | None = None
    self_review: SelfReview | None = None
    preview_every_steps: Annotated[int, Field(ge=0)] | None = None
    deadline_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    webhook_url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=4096)] | None = None
    roles: Annotated[tuple[Role, ...], Field(max_length=16)] = ()
    visuals: Annotated[tuple[ExtraVisual, ...], Field(max_length=16)] = ()

    @field_validator("visuals", "self_review", mode="before")
    @classmethod
    def _from_a_form(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError("in a form this field holds JSON text") from error

    def fields(self) -> dict[str, Any]:
        """Those that were given and mean the same in a `GenerationRequest`."""
        same = set(Knobs.model_fields) - {"roles", "visuals"}
        return {name: value for name in same if (value := getattr(self, name)) is not None}


class VideoRequest(Knobs):
    """Create, edit or remix a video. `input_reference` and `video` may also be files of a form."""

    prompt: _Prompt
    model: str | None = None
    seconds: str | float | None = None
    size: str | None = None
    input_reference: FileRef | None = None
    video: VideoRef | None = None
    user: _Label | None = None


class ImageRequest(Knobs):
    """Make pictures, or edit one. `images` are those to edit where the body is JSON; a form brings them as files."""

    prompt: _Prompt
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=8)] | None = None
    size: str | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png"] | None = None
    images: Annotated[tuple[FileRef, ...], Field(max_length=16)] = ()
    background: Literal["auto", "opaque"] | None = None
    quality: Literal["auto", "standard"] | None = None
    moderation: Literal["auto", "low"] | None = None
    input_fidelity: Literal["high", "low"] | None = None
    stream: Literal[False] | None = None
    partial_images: Literal[0] | None = None
    user: _Label | None = None
    safety_identifier: _Label | None = None

    @field_validator("stream", "partial_images", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        # A form has text only.
        return {"false": False, "0": 0}.get(value, value) if isinstance(value, str) else value


class MediaUrl(Contract):
    """A URL of a chat message. Pictures are always looked at in their own detail."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ChatFile(Contract):
    """A file of a chat message: by id, or as a data URL."""

    file_id: str | None = None
    file_data: str | None = None
    filename: _Label | None = None


class ContentPart(Contract):
    """A part of a chat message: text, a picture, a clip or a file. `role` says what part a visual plays in what is made."""

    type: Literal["text", "image_url", "video_url", "file"]
    text: str | None = None
    image_url: MediaUrl | str | None = None
    video_url: MediaUrl | str | None = None
    file: ChatFile | None = None
    role: Role | None = None
    tag: Tag | None = None

    @model_validator(mode="after")
    def _holds_its_type(self) -> Self:
        if getattr(self, self.type) is None:
            raise ValueError(f"a part of the type {self.type} needs the field {self.type}")
        return self

    @property
    def reference(self) -> str | None:
        """How the part names its input; None for text."""
        if self.type == "file" and self.file is not None:
            return self.file.file_id or self.file.file_data or ""
        held = self.image_url if self.type == "image_url" else self.video_url if self.type == "video_url" else None
        return held.url if isinstance(held, MediaUrl) else held


class ChatMessage(Contract):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[tuple[ContentPart, ...], Field(max_length=64)] | None = None
    name: _Label | None = None
    refusal: str | None = None
    # What an answer of ours brought along, for clients that send it back.
    assets: Any = None
    job_ids: Any = None
    annotations: Any = None

    @property
    def parts(self) -> tuple[ContentPart, ...]:
        """The content as parts."""
        if isinstance(self.content, str):
            return (ContentPart(type="text", text=self.content),)
        return self.content or ()


class StreamOptions(Contract):
    """Tokens are not counted, so a stream cannot end with their number."""

    include_usage: Literal[False] | None = None
    include_obfuscation: bool | None = None


class TextFormat(Contract):
    """Answers are plain text."""

    type: Literal["text"]


class ChatRequest(Knobs):
    """Ask about pictures and clips, or have some made. `modalities` decides which; see `chat.py` for what does without it."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=256)]
    model: str | None = None
    modalities: Annotated[tuple[Literal["text", "image", "video"], ...], Field(max_length=3)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Literal[1] | None = None
    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    response_format: TextFormat | None = None
    size: str | None = None
    seconds: str | float | None = None
    user: _Label | None = None
    safety_identifier: _Label | None = None
    metadata: _Whatever | None = None
    store: Literal[False] | None = None
