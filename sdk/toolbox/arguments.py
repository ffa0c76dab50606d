"""What a model may hand to a tool. The descriptions are written for the model, which sees nothing else.

Numbers are checked by the request's own contract, so that a limit is said in one place only.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vogue.schemas.plan import Plan

__all__ = [
    "Arguments",
    "AssetPage",
    "Decision",
    "Edit",
    "Generation",
    "JobQuery",
    "JobTarget",
    "Media",
    "Planning",
    "Question",
    "SessionPage",
    "SessionStart",
    "SessionTarget",
    "TurnAsk",
    "TurnTarget",
    "WaitedEdit",
    "WaitedGeneration",
    "WaitedTurn",
]

_MAX_PATH_CHARS = 4096
_INLINE = re.compile(r"(?i)\s*data:")
_URL = re.compile(r"(?i)\s*[a-z][a-z0-9+.-]+://")


def _names_media(text: str) -> str:
    if _INLINE.match(text) or len(text) > _MAX_PATH_CHARS:
        raise ValueError(
            f"media is never given inline (got {len(text)} characters beginning with {text[:24]!r}):"
            " upload the file and give its id"
        )
    if _URL.match(text):
        raise ValueError(f"URLs are not fetched (got {text[:80]!r}): upload the file and give its id")
    return text


Media = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(_names_media),
]
"""An id or a path, as text."""

_WHICH = (
    "The id of an upload or result (`upload_…`, `asset_…`). A server on the user's own machine that was given folders also takes"
    " the path of a file in one of them. Never the content itself, and no URL."
)


class Arguments(BaseModel):
    """Base of all arguments: unknown ones are refused, since a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Making(Arguments):
    instruction: Annotated[
        str,
        Field(
            min_length=1,
            max_length=20_000,
            description="What to make or change, in plain words. It may call inputs by name: pictures are image1, image2, … with the"
            " references first, a clip is video1.",
        ),
    ]
    references: Annotated[
        tuple[Media, ...],
        Field(max_length=16, description=f"Pictures of whom or what shall appear. {_WHICH}"),
    ] = ()
    visual_prompts: Annotated[
        tuple[Media, ...],
        Field(
            max_length=16,
            description="Pictures with marks drawn on them (arrows, rings, crosses, words) that say what to do; the server has to"
            f" think about them. {_WHICH}",
        ),
    ] = ()
    num_frames: Annotated[
        int | None, Field(description="Length of the clip in frames, 4k + 1. By default the model's, or the source's.")
    ] = None
    steps: Annotated[int | None, Field(description="Denoising steps; more is slower. By default the task's.")] = None
    tier: Annotated[
        Literal["exact", "fast"] | None,
        Field(description="fast is there in less than half the time and a little less exact. By default the server's."),
    ] = None
    guidance: Annotated[float | None, Field(description="How closely to follow the words.")] = None
    image_guidance: Annotated[float | None, Field(description="How closely to follow the given pictures.")] = None
    negative_prompt: Annotated[str | None, Field(max_length=20_000, description="What to keep away from.")] = None
    seed: Annotated[int | None, Field(description="The same seed makes the same result. By default a new one.")] = None
    preview_every_steps: Annotated[
        int,
        Field(
            ge=0,
            description="A small picture of what is on its way every so many steps: progress tells its id. 0 makes none.",
        ),
    ] = 0


class _Thought(Arguments):
    thinking: Annotated[
        Literal["auto", "on", "off"],
        Field(
            description="Whether the server works the request out in detail before it draws; auto does where it must."
        ),
    ] = "auto"


class _New(Arguments):
    output: Annotated[Literal["video", "image"], Field(description="What to make.")] = "video"
    first_frame: Annotated[Media | None, Field(description=f"The picture the clip shall start from. {_WHICH}")] = None
    height_px: Annotated[int | None, Field(description="Height in pixels, a multiple of 16.")] = None
    width_px: Annotated[int | None, Field(description="Width in pixels, a multiple of 16.")] = None


class Generation(_Thought, _New, _Making):
    """Make something new."""


class Edit(_Thought, _Making):
    """Change something that is there."""

    source: Annotated[Media, Field(description=f"The picture or clip to change. {_WHICH}")]


class _Waited(Arguments):
    timeout_s: Annotated[
        float,
        Field(
            ge=1,
            le=3600,
            description="How long to wait. The job goes on when this is over, and get_job takes the waiting up again.",
        ),
    ] = 600.0


class WaitedGeneration(_Waited, Generation):
    """Make something new and wait for it."""


class WaitedEdit(_Waited, Edit):
    """Change something and wait for it."""


class Planning(_Waited, _New, _Making):
    """What to plan: an edit if it has a source, else something new."""

    source: Annotated[Media | None, Field(description=f"The picture or clip to change. {_WHICH}")] = None


class SessionStart(Arguments):
    """A new conversation."""

    title: Annotated[str, Field(max_length=200, description="What it is about, for people who look at the list.")] = ""


class SessionTarget(Arguments):
    """Which conversation."""

    session_id: Annotated[str, Field(min_length=1, max_length=200, description="The session's id, `session_…`.")]


class TurnAsk(_Thought, _New, _Making, SessionTarget):
    """The next turn of a conversation. Media can also be named by its tag in the session: turn1, image2, video1."""

    source: Annotated[
        Media | None,
        Field(
            description="What to change, if the words do not say it: a tag of the session such as turn1, or something new."
            f" By default the last result. {_WHICH}"
        ),
    ] = None
    parent: Annotated[
        int | None,
        Field(
            ge=0,
            description="The turn to go on from in place of the last one; 0 begins anew. This branches the session.",
        ),
    ] = None


class WaitedTurn(_Waited, TurnAsk):
    """The next turn, and wait for it."""


class TurnTarget(SessionTarget):
    """Which turn to go on from."""

    turn: Annotated[int, Field(ge=0, description="The number of a turn; 0 is the start, before the first one.")]


class SessionPage(Arguments):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=100, description="How many, newest first.")] = 20
    before: Annotated[
        str | None, Field(max_length=200, description="Continue below this id: `next_before` of the last page.")
    ] = None


class Question(_Waited):
    """What to look at, and what to say about it."""

    question: Annotated[
        str,
        Field(
            min_length=1,
            max_length=20_000,
            description="What to answer in words. It may call pictures image1, image2, … and clips video1, …, in the order given.",
        ),
    ]
    media: Annotated[
        tuple[Media, ...], Field(max_length=16, description=f"Pictures and clips to look at. {_WHICH}")
    ] = ()
    max_new_tokens: Annotated[int | None, Field(description="The longest answer. By default the model's.")] = None


class JobTarget(Arguments):
    """Which job."""

    job_id: Annotated[str, Field(min_length=1, max_length=200, description="The job's id, `job_…`.")]


class Decision(JobTarget):
    """What to make of a plan."""

    approved: Annotated[bool, Field(description="Whether to carry it out; a plan that is rejected ends the job.")] = (
        True
    )
    plan: Annotated[
        Plan | None, Field(description="The plan as edited, whole; by default it is carried out as it is.")
    ] = None


class JobQuery(JobTarget):
    """Which job, and how long to wait for news of its end."""

    wait_s: Annotated[
        float, Field(ge=0, le=60, description="Wait up to so many seconds for the job to end before answering.")
    ] = 0.0


class AssetPage(Arguments):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=100, description="How many, newest first.")] = 20
    before: Annotated[
        str | None, Field(max_length=200, description="Continue below this id: `next_before` of the last page.")
    ] = None
