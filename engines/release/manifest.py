"""The manifest of an imported weights folder, `manifest.json`: every file's size and hash, and every part's numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import Field, NonNegativeInt, ValidationError
from safetensors import SafetensorError, safe_open

from vogue.schemas.base import Contract
from vogue.schemas.errors import WeightsMismatch
from vogue.schemas.presets import get_preset

from ..weights import describe_misfit, weight_files
from .blueprint import blueprint, read_architecture
from .keys import Part
from .shards import Tick, hash_file

__all__ = ["MANIFEST", "FileFacts", "Manifest", "PartFacts", "index_of", "read_manifest", "verify_folder", "write_json"]

MANIFEST = "manifest.json"
_PART_PATHS = {
    Part.MLLM: ("mllm",),
    Part.CONNECTOR: ("connector.safetensors",),
    Part.MMDIT: ("mmdit", "mmdit.safetensors"),
    Part.CODEC: ("vae.safetensors", "vae"),
}


class FileFacts(Contract):
    """Size and hash of a file."""

    bytes: NonNegativeInt
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class PartFacts(Contract):
    """What a part's files hold."""

    parameters: NonNegativeInt
    bytes: NonNegativeInt


class Manifest(Contract):
    """What an import wrote. `plan` is the digest of what it was told to do, by which an interrupted one goes on."""

    format: int = 1
    preset: str
    plan: str
    licences: tuple[str, ...]
    parts: dict[Part, PartFacts]
    files: dict[str, FileFacts]


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None where there is none.

    Raises:
        WeightsMismatch: it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise WeightsMismatch(f"{path} is not a manifest of weights ({where}: {fault['msg']})") from error


def write_json(path: Path, text: str) -> None:
    """Write a small file at once or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def verify_folder(folder: Path, tick: Tick = lambda _: None) -> tuple[Manifest, list[str]]:
    """Check a folder against its manifest, and its tensors' names and shapes against the preset.

    Returns the manifest, and what is wrong; an empty list if nothing is.

    Raises:
        WeightsMismatch: there is no manifest to check against.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise WeightsMismatch(f"{folder} has no {MANIFEST}; `vogue weights import` writes one")
    faults = []
    for name, facts in sorted(manifest.files.items()):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            faults.append(f"{name}: the manifest points outside its folder")
        elif not path.is_file():
            faults.append(f"{name}: missing")
        elif (size := path.stat().st_size) != facts.bytes:
            faults.append(f"{name}: {size} bytes instead of {facts.bytes}")
        elif hash_file(path, tick) != facts.sha256:
            faults.append(f"{name}: its content has changed since the import (SHA-256 differs)")
    strangers = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")} - manifest.files.keys()
    faults += [f"{name}: not in the manifest" for name in sorted(strangers)]
    # A file that is damaged already may have no readable header.
    return manifest, faults or _check_keys(folder, manifest)


def _check_keys(folder: Path, manifest: Manifest) -> list[str]:
    wanted = blueprint(get_preset(manifest.preset), read_architecture(folder / "mllm"))
    faults = []
    for part, names in _PART_PATHS.items():
        path = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
        try:
            given = {key: shape for file in weight_files(path) for key, shape in _header(file).items()}
        except (WeightsMismatch, SafetensorError, OSError) as error:
            faults.append(f"{part}: {error}")
            continue
        misfit = describe_misfit(wanted.parts[part], given, tied=wanted.tied)
        if misfit:
            faults.append(f"{part}: {misfit}")
    return faults


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(path, framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - not a mapping


def index_of(shards: dict[str, str], total: int) -> str:
    """The index beside shards, as Hugging Face lays it out: which file holds which tensor."""
    return json.dumps({"metadata": {"total_size": total}, "weight_map": shards}, indent=1, sort_keys=True) + "\n"
