"""From OpenAI's words to ours: prompts and knobs to a `GenerationRequest`, and errors back to the fields the caller wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import ModelNotFound, RequestInvalid, VogueError
from vogue.schemas.jobs import Asset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, Thinking, VisualInput
from vogue.schemas.wire import validate

from .fields import frames_of, parse_size
from .requests import ChatRequest, ImageRequest, Knobs, VideoRequest

__all__ = [
    "Given",
    "check_model",
    "default_roles",
    "generation",
    "picture",
    "renamed",
    "shape_of",
    "video",
    "visual_inputs",
]


class Given(NamedTuple):
    """An input of the request: the field it came in, what it turned out to be, and what its owner said of it.

    One that is `fresh` came with the request and is nobody's yet.
    """

    field: str
    asset: Asset
    role: Role | None = None
    tag: str | None = None
    fresh: bool = False


def check_model(name: str | None, preset: Preset) -> None:
    """See that the caller means the model that is served.

    Raises:
        ModelNotFound: another one.
    """
    if name not in (None, "vogue", preset.name):
        raise ModelNotFound(
            f"the model {name[:80]!r} is not served here; name {preset.name!r}, or leave it out", param="model"
        )


def default_roles(kinds: Sequence[MediaKind], makes_video: bool) -> list[Role]:
    """The parts that inputs play when nobody says.

    A clip is edited, and pictures beside it are references. Pictures alone: the first is edited and the others are references,
    if a picture is made; if a video is made, one picture is its first frame, and several are references.
    """
    roles = [Role.REFERENCE] * len(kinds)
    if not kinds:
        return roles
    if MediaKind.VIDEO in kinds:
        roles[list(kinds).index(MediaKind.VIDEO)] = Role.SOURCE
    elif not makes_video:
        roles[0] = Role.SOURCE
    elif len(kinds) == 1:
        roles[0] = Role.FIRST_FRAME
    return roles


def visual_inputs(given: Sequence[Given], knobs: Knobs, makes_video: bool) -> tuple[VisualInput, ...]:
    """Inputs with their tags and roles: `image1`, `image2`, `video1`, … in the order they came.

    Where thinking mode is to plan and no role was named at all, it finds them.

    Raises:
        RequestInvalid: more roles than inputs.
    """
    if len(knobs.roles) > len(given):
        raise RequestInvalid(f"{len(knobs.roles)} roles were given for {len(given)} inputs", param="roles")
    named = [one.role or (knobs.roles[index] if index < len(knobs.roles) else None) for index, one in enumerate(given)]
    plans = knobs.thinking in (Thinking.ON, Thinking.REVIEW) and not any(named)
    defaults = default_roles([one.asset.kind for one in given], makes_video)
    taken = {one.tag for one in given if one.tag is not None}
    counts: Counter[str] = Counter()
    visuals = []
    for one, role, default in zip(given, named, defaults, strict=True):
        tag = one.tag
        while tag is None or (one.tag is None and tag in taken):
            counts[one.asset.kind] += 1
            tag = f"{one.asset.kind}{counts[one.asset.kind]}"
        visuals.append(VisualInput(tag=tag, role=role or (None if plans else default), upload_id=one.asset.id))
    return tuple(visuals)


def generation(
    prompt: str, knobs: Knobs, given: Sequence[Given], makes_video: bool, **fields: Any
) -> GenerationRequest:
    """The request that a prompt with its knobs and inputs stands for."""
    fields = {name: value for name, value in fields.items() if value is not None}
    named = knobs.fields()
    twice = sorted(fields.keys() & named.keys())
    if twice:
        raise RequestInvalid(f"{twice[0]} contradicts what else the request says; leave one out", param=twice[0])
    visuals = visual_inputs(given, knobs, makes_video)
    return validate(GenerationRequest, {"instruction": prompt, "visuals": visuals, **named, **fields})


def shape_of(request: ImageRequest | VideoRequest | ChatRequest, preset: Preset) -> dict[str, int]:
    """Height, width and frames, as far as the request names them in OpenAI's way.

    Raises:
        ShapeUnsupported: the preset cannot make that.
    """
    shape = {}
    if (size := parse_size(request.size, preset)) is not None:
        shape["height_px"], shape["width_px"] = size
    seconds = None if isinstance(request, ImageRequest) else request.seconds
    if seconds is not None:
        shape["num_frames"] = frames_of(seconds, preset)
    return shape


def video(request: VideoRequest, given: Sequence[Given], preset: Preset) -> GenerationRequest:
    """What a call of `/v1/videos` asks for."""
    return generation(request.prompt, request, given, True, **shape_of(request, preset))


def picture(request: ImageRequest, given: Sequence[Given], preset: Preset, index: int = 0) -> GenerationRequest:
    """What a call of `/v1/images` asks for; its pictures have seeds one after the other."""
    still = {} if request.num_frames == 1 else {"num_frames": 1}
    made = generation(request.prompt, request, given, False, **shape_of(request, preset), **still)
    return made.model_copy(update={"seed": made.seed + index}) if index and made.seed is not None else made


def renamed(error: VogueError, knobs: Knobs, given: Sequence[Given]) -> VogueError:
    """The same error about the field that the caller wrote."""
    if error.param is None:
        return error
    names: Mapping[str, tuple[str, str]] = {
        "instruction": ("prompt", "prompt"),
        "num_frames": ("seconds", "seconds"),
        "height_px": ("size", "size"),
        "width_px": ("size", "size"),
    }
    param = error.param
    if param in names and getattr(knobs, names[param][0], None) is not None:
        param = names[param][1]
    elif param == "visuals" and given:
        param = given[0].field
    elif param.startswith("visuals."):
        index = param.split(".")[1]
        param = given[int(index)].field if index.isdigit() and int(index) < len(given) else param
    return type(error)(error.message, param=param, retry_after_s=error.retry_after_s)
