"""Sizes and settings of a model, as frozen values: what the engines build and what the services check against.

Nothing here computes. The numbers of the released model are in `presets.py`, with their source.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from .base import Contract

__all__ = [
    "ConnectorConfig",
    "FastConfig",
    "HunyuanVAEConfig",
    "Limits",
    "MLLMConfig",
    "MMDiTConfig",
    "PatchVAEConfig",
    "Preset",
    "Prompts",
    "Role",
    "ScheduleConfig",
    "Task",
    "TaskDefaults",
    "Tier",
    "VAEConfig",
    "Variant",
]


class Task(StrEnum):
    """What is asked for; the generator's tasks have the release's names."""

    T2I = "t2i"
    T2V = "t2v"
    I2V = "i2v"
    I2I_EDIT = "i2i_edit"
    V2V_EDIT = "v2v_edit"
    REF_I2I_EDIT = "i+i2i_edit"
    REF_V2V_EDIT = "i+v2v_edit"
    MULTIID = "multiid"
    UNDERSTAND = "understand"
    """Answer a question about the inputs in words."""

    @property
    def makes_media(self) -> bool:
        """Whether the result is a picture or a clip, rather than text."""
        return self is not Task.UNDERSTAND

    @property
    def makes_video(self) -> bool:
        """Whether the result has a time axis."""
        return self not in (Task.T2I, Task.I2I_EDIT, Task.REF_I2I_EDIT, Task.UNDERSTAND)

    @property
    def edits(self) -> bool:
        """Whether the result is a source with something changed."""
        return self in (Task.I2I_EDIT, Task.V2V_EDIT, Task.REF_I2I_EDIT, Task.REF_V2V_EDIT)


class Tier(StrEnum):
    """How much work goes into the steps: `exact` is the release's sampler, `fast` takes fewer steps of a higher order."""

    EXACT = "exact"
    FAST = "fast"


class Role(StrEnum):
    """The part a visual input plays in the request."""

    SOURCE = "source"
    REFERENCE = "reference"
    FIRST_FRAME = "first_frame"
    VISUAL_PROMPT = "visual_prompt"
    """A picture with marks drawn on it (arrow, cross, ring), read in thinking mode; the plan may give it another part as well."""


class Variant(StrEnum):
    """How the MLLM's states reach the connector (NUMERICS, from instruction to context, 3)."""

    HIDDEN = "hidden"
    QUERIES = "queries"


class MLLMConfig(Contract):
    """How a Qwen2.5-VL is used. Its architecture is the `config.json` beside its weights.

    Pixels are counted per picture after sizing; `source_video_frames` is how many frames of a source video it sees.
    """

    variant: Variant = Variant.HIDDEN
    num_queries: Annotated[int, Field(ge=0)] = 0
    source_video_frames: PositiveInt = 2
    understanding_video_frames: PositiveInt = 8
    min_pixels: PositiveInt = 256 * 28 * 28
    max_pixels: PositiveInt = 480 * 854
    max_text_tokens: PositiveInt = 2048
    max_new_tokens: PositiveInt = 1000
    max_plan_tokens: PositiveInt = 1500
    """A plan that is longer is brought to its end at once."""
    understanding_area_px: PositiveInt = 720 * 1280
    """Area of what questions are about, in its own ratio (NUMERICS, from instruction to context, 6)."""


class ConnectorConfig(Contract):
    """RMSNorm → Linear d → 4d → GELU → Linear 4d → context (NUMERICS, from instruction to context, 4)."""

    in_dim: PositiveInt
    out_dim: PositiveInt
    eps: PositiveFloat = 1e-6


class MMDiTConfig(Contract):
    """HunyuanVideo's dual-stream and single-stream transformer; the field names are the released configuration's."""

    in_channels: PositiveInt = 16
    out_channels: PositiveInt = 16
    num_attention_heads: PositiveInt
    attention_head_dim: PositiveInt
    num_layers: Annotated[int, Field(ge=0)]
    num_single_layers: Annotated[int, Field(ge=0)]
    num_refiner_layers: PositiveInt = 2
    mlp_ratio: PositiveFloat = 4.0
    patch_size: PositiveInt = 2
    patch_size_t: Literal[1] = 1
    rope_axes_dim: tuple[PositiveInt, PositiveInt, PositiveInt]
    rope_theta: PositiveFloat = 256.0
    guidance_embeds: bool = True
    text_embed_dim: PositiveInt
    """Width of the MLLM's hidden states: the connector's input."""
    context_dim: PositiveInt = 4096
    """Width of the connector's output: the refiner's input."""

    @property
    def hidden_size(self) -> int:
        """Model width D = heads × head dimension."""
        return self.num_attention_heads * self.attention_head_dim


