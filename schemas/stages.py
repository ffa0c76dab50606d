"""What the stages say to each other: the requests and answers of the engine services.

Tensors are always references. A *pass* is one of the forward passes that guidance combines (NUMERICS, guidance and schedule).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from .base import Message
from .config import Role, Task, Tier
from .jobs import ErrorInfo
from .plan import PlanChoice
from .recipes import Recipe
from .references import Artifact, Lossless, MediaKind, PreparedVisual, Tag, TensorRef
from .requests import VisualInput

__all__ = [
    "ActionCount",
    "AnswerRequest",
    "DecodeRequest",
    "DecodedMedia",
    "DenoiseEvent",
    "DenoiseJob",
    "EncodeInstructionRequest",
    "EncodeVisualRequest",
    "FrameComparison",
    "LatentCheckpoint",
    "MediaFacts",
    "Pass",
    "PassStates",
    "PlanRequest",
    "PrepareRequest",
    "PreviewRequest",
    "ProbeRequest",
    "ProjectRequest",
    "ReviewRequest",
]


class Pass(StrEnum):
    """A forward pass: negative prompt without visuals, negative prompt with visuals, full prompt with visuals."""

    UNCONDITIONAL = "uncond"
    NEGATIVE = "negtxt"
    CONDITIONAL = "txt"


class AnswerRequest(Message):
    """A question about pictures and clips. At temperature 0 the answer is greedy; above it, `seed` decides."""

    instruction: str
    visuals: tuple[PreparedVisual, ...] = ()
    max_new_tokens: PositiveInt = 1000
    temperature: Annotated[float, Field(ge=0)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0


class PlanRequest(Message):
    """Turn an instruction and its inputs into a plan that is one of the `choices`, or a question back.

    `roles` are those that the request's owner named, by tag.
    """

    instruction: str
    visuals: tuple[PreparedVisual, ...] = ()
    roles: dict[Tag, Role] = Field(default_factory=dict)
    choices: Annotated[tuple[PlanChoice, ...], Field(min_length=1)]
    max_prompt_chars: PositiveInt = 8000


class ReviewRequest(Message):
    """Score a result, uint8 frames [T, H, W, 3], against the instruction and what it was made from."""

    instruction: str
    task: Task
    visuals: tuple[PreparedVisual, ...] = ()
    frames: TensorRef


class EncodeInstructionRequest(Message):
    """Read the instruction and the pictures for each pass; the canvas is what sources are sized to."""

    task: Task
    instruction: str
    negative_prompt: str
    visuals: tuple[PreparedVisual, ...] = ()
    passes: tuple[Pass, ...]
    height_px: PositiveInt
    width_px: PositiveInt


class PassStates(Message):
    """A tensor [L, D] for each pass: the MLLM's hidden states, or the connector's context."""

    states: dict[Pass, TensorRef]


class ProjectRequest(Message):
    """Hidden states to be projected into context."""

    states: dict[Pass, TensorRef]


class ProbeRequest(Message):
    """Look at an upload without decoding it. The name only says what its owner believes it to be."""

    original: Artifact
    filename: str


class MediaFacts(Message):
    """What an upload turned out to be, upright. `fps` is 0 for a picture; `num_frames` of a video may be an estimate."""

    kind: MediaKind
    media_type: str
    height_px: PositiveInt
    width_px: PositiveInt
    num_frames: PositiveInt = 1
    fps: Annotated[float, Field(ge=0)] = 0.0
    has_audio: bool = False


class PrepareRequest(Message):
    """Decode an upload once. A video is resized to the canvas and cut to the largest 4k + 1 frames not above `max_frames`.

    A result brings its `lossless` form, which is taken instead of its file.
    """

    visual: VisualInput
    original: Artifact
    lossless: Lossless | None = None
    height_px: PositiveInt
    width_px: PositiveInt
    max_frames: PositiveInt


class EncodeVisualRequest(Message):
    """Latents [C, T, h, w] of a prepared visual on the canvas."""

    visual: PreparedVisual
    height_px: PositiveInt
    width_px: PositiveInt


class LatentCheckpoint(Message):
    """Target latents [C, T, h, w] that enter step `steps_done`; a job resumed from it ends as if it had never stopped.

    `memory` is what a tier that does less work remembers of the step before (`vogue.engines.sampling`).
    """

    job_id: str
    steps_done: Annotated[int, Field(ge=0)]
    latents: TensorRef
    memory: TensorRef | None = None


class DenoiseJob(Message):
    """Everything the step loop needs. `latent_shape` is the target's [C, T, h, w]; noise comes from `seed` alone."""

    job_id: str
    task: Task
    contexts: dict[Pass, TensorRef]
    references: tuple[TensorRef, ...] = ()
    source: TensorRef | None = None
    first_frame: TensorRef | None = None
    latent_shape: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    steps: PositiveInt
    guidance: PositiveFloat
    image_guidance: PositiveFloat
    seed: Annotated[int, Field(ge=0)]
    tier: Tier = Tier.EXACT
    checkpoint_every_steps: PositiveInt
    preview_every_steps: Annotated[int, Field(ge=0)] = 0


class DenoiseEvent(Message):
    """Progress of a denoising job. `seq` counts from 1 without gaps.

    `checkpoint` events carry the latents that enter the next step, with what the tier remembers, `completed` the final ones,
    `preview` those that the job would end with if it went straight on.
    """

    job_id: str
    seq: PositiveInt
    kind: Literal["step", "checkpoint", "preview", "completed", "failed", "cancelled"]
    steps_done: Annotated[int, Field(ge=0)] = 0
    steps_total: Annotated[int, Field(ge=0)] = 0
    latents: TensorRef | None = None
    memory: TensorRef | None = None
    error: ErrorInfo | None = None

    @property
    def final(self) -> bool:
        """Whether no event can follow."""
        return self.kind in ("completed", "failed", "cancelled")


class DecodeRequest(Message):
    """Latents to pixels and to a file that people can play. Audio is taken from `audio_from` and cut to the clip.

    Files carry the `recipe`, with who made them filled in.
    """

    latents: TensorRef
    kind: MediaKind
    fps: PositiveFloat
    audio_from: Artifact | None = None
    recipe: Recipe | None = None


class PreviewRequest(Message):
    """A quick look at latents on the way: the first frame, at the size asked for or at its own."""

    latents: TensorRef
    height_px: PositiveInt | None = None
    width_px: PositiveInt | None = None


class ActionCount(Message):
    """How often an operation was carried out, and how often its result was there already."""

    operation: str
    computed: Annotated[int, Field(ge=0)]
    reused: Annotated[int, Field(ge=0)]


class FrameComparison(Message):
    """Two clips or pictures held against each other; `psnr_db` is None where they are equal or of different shapes."""

    identical: bool
    psnr_db: float | None = None
    picture: Artifact


class DecodedMedia(Message):
    """The lossless frames (uint8 [T, H, W, 3]) that later turns start from, the file, and a poster picture.

    `latents` are what was decoded, where whoever asked for it noted them. `notices` say what was left out, such as a sound track
    that cannot be read.
    """

    frames: TensorRef
    media: Artifact
    poster: Artifact
    latents: TensorRef | None = None
    has_audio: bool = False
    notices: tuple[str, ...] = ()
