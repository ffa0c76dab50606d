"""The limits that a request must keep, whatever it asks for: wording, number and size of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from vogue.schemas.config import Limits, Preset, Role
from vogue.schemas.errors import LimitExceeded, RequestInvalid
from vogue.schemas.jobs import Asset
from vogue.schemas.requests import GenerationRequest

__all__ = ["at_most", "check_visuals", "check_wording"]

N = TypeVar("N", int, float)


def at_most(name: str, value: N, limit: N) -> N:
    """The value.

    Raises:
        LimitExceeded: it is above the limit.
    """
    if value > limit:
        raise LimitExceeded(f"{name} is {value}, and at most {limit} is accepted", param=name)
    return value


def check_wording(request: GenerationRequest, preset: Preset) -> None:
    """Refuse texts that are too long.

    Raises:
        LimitExceeded: one is.
    """
    for name, text in (("instruction", request.instruction), ("negative_prompt", request.negative_prompt or "")):
        if len(text) > preset.limits.max_instruction_chars:
            raise LimitExceeded(
                f"the {name} has {len(text)} characters, and at most {preset.limits.max_instruction_chars} are accepted",
                param=name,
            )


def check_visuals(request: GenerationRequest, limits: Limits, assets: Mapping[str, Asset]) -> None:
    """Refuse inputs that are too many, too large, too long, or called what they are not.

    Raises:
        LimitExceeded: too many, large or long.
        RequestInvalid: a tag that names a picture stands for a clip, or the other way round.
    """
    at_most("visuals", len(request.visuals), limits.max_visuals)
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
