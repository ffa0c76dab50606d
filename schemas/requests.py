"""What a user asks for, and what it comes to once the preset has filled in the rest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator

from .base import Contract, Message
from .config import Role, Task, Tier
from .references import Tag

__all__ = ["AssetId", "GenerationRequest", "JobSpec", "SelfReview", "Thinking", "VisualInput"]

AssetId = Annotated[str, StringConstraints(pattern=r"^(upload|asset)_[A-Za-z0-9_-]{16,64}$")]
"""A random id of something the server holds. Paths and URLs are refused by its form: upload the file first."""

_Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Thinking(StrEnum):
    """Whether the MLLM plans before anything is generated.

    `auto` plans when the request cannot be carried out without, `review` lets the job wait until its owner has approved the plan.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"
    REVIEW = "review"


class VisualInput(Contract):
    """A picture or clip of the request, in the order the instruction may count them. Without a role, thinking mode finds one."""

    tag: Tag
    role: Role | None = None
    upload_id: AssetId


class SelfReview(Contract):
    """Let the MLLM score the result, and try another seed while the score is below `min_score`; the best one is delivered."""

    min_score: Annotated[int, Field(ge=0, le=10)] = 7
    max_trials: Annotated[int, Field(ge=1, le=8)] = 3


class GenerationRequest(Message):
    """One multimodal instruction. Fields left out take the preset's value for the task.

    `task` is inferred from the inputs' roles when it is not named. Sides are pixels, a multiple of the preset's step; frames are 4k + 1.
    The task `understand` answers in words: it takes `temperature` (0 is greedy) and `max_new_tokens`, and none of the numbers of a picture.
    """

    instruction: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
    task: Task | None = None
    visuals: Annotated[tuple[VisualInput, ...], Field(max_length=16)] = ()
    negative_prompt: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    height_px: Annotated[int, Field(gt=0)] | None = None
    width_px: Annotated[int, Field(gt=0)] | None = None
    num_frames: Annotated[int, Field(gt=0)] | None = None
    steps: Annotated[int, Field(gt=0)] | None = None
    guidance: Annotated[float, Field(gt=0)] | None = None
    image_guidance: Annotated[float, Field(gt=0)] | None = None
    seed: _Seed | None = None
    tier: Tier | None = None
    """`exact`, or `fast` for less work a step with a small loss; by default the preset's."""
    thinking: Thinking = Thinking.AUTO
    self_review: SelfReview | None = None
    preview_every_steps: Annotated[int, Field(ge=0)] = 0
    """How often a small picture of the result on its way is shown among the events; 0, the default, is never."""
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    max_new_tokens: PositiveInt | None = None
    deadline_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    """The job fails if it is not over so many seconds after it was submitted, or resumed; time in the queue and at a plan counts."""
    webhook_url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=4096)] | None = None
    """Where to tell that the job is over, or that its plan waits; see `vogue.services.webhooks`."""

    @model_validator(mode="after")
    def _tags_are_unique(self) -> Self:
        tags = [visual.tag for visual in self.visuals]
        twice = sorted({tag for tag in tags if tags.count(tag) > 1})
        if twice:
            raise ValueError(f"each input needs a tag of its own, but {', '.join(twice)} is used more than once")
        return self


class JobSpec(Contract):
    """A request with nothing left open: what the graph carries out.

    `guidance` is the text scale g, `image_guidance` the image scale h (NUMERICS, guidance and schedule). `thinking` is never `auto`.
    A plan may change all of it. For `understand`, height, width and frames are what the largest input is looked at in, and `steps` is 0.
    """

    task: Task
    instruction: str
    negative_prompt: str
    height_px: PositiveInt
    width_px: PositiveInt
    num_frames: PositiveInt
    fps: PositiveFloat
    steps: Annotated[int, Field(ge=0)]
    guidance: PositiveFloat
    image_guidance: PositiveFloat
    seed: _Seed
    tier: Tier = Tier.EXACT
    thinking: Thinking = Thinking.OFF
    self_review: SelfReview | None = None
    preview_every_steps: Annotated[int, Field(ge=0)] = 0
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_new_tokens: PositiveInt | None = None

    @property
    def makes_video(self) -> bool:
        """Whether the result has a time axis; references can also be brought together in a single picture."""
        return self.task.makes_video and not (self.task is Task.MULTIID and self.num_frames == 1)
