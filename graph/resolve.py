"""From what a user asks to what is carried out: every open field filled in, every limit checked, before any model runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from vogue.schemas.config import Preset, Role, Task, Tier
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.jobs import Asset
from vogue.schemas.plan import Plan, PlanChoice
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, JobSpec, Thinking, VisualInput

from .limits import at_most, check_visuals, check_wording
from .route import Input, infer, route
from .shapes import canvas_sides, looking_size, result_frames, usable_frames
from .thinking import candidates, check_self_review, needs_plan, planned, thinking_for

__all__ = ["Resolved", "choices", "resolve", "settle"]

T = TypeVar("T")

_OF_ANSWERS = ("temperature", "max_new_tokens")
_OF_MEDIA = (
    "negative_prompt",
    "height_px",
    "width_px",
    "num_frames",
    "steps",
    "tier",
    "guidance",
    "image_guidance",
    "self_review",
)


class Resolved(NamedTuple):
    """A request made explicit, and what its owner should know about how."""

    spec: JobSpec
    notices: tuple[str, ...]


def resolve(request: GenerationRequest, preset: Preset, assets: Mapping[str, Asset], fresh_seed: int) -> Resolved:
    """Fill in and check a request. One that shall be planned is filled in as it will be if the plan changes nothing.

    Args:
        assets: the probed upload behind each `upload_id` of the request.
        fresh_seed: taken when the request names none.

    Raises:
        LimitExceeded: something is longer, larger or more than the preset allows.
        ShapeUnsupported: a size or frame count that the preset cannot make.
        TaskUnsupported: the inputs fit no task, or the preset cannot do it.
        ThinkingUnavailable: a plan is asked for or needed, and the weights cannot write any.
        ReviewUnavailable: scores are asked for, and the weights cannot give any.
        RequestInvalid: something else that contradicts itself.
    """
    check_wording(request, preset)
    check_visuals(request, preset.limits, assets)
    check_self_review(request, preset)
    thinking = thinking_for(request, preset)
    if thinking is Thinking.OFF:
        return fill(request, preset, assets, fresh_seed)
    spec, notices = fill(_likely(request, preset, assets), preset, assets, fresh_seed)
    return Resolved(spec.model_copy(update={"instruction": request.instruction, "thinking": thinking}), notices)


def _likely(request: GenerationRequest, preset: Preset, assets: Mapping[str, Asset]) -> GenerationRequest:
    """The request itself where its roles are named; else as the first plan makes it that can be carried out."""
    possible = choices(request, preset, assets) if needs_plan(request) is not None else ()
    return planned(request, possible[0]) if possible else request


def choices(request: GenerationRequest, preset: Preset, assets: Mapping[str, Asset]) -> tuple[PlanChoice, ...]:
    """Every plan that can be carried out with this request's inputs and numbers; the one that uses most inputs comes first.

    Raises:
        RequestInvalid: too many inputs without a role.
    """

    def fits(choice: PlanChoice) -> bool:
        try:
            spec = fill(planned(request, choice), preset, assets, 0).spec
        except RequestInvalid:
            return False
        return spec.task is not Task.T2V or spec.num_frames > 1

    def rank(choice: PlanChoice) -> tuple[int, bool, bool]:
        inputs = [(role, kinds[tag]) for tag, role in choice.roles.items() if role is not Role.VISUAL_PROMPT]
        asks = choice.task is Task.UNDERSTAND
        return len(choice.roles) - len(inputs), asks, asks or choice.task is not infer(inputs, request.num_frames == 1)

    kinds = {visual.tag: assets[visual.upload_id].kind for visual in request.visuals}
    return tuple(sorted(candidates(request, kinds, preset, fits), key=rank))


def settle(request: GenerationRequest, plan: Plan, preset: Preset, assets: Mapping[str, Asset], seed: int) -> Resolved:
    """Fill in and check a request as its plan makes it.

    Raises:
        RequestInvalid: the plan cannot be carried out.
    """
    made = planned(request, plan)
    check_wording(made, preset)
    check_visuals(made, preset.limits, assets)
    return fill(made, preset, assets, seed)


def fill(request: GenerationRequest, preset: Preset, assets: Mapping[str, Asset], fresh_seed: int) -> Resolved:
    """Fill in a request whose inputs have their roles.

    Raises:
        RequestInvalid: it contradicts itself, the inputs or the preset.
    """
    inputs = [_input(visual, assets) for visual in request.visuals]
    task = route(request.task, inputs, request.num_frames == 1, preset)
    _check_fields(request, task)
    if task is Task.UNDERSTAND:
        return _question(request, preset, assets, fresh_seed)
    defaults, tier = preset.tasks[task], _or(request.tier, preset.tier)
    guide = next((v for v in request.visuals if v.role in (Role.SOURCE, Role.FIRST_FRAME)), None)
    guide_asset = assets[guide.upload_id] if guide is not None else None
    height_px, width_px = canvas_sides(request, preset, task, guide_asset)
    source = guide_asset if guide_asset is not None and guide_asset.kind is MediaKind.VIDEO else None
    num_frames = result_frames(request, preset, task, source)
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
        steps=at_most("steps", _or(request.steps, _usual_steps(defaults.steps, tier, preset)), preset.limits.max_steps),
        tier=tier,
        guidance=at_most("guidance", _or(request.guidance, defaults.guidance), preset.limits.max_guidance),
        image_guidance=_image_guidance(request, preset, task),
        seed=_or(request.seed, fresh_seed),
        self_review=request.self_review,
        preview_every_steps=request.preview_every_steps,
    )
    return Resolved(spec, tuple(notices))


def _question(request: GenerationRequest, preset: Preset, assets: Mapping[str, Asset], seed: int) -> Resolved:
    """What a question comes to: how its inputs are looked at, and how long the answer may be."""
    clips = [(v.tag, asset) for v in request.visuals if (asset := assets[v.upload_id]).kind is MediaKind.VIDEO]
    sizes = [looking_size(assets[visual.upload_id], preset) for visual in request.visuals]
    height_px, width_px = max(sizes, default=(preset.limits.min_side_px,) * 2)
    most = preset.limits.max_frames
    num_frames = max((usable_frames(asset.num_frames, most) for _, asset in clips), default=1)
    longest = preset.mllm.max_new_tokens
    spec = JobSpec(
        task=Task.UNDERSTAND,
        instruction=request.instruction,
        negative_prompt="",
        height_px=height_px,
        width_px=width_px,
        num_frames=num_frames,
        fps=preset.fps,
        steps=0,
        guidance=1.0,
        image_guidance=1.0,
        seed=_or(request.seed, seed),
        temperature=_or(request.temperature, 0.0),
        max_new_tokens=at_most("max_new_tokens", _or(request.max_new_tokens, longest), longest),
    )
    cut = tuple(
        _cut(tag, asset, usable_frames(asset.num_frames, most), preset)
        for tag, asset in clips
        if asset.num_frames > usable_frames(asset.num_frames, most)
    )
    return Resolved(spec, cut)


def _input(visual: VisualInput, assets: Mapping[str, Asset]) -> Input:
    if visual.role is None:
        return Role.SOURCE, assets[visual.upload_id].kind
    return visual.role, assets[visual.upload_id].kind


def _check_fields(request: GenerationRequest, task: Task) -> None:
    """Refuse settings that have no meaning for the task, rather than ignore them."""
    idle = _OF_MEDIA if task is Task.UNDERSTAND else _OF_ANSWERS
    for name in idle:
        if getattr(request, name) is not None:
            raise RequestInvalid(f"{name} has no meaning for the task {task}: leave it out", param=name)


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def _usual_steps(steps: int, tier: Tier, preset: Preset) -> int:
    return max(1, round(steps * preset.fast.steps_share)) if tier is Tier.FAST else steps


def _image_guidance(request: GenerationRequest, preset: Preset, task: Task) -> float:
    """The image scale h; 1 without visuals, where the passes with and without them are the same (u = n)."""
    asked = _or(request.image_guidance, preset.tasks[task].image_guidance)
    seen = any(visual.role is not Role.VISUAL_PROMPT for visual in request.visuals)
    return at_most("image_guidance", asked, preset.limits.max_guidance) if seen else 1.0


def _cut(tag: str, source: Asset, num_frames: int, preset: Preset) -> str:
    used = f"{num_frames} frame{'s' if num_frames > 1 else ''}"
    if source.fps > 0:
        used += f" ({num_frames / source.fps:.2f} s)"
    return (
        f"{tag} has {source.num_frames} frames; the first {used} are used (4k + 1, at most {preset.limits.max_frames})"
    )
