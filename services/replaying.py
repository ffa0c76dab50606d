"""Recipes carried out again: what would differ here is found before any model runs."""

from __future__ import annotations

from collections.abc import Mapping

from vogue.graph.resolve import resolve
from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import AssetNotFound, ReplayMismatch, RequestInvalid
from vogue.schemas.jobs import Asset
from vogue.schemas.recipes import Maker, Recipe, RecipeInput, ReplayRequest
from vogue.schemas.requests import GenerationRequest, JobSpec, Thinking
from vogue.schemas.wire import validate

__all__ = ["differences", "input_ids", "missing", "refusal", "replayed"]

_DECIDES = ("preset", "weights", "engine", "dtype", "code")
_FREE = {"thinking", "self_review", "preview_every_steps"}
"""How the parameters came about does not matter to the pixels."""


def input_ids(request: ReplayRequest) -> dict[str, str]:
    """The asset for each input of the recipe, by tag.

    Raises:
        RequestInvalid: a replacement for an input that the recipe does not have.
    """
    ids = {one.tag: one.asset_id for one in request.recipe.inputs}
    if strange := sorted(set(request.replacements) - set(ids)):
        named = ", ".join(ids) or "none"
        raise RequestInvalid(
            f"the recipe has no input {', '.join(strange)}; its inputs are: {named}", param="replacements"
        )
    return ids | dict(request.replacements)


def replayed(recipe: Recipe, ids: Mapping[str, str], assets: Mapping[str, Asset]) -> GenerationRequest:
    """The request that asks for exactly what the recipe says.

    Raises:
        RequestInvalid: a picture in place of a clip, or the other way round; or a recipe that no request can ask for.
    """
    for one in recipe.inputs:
        if assets[ids[one.tag]].kind is not one.kind:
            kind = assets[ids[one.tag]].kind
            raise RequestInvalid(f"{one.tag} of the recipe is a {one.kind}, but {kind} was given", param=one.tag)
    spec = recipe.spec
    # The shape of a result follows its source, which may be another one now.
    guided = any(one.role in (Role.SOURCE, Role.FIRST_FRAME) for one in recipe.inputs)
    fields = {
        "instruction": spec.instruction,
        "task": spec.task,
        "visuals": [{"tag": one.tag, "role": one.role, "upload_id": ids[one.tag]} for one in recipe.inputs],
        "negative_prompt": spec.negative_prompt,
        "height_px": None if guided else spec.height_px,
        "width_px": None if guided else spec.width_px,
        "num_frames": spec.num_frames,
        "steps": spec.steps,
        "guidance": spec.guidance,
        "image_guidance": spec.image_guidance,
        "seed": spec.seed,
        "thinking": Thinking.OFF,
    }
    # A recipe comes from outside, and its spec allows what no request may ask for.
    return validate(GenerationRequest, fields)


def differences(
    recipe: Recipe, request: GenerationRequest, assets: Mapping[str, Asset], preset: Preset, maker: Maker
) -> tuple[str, ...]:
    """Why this server would make other pixels; empty if it makes the same."""
    found = []
    if recipe.maker is None:
        found.append("the recipe does not say what made it")
    else:
        for name in _DECIDES:
            then, now = getattr(recipe.maker, name), getattr(maker, name)
            if then != now:
                found.append(f"{name} was {_short(then)} and is {_short(now)} here")
    spec, _ = resolve(request, preset, assets, 0)
    found += _changed(recipe.spec, spec)
    return tuple(found)


def _changed(then: JobSpec, now: JobSpec) -> list[str]:
    return [
        f"{name} was {getattr(then, name)} and would be {getattr(now, name)}"
        for name in JobSpec.model_fields
        if name not in _FREE and getattr(then, name) != getattr(now, name)
    ]


def _short(value: str) -> str:
    return f"{value[:12]}…" if len(value) == 64 else value


def missing(one: RecipeInput) -> AssetNotFound:
    """An input that nobody has."""
    return AssetNotFound(
        f"the recipe's {one.tag} (the {one.role}, a {one.kind}) was {one.asset_id}, which is not on this server; give its file",
        param=one.tag,
    )


def refusal(found: tuple[str, ...]) -> ReplayMismatch:
    """Other pixels would come out."""
    return ReplayMismatch(
        f"this server would not make the same pixels: {'; '.join(found)}. Ask for a replay anyway if a similar result will do",
        param="anyway",
    )
