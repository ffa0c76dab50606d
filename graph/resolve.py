"""From what a user asks to what is carried out: every open field filled in, every limit checked, before any model runs."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod, sqrt
from typing import NamedTuple, TypeVar

from vogue.schemas.config import Limits, Preset, Role, Task
from vogue.schemas.errors import LimitExceeded, RequestInvalid, ShapeUnsupported, ThinkingUnavailable
from vogue.schemas.jobs import Asset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, Thinking

from .route import route

__all__ = ["Resolved", "canvas", "resolve", "usable_frames"]

T = TypeVar("T")
N = TypeVar("N", int, float)


class Resolved(NamedTuple):
    """A request made explicit, and what its owner should know about how."""

    spec: JobSpec
    notices: tuple[str, ...]


def resolve(request: GenerationRequest, preset: Preset, assets: Mapping[str, Asset], fresh_seed: int) -> Resolved:
    """Fill in and check a request.

    Args:
        assets: the probed upload behind each `upload_id` of the request.
        fresh_seed: taken when the request names none.

    Raises:
        LimitExceeded: something is longer, larger or more than the preset allows.
        ShapeUnsupported: a size or frame count that the preset cannot make.
        TaskUnsupported: the inputs fit no task, or the preset cannot do it.
        ThinkingUnavailable: a plan was asked for, and the preset cannot write any.
        RequestInvalid: a tag that names a picture stands for a clip, or the other way round.
    """
    _check_wording(request, preset)
    _check_visuals(request, preset.limits, assets)
    inputs = [(visual.role, assets[visual.upload_id].kind) for visual in request.visuals]
    task = route(request.task, inputs, request.num_frames == 1, preset)
    defaults = preset.tasks[task]
    guide = next((v for v in request.visuals if v.role in (Role.SOURCE, Role.FIRST_FRAME)), None)
    guide_asset = assets[guide.upload_id] if guide is not None else None
    height_px, width_px = _shape(request, preset, task, guide_asset)
    source = guide_asset if guide_asset is not None and guide_asset.kind is MediaKind.VIDEO else None
    num_frames = _num_frames(request, preset, task, source)
    notices = []
    if source is not None and guide is not None and source.num_frames > num_frames:
        notices.append(_cut(guide.tag, source, num_frames, preset))
    spec = JobSpec(
        task=task,
        instruction=request.instruction,
        negative_prompt=_or(request.negative_prompt, preset.default_negative_prompt),
        height_px=height_px,
        width_px=width_px,
        num_frames=num_frames,
        fps=source.fps if source is not None and source.fps > 0 else preset.fps,
        steps=_at_most("steps", _or(request.steps, defaults.steps), preset.limits.max_steps),
        guidance=_at_most("guidance", _or(request.guidance, defaults.guidance), preset.limits.max_guidance),
        image_guidance=_image_guidance(request, preset, task),
        seed=_or(request.seed, fresh_seed),
        thinking=_thinking(request.thinking, preset),
    )
    return Resolved(spec, tuple(notices))


def canvas(height_px: int, width_px: int, area_px: int, multiple_px: int) -> tuple[int, int]:
    """Height and width that a source is made at: its aspect ratio at the area, cut down to multiples (NUMERICS, Latents)."""
    ratio = width_px / height_px
    height = sqrt(area_px / ratio)
    width = round(height * ratio)
    return round(height) // multiple_px * multiple_px, width // multiple_px * multiple_px


def usable_frames(num_frames: int, most: int) -> int:
    """The largest 4k + 1 that is not above either."""
    return (min(num_frames, most) - 1) // 4 * 4 + 1


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _at_most(name: str, value: N, limit: N) -> N:
    if value > limit:
        raise LimitExceeded(f"{name} is {value}, and at most {limit} is accepted", param=name)
    return value


def _image_guidance(request: GenerationRequest, preset: Preset, task: Task) -> float:
    """The image scale h; 1 without visuals, where the passes with and without them are the same (u = n)."""
    asked = _or(request.image_guidance, preset.tasks[task].image_guidance)
    return _at_most("image_guidance", asked, preset.limits.max_guidance) if request.visuals else 1.0


def _check_wording(request: GenerationRequest, preset: Preset) -> None:
    for name, text in (("instruction", request.instruction), ("negative_prompt", request.negative_prompt or "")):
        if len(text) > preset.limits.max_instruction_chars:
            raise LimitExceeded(
                f"the {name} has {len(text)} characters, and at most {preset.limits.max_instruction_chars} are accepted",
                param=name,
            )


def _check_visuals(request: GenerationRequest, limits: Limits, assets: Mapping[str, Asset]) -> None:
    _at_most("visuals", len(request.visuals), limits.max_visuals)
    references = sum(visual.role is Role.REFERENCE for visual in request.visuals)
    if references > limits.max_references:
        raise LimitExceeded(
            f"{references} references were given, and at most {limits.max_references} are accepted", param="visuals"
        )
    for index, visual in enumerate(request.visuals):
        asset, where = assets[visual.upload_id], f"visuals.{index}"
        if not visual.tag.startswith(asset.kind.value):
            raise RequestInvalid(
                f"the tag {visual.tag} stands for the upload {asset.filename!r}, which is {asset.kind}: call it {asset.kind}1",
                param=f"{where}.tag",
            )
        if asset.height_px * asset.width_px > limits.max_source_pixels:
            raise LimitExceeded(
                f"{visual.tag} has {asset.width_px}×{asset.height_px} pixels, and at most {limits.max_source_pixels} are accepted",
                param=f"{where}.upload_id",
            )
        duration_s = asset.num_frames / asset.fps if asset.fps else 0.0
        if duration_s > limits.max_source_duration_s:
            raise LimitExceeded(
                f"{visual.tag} lasts {duration_s:.1f} s, and at most {limits.max_source_duration_s:g} s are accepted",
                param=f"{where}.upload_id",
            )


def _thinking(asked: Thinking, preset: Preset) -> Thinking:
    if preset.can_plan:
        return asked
    if asked in (Thinking.ON, Thinking.REVIEW):
        raise ThinkingUnavailable(
            f"the preset {preset.name} has not learnt to write plans; send thinking as off or auto", param="thinking"
        )
    return Thinking.OFF


def _shape(request: GenerationRequest, preset: Preset, task: Task, guide: Asset | None) -> tuple[int, int]:
    """Canvas height and width: those of the source at the preset's area, else the request's, else the task's."""
    defaults, limits = preset.tasks[task], preset.limits
    if guide is None:
        height_px, width_px = _or(request.height_px, defaults.height_px), _or(request.width_px, defaults.width_px)
    else:
        height_px, width_px = _canvas_of(guide, preset)
        asked = (_or(request.height_px, height_px), _or(request.width_px, width_px))
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
                f" from {limits.min_side_px} to {limits.max_side_px}",
                param=name,
            )
    if height_px * width_px > limits.max_area_px:
        raise ShapeUnsupported(
            f"{width_px}×{height_px} are {height_px * width_px} pixels; the preset {preset.name} makes at most"
            f" {limits.max_area_px}",
            param="height_px",
        )
    return height_px, width_px


