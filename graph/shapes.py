"""Sizes: the canvas and the number of frames of a result, and what inputs are looked at in."""

from __future__ import annotations

from math import ceil, prod, sqrt

from vogue.schemas.config import Limits, Preset, Task
from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.jobs import Asset
from vogue.schemas.requests import GenerationRequest

__all__ = ["canvas", "canvas_sides", "fitting_size", "looking_size", "nearest_frames", "result_frames", "usable_frames"]


def canvas(height_px: int, width_px: int, area_px: int, multiple_px: int) -> tuple[int, int]:
    """Height and width that a source is made at: its aspect ratio at the area, cut down to multiples (NUMERICS, Latents)."""
    ratio = width_px / height_px
    height = sqrt(area_px / ratio)
    width = round(height * ratio)
    return round(height) // multiple_px * multiple_px, width // multiple_px * multiple_px


def usable_frames(num_frames: int, most: int) -> int:
    """The largest 4k + 1 that is not above either."""
    return (min(num_frames, most) - 1) // 4 * 4 + 1


def fitting_size(height_px: int, width_px: int, limits: Limits) -> tuple[int, int]:
    """The (height, width) within `limits` that comes nearest in shape and area."""
    scale = min(1.0, sqrt(limits.max_area_px / (height_px * width_px)), limits.max_side_px / max(height_px, width_px))
    step = limits.side_multiple_px
    least = ceil(limits.min_side_px / step)
    height, width = (max(least, round(side * scale / step)) for side in (height_px, width_px))
    while height * width * step * step > limits.max_area_px or max(height, width) * step > limits.max_side_px:
        if height >= width:
            height -= 1
        else:
            width -= 1
    return height * step, width * step


def nearest_frames(num_frames: int, most: int) -> int:
    """The 4k + 1 up to `most` that comes nearest."""
    return min(max(0, round((num_frames - 1) / 4)) * 4 + 1, usable_frames(most, most))


def looking_size(asset: Asset, preset: Preset) -> tuple[int, int]:
    """Height and width that an input is looked at in, to answer a question about it."""
    least = preset.limits.min_side_px
    height_px, width_px = canvas(asset.height_px, asset.width_px, preset.mllm.understanding_area_px, 2)
    return max(height_px, least), max(width_px, least)


def canvas_sides(request: GenerationRequest, preset: Preset, task: Task, guide: Asset | None) -> tuple[int, int]:
    """Canvas height and width: those of the source at the preset's area, else the request's, else the task's."""
    defaults, limits = preset.tasks[task], preset.limits
    if guide is None:
        height_px, width_px = request.height_px or defaults.height_px, request.width_px or defaults.width_px
    else:
        height_px, width_px = _canvas_of(guide, preset)
        asked = (request.height_px or height_px, request.width_px or width_px)
        if asked != (height_px, width_px):
            raise ShapeUnsupported(
                f"{task} keeps the shape of its input, here {width_px}×{height_px}, and cannot make {asked[1]}×{asked[0]}:"
                " leave height_px and width_px out",
                param="height_px" if asked[0] != height_px else "width_px",
            )
    for name, side in (("height_px", height_px), ("width_px", width_px)):
        if not limits.min_side_px <= side <= limits.max_side_px or side % limits.side_multiple_px:
            raise ShapeUnsupported(
                f"{name} would be {side}; the preset {preset.name} makes multiples of {limits.side_multiple_px}"
                f" from {limits.min_side_px} to {limits.max_side_px}{_nearest(height_px, width_px, limits)}",
                param=name,
            )
    if height_px * width_px > limits.max_area_px:
        raise ShapeUnsupported(
            f"{width_px}×{height_px} are {height_px * width_px} pixels; the preset {preset.name} makes at most"
            f" {limits.max_area_px}{_nearest(height_px, width_px, limits)}",
            param="height_px",
        )
    return height_px, width_px


def _nearest(height_px: int, width_px: int, limits: Limits) -> str:
    # A source that is a hundred times as wide as high comes to no rows at all.
    height, width = fitting_size(max(1, height_px), max(1, width_px), limits)
    return f"; the nearest size is {width}×{height}"


def _canvas_of(guide: Asset, preset: Preset) -> tuple[int, int]:
    """What an input is edited at. A result stays as it is, so that nothing is resized from turn to turn."""
    if guide.is_result and _makes(guide.height_px, guide.width_px, preset.limits):
        return guide.height_px, guide.width_px
    return canvas(guide.height_px, guide.width_px, preset.area_px, preset.limits.side_multiple_px)


def _makes(height_px: int, width_px: int, limits: Limits) -> bool:
    sides = (height_px, width_px)
    in_range = all(limits.min_side_px <= side <= limits.max_side_px for side in sides)
    return in_range and not any(side % limits.side_multiple_px for side in sides) and prod(sides) <= limits.max_area_px


def result_frames(request: GenerationRequest, preset: Preset, task: Task, source: Asset | None) -> int:
    """Frames of the result: the request's, else the source's as far as the preset goes, else the task's."""
    most = preset.limits.max_frames if task.makes_video else 1
    if request.num_frames is None:
        return usable_frames(source.num_frames, most) if source is not None else preset.tasks[task].num_frames
    if request.num_frames > most or request.num_frames % 4 != 1:
        made = f"4k + 1 frames, at most {most}" if most > 1 else "one frame"
        raise ShapeUnsupported(
            f"num_frames is {request.num_frames}; with the preset {preset.name}, {task} makes {made};"
            f" the nearest is {nearest_frames(request.num_frames, most)}",
            param="num_frames",
        )
    return request.num_frames
