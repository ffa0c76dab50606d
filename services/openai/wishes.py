"""What a conversation asks for: an answer in words, a picture or a clip; and which of its pictures and clips that is about.

What is said outright decides: `modalities`, then `task`, then `seconds`, `size` or another number that only a picture or clip has.
Failing that, the words of the last message do, by fixed rules for English that `docs/openai.md` tells. No model is asked, so equal
requests are always understood alike.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from vogue.schemas.config import Role
from vogue.schemas.errors import RequestInvalid

from .requests import ChatMessage, ChatRequest

__all__ = ["Mention", "Wish", "wish_of"]

Kind = Literal["text", "image", "video"]


class Mention(NamedTuple):
    """A picture or clip that the conversation holds: where, how it is named, and what part its owner gave it."""

    field: str
    reference: str
    is_video: bool
    role: Role | None = None
    tag: str | None = None


class Wish(NamedTuple):
    """What shall be done, in which words, about what."""

    kind: Kind
    prompt: str
    mentions: tuple[Mention, ...]


_OPENING = re.compile(
    r"\s*(?:(?:please|now|ok(?:ay)?|then|and|hi|hello|hey|kindly|let's|(?:can|could|would|will) you|i(?:'d like| want|'d love) you to)"
    r"[\s,.!]+)*",
    re.I,
)
_VISUAL_NOUN = re.compile(
    r"\b(?:pictures?|images?|photos?|photographs?|drawings?|paintings?|illustrations?|sketch(?:es)?|portraits?|posters?|logos?|icons?"
    r"|wallpapers?|renderings?)\b",
    re.I,
)
_MOVING = re.compile(
    r"\b(?:videos?|clips?|animations?|animated?|movies?|films?|footage|gifs?|animate|in motion)\b", re.I
)
_DRAWS = re.compile(r"(?:draw|paint|sketch|render|illustrate|animate|film)\b", re.I)
_MAKES = re.compile(r"(?:make|create|generate|produce|show|give|design|compose|i (?:want|need|would like))\b", re.I)
_EDITS = re.compile(
    r"(?:make|change|turn|replace|remove|erase|delete|add|put|swap|edit|recolou?r|colou?r|restyle|transform|convert|move|rotate|enlarge"
    r"|shrink|brighten|darken|blur|sharpen|insert|stylize)\b",
    re.I,
)
_ABOUT_WORDS = re.compile(
    r"\b(?:list|summary|caption|description|story|poem|table|sentence|paragraph|question|answer|explanation|haiku|joke|guess|title"
    r"|text|json|sense)\b",
    re.I,
)
_LINK = re.compile(r"(!?)\[[^\]\n]{0,2000}\]\(([^()\s]{1,4096})\)")


def wish_of(request: ChatRequest) -> Wish:
    """What the conversation asks for.

    Raises:
        RequestInvalid: no message of the user is there, or it has no words.
    """
    last = next((n for n in reversed(range(len(request.messages))) if request.messages[n].role == "user"), None)
    if last is None:
        raise RequestInvalid("messages holds no message of the role user", param="messages")
    said = _text(request.messages[last])
    if not said:
        raise RequestInvalid("the last message has no text: say what you want to know or see", param="messages")
    own = _mentions(request.messages[last], last)
    latest = own or next((found for n in reversed(range(last)) if (found := _mentions(request.messages[n], n))), ())
    kind = _kind(request, said, latest)
    if kind != "text":
        return Wish(kind, said, latest)
    everything = tuple(one for n, message in enumerate(request.messages) for one in _mentions(message, n))
    return Wish(kind, _transcript(request.messages, said), everything)


def _kind(request: ChatRequest, said: str, latest: tuple[Mention, ...]) -> Kind:
    asked = request.modalities or ()
    if asked:
        return "video" if "video" in asked else "image" if "image" in asked else "text"
    if request.task is not None:
        return "text" if not request.task.makes_media else "video" if request.task.makes_video else "image"
    if request.seconds is not None or (request.num_frames or 1) > 1:
        return "video"
    numbers = (request.size, request.num_frames, request.steps, request.guidance, request.image_guidance)
    if any(one is not None for one in (*numbers, request.negative_prompt, request.self_review)):
        return _medium(said, latest)
    return _medium(said, latest) if _asks_for_media(said, bool(latest)) else "text"


def _asks_for_media(said: str, has_visuals: bool) -> bool:
    """Whether the words order something to be made or changed, by how they begin."""
    opening = _OPENING.match(said)
    end = opening.end() if opening is not None else 0
    order = said[end:]
    if said.endswith("?") and " you" not in said[:end].lower():
        return False  # a question, unless it asks somebody to do something
    if _DRAWS.match(order):
        return True
    names_media = _VISUAL_NOUN.search(order) or _MOVING.search(order)
    if _MAKES.match(order) and names_media and not _ABOUT_WORDS.search(order):
        return True
    return has_visuals and bool(_EDITS.match(order)) and not _ABOUT_WORDS.search(order)


def _medium(said: str, latest: tuple[Mention, ...]) -> Kind:
    if _MOVING.search(said):
        return "video"
    if any(one.is_video for one in latest) and not _VISUAL_NOUN.search(said):
        return "video"
    return "image"


def _text(message: ChatMessage) -> str:
    return "\n".join(part.text for part in message.parts if part.type == "text" and part.text).strip()


def _mentions(message: ChatMessage, number: int) -> tuple[Mention, ...]:
    """What a message shows. In answers of ours these are links."""
    if message.role == "assistant":
        return tuple(
            Mention(f"messages.{number}.content", link[2], is_video=not link[1])
            for link in _LINK.finditer(_text(message))
            if "/v1/assets/" in link[2]
        )
    return tuple(
        Mention(
            f"messages.{number}.content.{index}",
            part.reference,
            _is_video(part.type, part.reference),
            part.role,
            part.tag,
        )
        for index, part in enumerate(message.parts)
        if part.reference is not None
    )


def _is_video(kind: str, reference: str) -> bool:
    return kind == "video_url" or reference[:11].lower() == "data:video/"


def _transcript(messages: tuple[ChatMessage, ...], said: str) -> str:
    """The words of the conversation; a single question stands alone."""
    words = [(message.role, text) for message in messages if (text := _text(message))]
    if len(words) == 1:
        return said
    called = {"user": "User: ", "assistant": "Assistant: "}
    return "\n".join(called.get(role, "") + text for role, text in words)
