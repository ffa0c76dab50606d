"""`vogue weights import` and `vogue weights verify`: from the authors' files to a folder that is known to be whole.

Torch is loaded when a command runs, not when the command line is built.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vogue.schemas.errors import WeightsMismatch
from vogue.schemas.presets import get_preset

from .speaking import JsonFlag, Speaker, bytes_done, gib, speaker_of

if TYPE_CHECKING:
    from vogue.engines.release.importing import Import
    from vogue.engines.release.manifest import Manifest

__all__ = ["register"]

_SHOWN = 12


class StoredDtype(StrEnum):
    """What values are stored in."""

    KEEP = "keep"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the commands `weights import` and `weights verify`."""
    group = typer.Typer(
        no_args_is_help=True, help="Turn released files into weights that VOGUE serves, and check them."
    )
    group.command("import")(import_weights)
    group.command("verify")(verify_weights)
    app.add_typer(group, name="weights")


def import_weights(
    ctx: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder with the downloaded files (docs/released-weights.md).")
    ],
    preset: Annotated[str, typer.Option(help="univideo-hidden or univideo-queries.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The weights folder to write, or to finish.")],
    dtype: Annotated[
        StoredDtype, typer.Option(help="Keep what the files have, or store all in one.")
    ] = StoredDtype.KEEP,
    shard_mib: Annotated[int, typer.Option(min=1, help="Largest file of the large networks.")] = 4096,
    accept_licences: Annotated[
        bool, typer.Option("--accept-licences", help="You have read the licences and accept them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Check the authors' files and write them as a weights folder. A killed import goes on when it is run again."""
    speaker = speaker_of(ctx)
    wanted = get_preset(preset)
    accepted = _licences(speaker, accept_licences or dry_run)
    import torch

    from vogue.engines.release.importing import import_release, plan_import

    stored = None if dtype is StoredDtype.KEEP else getattr(torch, dtype.value)
    work = plan_import(wanted, source, dtype=stored, shard_bytes=shard_mib * 2**20)
    if dry_run:
        speaker.answer(
            _document(work, out, None),
            lines=[
                f"the files fit {preset}: {len(work.shards)} files of {gib(work.num_bytes)} would be written to {out}"
            ],
        )
        return
    with bytes_done(speaker, "importing", work.num_bytes) as tick:
        manifest = import_release(work, out, accepted, tick)
    lines = [
        f"{part}: {facts.parameters / 1e9:.2f} B parameters, {gib(facts.bytes)}"
        for part, facts in manifest.parts.items()
    ]
    lines += [f"written to {out}", f"next: vogue weights verify {out}"]
    speaker.answer(_document(work, out, manifest), lines=lines)


def verify_weights(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An imported weights folder.")],
    json: JsonFlag = False,
) -> None:
    """Check every file's hash against the manifest, and every tensor's name and shape against the preset."""
    speaker = speaker_of(ctx)
    from vogue.engines.release.manifest import read_manifest, verify_folder

    known = read_manifest(folder)
    total = sum(facts.bytes for facts in known.files.values()) if known is not None else 0
    with bytes_done(speaker, "verifying", total) as tick:
        manifest, faults = verify_folder(folder, tick)
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise WeightsMismatch(f"{folder} is not what was imported. {'; '.join(faults[:_SHOWN])}{more}")
    speaker.answer(
        {"folder": str(folder), "preset": manifest.preset, "files": len(manifest.files), "bytes": total},
        lines=[
            f"{folder}: {len(manifest.files)} files, {gib(total)}, whole, and they fit {manifest.preset}",
            f"next: vogue capacity --preset {manifest.preset} --gpu h100-80g",
        ],
    )


def _licences(speaker: Speaker, accepted: bool) -> tuple[str, ...]:
    """Show the licences, and have them accepted by flag or, at a terminal, by answer."""
    from vogue.engines.release.licences import LICENCES, require_acceptance

    for licence in LICENCES:
        speaker.note(f"{licence.covers}\n  {licence.name}: {licence.source}\n  {licence.summary}")
    if not accepted and not speaker.as_json and sys.stdin.isatty():
        accepted = typer.confirm("Have you read these licences, and do you accept them?", err=True)
    ids = tuple(licence.id for licence in LICENCES) if accepted else ()
    require_acceptance(ids)
    return ids


def _document(work: Import, out: Path, manifest: Manifest | None) -> dict[str, Any]:
    from vogue.engines.release.licences import LICENCES

    return {
        "folder": str(out),
        "preset": work.preset.name,
        "written": manifest is not None,
        "files": len(work.shards) if manifest is None else len(manifest.files),
        "bytes": work.num_bytes,
        "parts": {part.value: facts.model_dump() for part, facts in work.parts().items()},
        "licences": [{"id": one.id, "name": one.name, "source": one.source} for one in LICENCES],
    }
