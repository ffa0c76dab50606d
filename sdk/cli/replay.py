"""`vogue replay`: a delivered file made again, from the recipe that it carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vogue.recipes import read_recipe

from .run import follow
from .session import JsonFlag, ServerOption, session_of

__all__ = ["replay"]

_File = Path | None


def replay(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An mp4 or png that VOGUE made.")],
    source: Annotated[_File, typer.Option(metavar="FILE", help="The source, if the server no longer has it.")] = None,
    first_frame: Annotated[_File, typer.Option(metavar="FILE", help="The first frame, likewise.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="The references, likewise, in their order.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also where other pixels will come out.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Only print the recipe.")] = False,
    output: Annotated[
        _File, typer.Option("-o", "--output", metavar="FILE", help="Where to write it; by default here.")
    ] = None,
    server: ServerOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a file again: the same pixels on the same engine and weights, or a refusal that says what differs."""
    session = session_of(ctx)
    recipe = read_recipe(file)
    if show:
        text = recipe.model_dump_json(indent=2, exclude_none=True)
        session.answer(recipe.model_dump(mode="json"), lines=[text])
        return
    with session.connect(server) as client:
        job = client.replay(recipe, source=source, first_frame=first_frame, references=reference or [], anyway=anyway)
        for difference in job.differences:
            session.note(f"note: {difference}")
        follow(session, job, output)
