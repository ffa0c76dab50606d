"""The presets: one code path, four sizes.

`tiny` is random and takes milliseconds; `mini` is trained by this project and runs on a laptop; the two `univideo` presets are the
released 7B + 13B weights (sizes and defaults: NUMERICS, from the authors' release). Prompts are this project's own wording, except that
a preset folder may bring a `prompts.json` with another.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from .config import (
    ConnectorConfig,
    HunyuanVAEConfig,
    Limits,
    MLLMConfig,
    MMDiTConfig,
    PatchVAEConfig,
    Preset,
    Prompts,
    ScheduleConfig,
    Task,
    TaskDefaults,
    Variant,
)
from .errors import RequestInvalid

__all__ = ["PRESETS", "Learnt", "get_preset", "limited_to"]

_SHORT_PROMPTS = Prompts(
    system="make what is asked.",
    tasks={
        Task.T2I: "make a picture: ",
        Task.T2V: "make a video: ",
        Task.I2V: "animate the picture: ",
        Task.I2I_EDIT: "edit the picture: ",
        Task.V2V_EDIT: "edit the video: ",
        Task.REF_I2I_EDIT: "edit the picture with the reference: ",
        Task.REF_V2V_EDIT: "edit the video with the reference: ",
        Task.MULTIID: "make a video with the references: ",
    },
)

_FULL_PROMPTS = Prompts(
    system="You create pictures and videos. Read the request with care and produce exactly what it describes.",
    tasks={
        Task.T2I: "Create a high-quality picture that matches this caption in every object, colour, count, place and background: ",
        Task.T2V: "Create a high-quality video that matches this caption in every object, colour, count, place, movement and background: ",
        Task.I2V: "Bring the given picture to life as a high-quality video that keeps everything in it and follows this caption: ",
        Task.I2I_EDIT: "Edit the given picture as told and leave everything else as it is: ",
        Task.V2V_EDIT: "Edit the given video as told, steadily over time, and leave everything else as it is: ",
        Task.REF_I2I_EDIT: "Edit the last picture with the help of the reference picture as told, and leave everything else as it is: ",
        Task.REF_V2V_EDIT: "Edit the given video with the help of the reference picture as told, and leave everything else as it is: ",
        Task.MULTIID: "Create a high-quality video that brings the subjects of all given pictures together and follows this caption: ",
    },
    plan=(
        "Plan how to meet the request below; do not meet it yet. Look at every input, and at marks drawn on a visual prompt: an arrow"
        " says where something moves, a cross what to delete, a ring with a colour what to recolour. Answer with one JSON object: the"
        " task, the role of each input, the steps, and a dense prompt that describes the result in full, with every subject, colour,"
        " place, movement and the background, so that it needs no other words. If the request cannot be met, such as when it speaks"
        " of something that is not there, answer with a clarification instead: one question to the user.\n"
    ),
    review=(
        "Judge the last picture or clip, which was made for the request below from the inputs before it. Answer with one JSON object"
        " of scores from 0 to 10: quality (free of artefacts and distortion), instruction_following (everything asked for is there),"
        " over_editing (10 when nothing was changed but what was asked).\n"
    ),
)


def _small_tasks(side_px: int, num_frames: int, steps: int) -> dict[Task, TaskDefaults]:
    """Task defaults of the square presets: text scale 4 for generation, 3 with an image scale of 1.5 for edits."""

    def one(guidance: float, image_guidance: float, frames: int) -> TaskDefaults:
        return TaskDefaults(
            steps=steps,
            guidance=guidance,
            image_guidance=image_guidance,
            height_px=side_px,
            width_px=side_px,
            num_frames=frames,
        )

    return {
        Task.T2I: one(4.0, 1.0, 1),
        Task.T2V: one(4.0, 1.0, num_frames),
        Task.I2V: one(3.0, 1.0, num_frames),
        Task.I2I_EDIT: one(3.0, 1.5, 1),
        Task.V2V_EDIT: one(3.0, 1.5, num_frames),
        Task.REF_I2I_EDIT: one(3.0, 1.5, 1),
        Task.REF_V2V_EDIT: one(3.0, 1.5, num_frames),
        Task.MULTIID: one(3.0, 1.5, num_frames),
    }


TINY = Preset(
    name="tiny",
    mllm=MLLMConfig(
        min_pixels=16 * 16, max_pixels=64 * 64, max_new_tokens=8, max_plan_tokens=48, understanding_area_px=64 * 64
    ),
    connector=ConnectorConfig(in_dim=32, out_dim=48),
    mmdit=MMDiTConfig(
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        rope_axes_dim=(4, 6, 6),
        text_embed_dim=32,
        context_dim=48,
    ),
    vae=PatchVAEConfig(width=32, heads=2, encoder_layers=1, decoder_layers=1),
    schedule=ScheduleConfig(shift=3.0),
    prompts=_SHORT_PROMPTS,
    tasks=_small_tasks(32, 5, 4),
    limits=Limits(max_side_px=64, max_area_px=64 * 64, max_frames=9, max_steps=64, max_upload_bytes=32 * 1024 * 1024),
    fps=8.0,
    default_negative_prompt="bad",
    area_px=32 * 32,
    checkpoint_every_steps=2,
    can_plan=True,
    can_review=True,
)

MINI = Preset(
    name="mini",
    mllm=MLLMConfig(
        min_pixels=64 * 64,
        max_pixels=64 * 64,
        max_text_tokens=256,
        max_new_tokens=64,
        max_plan_tokens=256,
        understanding_area_px=64 * 64,
    ),
    connector=ConnectorConfig(in_dim=192, out_dim=256),
    mmdit=MMDiTConfig(
        num_attention_heads=3,
        attention_head_dim=64,
        num_layers=4,
        num_single_layers=6,
        rope_axes_dim=(16, 24, 24),
        text_embed_dim=192,
        context_dim=256,
    ),
    vae=PatchVAEConfig(),
    schedule=ScheduleConfig(shift=3.0),
    prompts=_SHORT_PROMPTS,
    tasks=_small_tasks(64, 17, 20),
    limits=Limits(max_side_px=128, max_area_px=96 * 96, max_frames=17, max_instruction_chars=1000),
    fps=8.0,
    default_negative_prompt="bad",
    area_px=64 * 64,
    # A quarter of a second of work: keeping latents costs the same whatever a step takes, and here steps are short.
    checkpoint_every_steps=10,
)


def _released_tasks() -> dict[Task, TaskDefaults]:
    """Steps, g and h of the release by task (NUMERICS, guidance and schedule)."""

    def one(steps: int, g: float, h: float, frames: int, width_px: int = 848) -> TaskDefaults:
        return TaskDefaults(
            steps=steps, guidance=g, image_guidance=h, height_px=480, width_px=width_px, num_frames=frames
        )

    return {
        Task.T2I: one(30, 6.0, 1.0, 1),
        Task.T2V: one(30, 6.0, 1.0, 61),
        Task.I2V: one(30, 5.0, 1.0, 129),
        Task.MULTIID: one(50, 5.0, 3.0, 129, 832),
        Task.I2I_EDIT: one(50, 7.0, 2.0, 1, 832),
        Task.REF_I2I_EDIT: one(50, 7.0, 2.0, 1),
        Task.V2V_EDIT: one(50, 7.0, 2.0, 129),
        Task.REF_V2V_EDIT: one(50, 7.0, 2.0, 129, 832),
    }


def _univideo(name: str, mllm: MLLMConfig) -> Preset:
    return Preset(
        name=name,
        mllm=mllm,
        connector=ConnectorConfig(in_dim=3584, out_dim=4096),
        mmdit=MMDiTConfig(
            num_attention_heads=24,
            attention_head_dim=128,
            num_layers=20,
            num_single_layers=40,
            rope_axes_dim=(16, 56, 56),
            text_embed_dim=3584,
            context_dim=4096,
        ),
        vae=HunyuanVAEConfig(),
        schedule=ScheduleConfig(shift=7.0),
        prompts=_FULL_PROMPTS,
        tasks=_released_tasks(),
        limits=Limits(max_side_px=1280, max_area_px=720 * 1280, max_frames=129),
        fps=24.0,
        default_negative_prompt="overexposed, blurry, distorted, static, low quality, watermark, deformed hands, extra limbs",
        area_px=480 * 854,
        can_plan=True,
        can_review=True,
    )


PRESETS = {
    preset.name: preset
    for preset in (
        TINY,
        MINI,
        _univideo("univideo-hidden", MLLMConfig()),
        _univideo("univideo-queries", MLLMConfig(variant=Variant.QUERIES, num_queries=512, source_video_frames=8)),
    )
}


class Learnt(BaseModel):
    """What the `preset.json` beside weights says that they have learnt; the sizes in it are for readers."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tasks: dict[Task, TaskDefaults]
    can_plan: bool = False
    can_review: bool = False


def limited_to(preset: Preset, learnt: Learnt) -> Preset:
    """The preset as these weights can serve it. Numbers stay those of the code."""
    tasks = {task: defaults for task, defaults in preset.tasks.items() if task in learnt.tasks}
    return preset.model_copy(update={"tasks": tasks, "can_plan": learnt.can_plan, "can_review": learnt.can_review})


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        RequestInvalid: no such preset; the message lists those that exist.
    """
    if name not in PRESETS:
        raise RequestInvalid(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}", param="preset")
    return PRESETS[name]