def _canvas_of(guide: Asset, preset: Preset) -> tuple[int, int]:
    """What an input is edited at. A result stays as it is, so that nothing is resized from turn to turn."""
    if guide.is_result and _makes(guide.height_px, guide.width_px, preset.limits):
        return guide.height_px, guide.width_px
    return canvas(guide.height_px, guide.width_px, preset.area_px, preset.limits.side_multiple_px)


def _makes(height_px: int, width_px: int, limits: Limits) -> bool:
    sides = (height_px, width_px)
    in_range = all(limits.min_side_px <= side <= limits.max_side_px for side in sides)
    return in_range and not any(side % limits.side_multiple_px for side in sides) and prod(sides) <= limits.max_area_px


def _num_frames(request: GenerationRequest, preset: Preset, task: Task, source: Asset | None) -> int:
    """Frames of the result: the request's, else the source's as far as the preset goes, else the task's."""
    most = preset.limits.max_frames if task.makes_video else 1
    if request.num_frames is None:
        return usable_frames(source.num_frames, most) if source is not None else preset.tasks[task].num_frames
    if request.num_frames > most or request.num_frames % 4 != 1:
        made = f"4k + 1 frames, at most {most}" if most > 1 else "one frame"
        raise ShapeUnsupported(
            f"num_frames is {request.num_frames}; with the preset {preset.name}, {task} makes {made}",
            param="num_frames",
        )
    return request.num_frames


def _cut(tag: str, source: Asset, num_frames: int, preset: Preset) -> str:
    used = f"{num_frames} frame{'s' if num_frames > 1 else ''}"
    if source.fps > 0:
        used += f" ({num_frames / source.fps:.2f} s)"
    return (
        f"{tag} has {source.num_frames} frames; the first {used} are used (4k + 1, at most {preset.limits.max_frames})"
    )