class HunyuanVAEConfig(Contract):
    """`AutoencoderKLHunyuanVideo` (diffusers); latents are multiplied by `scaling_factor` after encoding."""

    family: Literal["hunyuan"] = "hunyuan"
    in_channels: PositiveInt = 3
    out_channels: PositiveInt = 3
    latent_channels: PositiveInt = 16
    block_out_channels: tuple[PositiveInt, ...] = (128, 256, 512, 512)
    layers_per_block: PositiveInt = 2
    norm_num_groups: PositiveInt = 32
    mid_block_add_attention: bool = True
    scaling_factor: PositiveFloat = 0.476986
    spatial_compression_ratio: PositiveInt = 8
    temporal_compression_ratio: PositiveInt = 4


class PatchVAEConfig(Contract):
    """Mini's codec: a causal transformer over 8×8 px patches, the first frame alone, then groups of four."""

    family: Literal["patch"] = "patch"
    latent_channels: PositiveInt = 16
    width: PositiveInt = 256
    heads: PositiveInt = 4
    encoder_layers: PositiveInt = 2
    decoder_layers: PositiveInt = 4
    mlp_ratio: PositiveFloat = 4.0
    spatial_compression_ratio: PositiveInt = 8
    temporal_compression_ratio: PositiveInt = 4


VAEConfig = Annotated[HunyuanVAEConfig | PatchVAEConfig, Field(discriminator="family")]


class ScheduleConfig(Contract):
    """Flow-matching sigmas, shifted by s·σ / (1 + (s − 1)·σ)."""

    num_train_timesteps: PositiveInt = 1000
    shift: PositiveFloat = 7.0
    guidance_embedding: Annotated[float, Field(ge=0)] = 6000.0
    """What the guidance embedding is always fed (6.0 × 1000 in the release)."""


class FastConfig(Contract):
    """The tier `fast`: a second-order multistep solver in fewer steps, some without guidance passes (`vogue.engines.tiers`)."""

    steps_share: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Of the task's own steps, where the request names none."""


class TaskDefaults(Contract):
    """Steps, text scale g, image scale h, canvas and frames of a task when the request does not say."""

    steps: PositiveInt
    guidance: PositiveFloat
    image_guidance: PositiveFloat = 1.0
    height_px: PositiveInt
    width_px: PositiveInt
    num_frames: PositiveInt


class Limits(Contract):
    """What a preset accepts. Sides are multiples of `side_multiple_px`; frames are 4k + 1."""

    min_side_px: PositiveInt = 16
    max_side_px: PositiveInt
    max_area_px: PositiveInt
    side_multiple_px: PositiveInt = 16
    max_frames: PositiveInt
    max_steps: PositiveInt = 200
    max_guidance: PositiveFloat = 30.0
    max_references: PositiveInt = 4
    max_visuals: PositiveInt = 8
    max_instruction_chars: PositiveInt = 4000
    max_upload_bytes: PositiveInt = 512 * 1024 * 1024
    max_source_pixels: PositiveInt = 64_000_000
    max_source_duration_s: PositiveFloat = 1800.0


class Prompts(Contract):
    """Wording around the instruction: the system prompt and one task instruction per task (NUMERICS, Prompts).

    `plan` and `review` stand before the request when the MLLM is asked for a plan, or for scores of a result; how the rest is laid
    out is in `vogue.engines.thinking`.
    """

    system: str
    tasks: dict[Task, str]
    plan: str = "plan: "
    review: str = "review: "


class Preset(Contract):
    """One size of VOGUE: every number that the graph, the services and the engines need."""

    name: str
    mllm: MLLMConfig
    connector: ConnectorConfig
    mmdit: MMDiTConfig
    vae: VAEConfig
    schedule: ScheduleConfig
    prompts: Prompts
    tasks: dict[Task, TaskDefaults]
    limits: Limits
    fps: PositiveFloat
    default_negative_prompt: str
    area_px: PositiveInt
    """Canvas area that a source is sized to."""
    checkpoint_every_steps: PositiveInt = 5
    tier: Tier = Tier.EXACT
    """Of requests that name none."""
    fast: FastConfig = FastConfig()
    can_plan: bool = False
    """Whether the weights have learnt to write plans (thinking mode)."""
    can_review: bool = False
    """Whether the weights have learnt to score results."""
