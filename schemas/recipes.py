"""Recipes: what a delivered file says about how it was made, and what it takes to make it again.

A recipe is one JSON document in the file's metadata (mp4: the comment, png: an iTXt chunk). Whoever reads one back has it from
a stranger: it is bounded, typed and checked before anything is done with it. Inputs are named by the ids of assets, never by digests.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from .base import Contract, Message
from .config import Role
from .errors import MediaUnreadable
from .jobs import Job
from .plan import Plan
from .references import Digest, MediaKind, Tag
from .requests import AssetId, JobSpec

__all__ = [
    "MAX_RECIPE_BYTES",
    "RECIPE_KEYWORD",
    "Maker",
    "Recipe",
    "RecipeInput",
    "Replay",
    "ReplayRequest",
    "dump_recipe",
    "load_recipe",
]

MAX_RECIPE_BYTES = 96 * 1024
"""Fits one argument of a command line, which is how an mp4 gets its comment."""

RECIPE_KEYWORD = "vogue-recipe"
"""Keyword of the png chunk."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Maker(Contract):
    """What made the pixels: an equal maker makes equal pixels from an equal recipe.

    `weights` is the manifest of the weights' folder, `code` a digest over the engines' sources; `vogue` is the version, for people.
    """

    vogue: _Name
    preset: _Name
    weights: Digest
    engine: _Name
    dtype: _Name
    code: Digest


class RecipeInput(Contract):
    """An input, as the instruction calls it."""

    tag: Tag
    role: Role
    kind: MediaKind
    asset_id: AssetId


class Recipe(Message):
    """How a file was made. `asked` are its owner's words, `spec` what was carried out, with nothing left open."""

    format: Literal["vogue-recipe"] = "vogue-recipe"
    asked: Annotated[str, Field(max_length=20_000)] = ""
    plan: Plan | None = None
    spec: JobSpec
    inputs: Annotated[tuple[RecipeInput, ...], Field(max_length=16)] = ()
    maker: Maker | None = None


class ReplayRequest(Message):
    """Make a file again. `replacements` are assets to use for inputs that are not on the server, by tag.

    A server that would not make the same pixels refuses, unless `anyway` says that a similar result will do.
    """

    recipe: Recipe
    replacements: dict[Tag, AssetId] = Field(default_factory=dict)
    anyway: bool = False


class Replay(Message):
    """The job that makes it again, and in what it differs from the recipe; with no differences the pixels will be the same."""

    job: Job
    differences: tuple[str, ...] = ()


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as text of at most `MAX_RECIPE_BYTES`. One that is larger goes without its plan, then without the words asked:
    `spec` holds all that its making needs."""
    for without in ({}, {"plan": None}, {"plan": None, "asked": ""}):
        text = recipe.model_copy(update=without).model_dump_json(exclude_none=True)
        if len(text.encode()) <= MAX_RECIPE_BYTES:
            return text
    return ""


def load_recipe(text: str) -> Recipe:
    """A recipe that came out of a file.

    Raises:
        MediaUnreadable: too large, or not a recipe as this version knows it.
    """
    if len(text) > MAX_RECIPE_BYTES:
        raise MediaUnreadable(f"the file's recipe has {len(text)} characters, and at most {MAX_RECIPE_BYTES} are read")
    try:
        return Recipe.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the text"
        raise MediaUnreadable(
            f"the file's comment is not a recipe that this version of VOGUE reads ({where}: {fault['msg']})"
        ) from error
