"""What each network sees of a request's visuals: the MLLM its pictures and clips, the codec its pixels.

A visual arrives as decoded frames (`vogue.schemas.references.PreparedVisual`): an image in its own size, a clip already on
the canvas. Roles decide the rest (NUMERICS, from instruction to context, 1 and 2; latents).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vogue.schemas.config import MLLMConfig, Prompts, Role, Task
from vogue.schemas.errors import TaskUnsupported
from vogue.schemas.references import MediaKind
from vogue.schemas.stages import Pass

from .preprocess import (
    SourceSize,
    evenly_spaced,
    fit_source,
    pixels_of,
    place_reference,
    resize_image,
    size_source,
    square_reference,
    to_bytes,
)
from .prompting import Reading

__all__ = ["Canvas", "Visual", "codec_pixels", "question", "readings", "shown"]


@dataclass(frozen=True)
class Canvas:
    """Height and width of the result, and the area that sources were sized to when it was chosen."""

    height: int
    width: int
    area_px: int


@dataclass(frozen=True)
class Visual:
    """A decoded visual input: uint8 frames [F, H, W, 3], one for an image.

    `made_here` says that it is a result of ours: one that has the canvas' size already is taken as it is.
    """

    role: Role
    kind: MediaKind
    frames: NDArray[np.uint8]
    made_here: bool = False


def shown(
    visuals: Iterable[Visual], canvas: Canvas, max_video_frames: int
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """(images, clips) as the MLLM is shown them: references first, each in the order given.

    References whole on a white square, other pictures as on the canvas, clips thinned to `max_video_frames`.
    """
    ordered = sorted(visuals, key=lambda visual: visual.role is not Role.REFERENCE)
    images, videos = [], []
    for visual in ordered:
        if visual.kind is MediaKind.VIDEO:
            videos.append(visual.frames[evenly_spaced(len(visual.frames), max_video_frames)])
        elif visual.role is Role.REFERENCE:
            images.append(square_reference(visual.frames[0]))
        else:
            images.append(to_bytes(_on_canvas(visual, canvas)))
    return images, videos


def readings(
    task: Task,
    instruction: str,
    negative_prompt: str,
    visuals: Sequence[Visual],
    canvas: Canvas,
    passes: Iterable[Pass],
    prompts: Prompts,
    config: MLLMConfig,
) -> dict[Pass, Reading]:
    """What the MLLM reads for each pass of guidance; only the full prompt carries the task instruction.

    Raises:
        TaskUnsupported: the preset has no wording for the task.
    """
    if task not in prompts.tasks:
        raise TaskUnsupported(f"the prompts have no wording for the task {task}", param="task")
    images, videos = shown(visuals, canvas, config.source_video_frames)
    seen = tuple(images), tuple(videos)
    made = {
        Pass.UNCONDITIONAL: Reading(negative_prompt),
        Pass.NEGATIVE: Reading(negative_prompt, "", *seen),
        Pass.CONDITIONAL: Reading(instruction, prompts.tasks[task], *seen),
    }
    return {which: made[which] for which in passes}


def question(
    text: str, visuals: Sequence[Visual], config: MLLMConfig, area_px: int | None = None, task_instruction: str = ""
) -> Reading:
    """What the MLLM reads to answer a question: every picture in its own ratio at the preset's area, clips thinned.

    Raises:
        ShapeUnsupported: a picture is too narrow for the area.
    """
    images: list[NDArray[np.uint8]] = []
    videos: list[NDArray[np.uint8]] = []
    area_px = config.understanding_area_px if area_px is None else area_px
    for visual in visuals:
        size = size_source(visual.frames.shape[1], visual.frames.shape[2], area_px)
        canvas = Canvas(size.height, size.width, area_px)
        pictures, clips = shown([visual], canvas, config.understanding_video_frames)
        images += pictures
        videos += clips
    return Reading(text, task_instruction, tuple(images), tuple(videos))


def codec_pixels(visual: Visual, canvas: Canvas) -> Tensor:
    """What the codec encodes of a visual: [1, 3, F, height, width] in [-1, 1].

    A source image keeps the unrounded floats of its resize.
    """
    if visual.role is Role.REFERENCE:
        return pixels_of(place_reference(visual.frames[0], canvas.height, canvas.width)[None])
    if visual.kind is MediaKind.VIDEO:
        return pixels_of(visual.frames)
    return pixels_of(_on_canvas(visual, canvas))


def _on_canvas(visual: Visual, canvas: Canvas) -> Tensor:
    frame = visual.frames[0]
    if visual.made_here and frame.shape[:2] == (canvas.height, canvas.width):
        return resize_image(frame, SourceSize(canvas.height, canvas.width, canvas.height, canvas.width))
    size = fit_source(frame.shape[0], frame.shape[1], canvas.height, canvas.width, canvas.area_px)
    return resize_image(frame, size)
