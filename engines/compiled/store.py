"""The folder of built engines: a folder for each key, and a manifest in it that says what the key was made of.

    <engine_dir>/<preset>/<network>/onnx-fp32-<key>/model.onnx, model.onnx.data, manifest.json
    <engine_dir>/<preset>/<network>/tensorrt-bf16-<key>/engine.plan, manifest.json
    <engine_dir>/<library>.cache

A key is a digest over every fact that decides whether a build is right for a place; a build whose facts differ lies elsewhere, so
nothing stale or foreign can be taken by mistake. What is wanted and not there is refused with the difference to what is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError, field_validator

from vogue.schemas.base import Contract
from vogue.schemas.errors import EngineNotBuilt

from .signatures import Network

__all__ = [
    "MANIFEST",
    "Build",
    "Manifest",
    "builds_in",
    "digest_files",
    "find_build",
    "key_of",
    "new_build",
    "verify_build",
]

MANIFEST = "manifest.json"
KEY_LENGTH = 16
SHOWN = 3


class Manifest(Contract):
    """What a build is made of (`facts`), how it came about (`notes`), and its files with their SHA-256."""

    kind: str
    preset: str
    network: Network
    facts: dict[str, str]
    notes: dict[str, str]
    files: dict[str, str]

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
            raise ValueError("a build's files lie in its folder")
        return files


@dataclass(frozen=True)
class Build:
    """A finished build."""

    folder: Path
    manifest: Manifest

    @property
    def num_bytes(self) -> int:
        """Size of its files."""
        return sum((self.folder / name).stat().st_size for name in self.manifest.files)


def key_of(facts: Mapping[str, str]) -> str:
    """Short digest of the facts, as it stands in a folder's name."""
    canonical = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:KEY_LENGTH]


def digest_files(folder: Path, names: Iterator[str] | list[str]) -> dict[str, str]:
    """SHA-256 of each file."""
    found = {}
    for name in names:
        with (folder / name).open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def folder_of(engine_dir: Path, preset: str, network: Network, kind: str, facts: Mapping[str, str]) -> Path:
    """Where a build of these facts lies."""
    return engine_dir / preset / network.value / f"{kind}-{facts['precision']}-{key_of(facts)}"


def find_build(
    engine_dir: Path, preset: str, network: Network, kind: str, facts: Mapping[str, str], command: str
) -> Build:
    """The build of exactly these facts.

    Args:
        command: what builds it, for the message.
    Raises:
        EngineNotBuilt: there is none, or what lies there is not it; says how the nearest differs and what to run.
    """
    folder = folder_of(engine_dir, preset, network, kind, facts)
    if not folder.is_dir():
        others = [
            build
            for build in builds_in(engine_dir)
            if (build.manifest.kind, build.manifest.preset, build.manifest.network) == (kind, preset, network)
        ]
        raise EngineNotBuilt(
            f"there is no {kind} engine of {preset}'s {network.value} for this place in {engine_dir}"
            f"{_nearest(others, facts)}. Run: {command}"
        )
    build = _read(folder)
    if build is None or build.manifest.facts != dict(facts) or build.manifest.kind != kind:
        raise EngineNotBuilt(f"{folder} does not hold what its name says. Remove it, and run: {command}")
    for name in build.manifest.files:
        if not (folder / name).is_file():
            raise EngineNotBuilt(f"{folder} lacks {name}. Remove it, and run: {command}")
    return build


def verify_build(build: Build) -> list[str]:
    """What is wrong with a build's files; nothing where each has the digest of the manifest."""
    faults = []
    for name, sha256 in build.manifest.files.items():
        if not (build.folder / name).is_file():
            faults.append(f"{name} is missing")
        elif digest_files(build.folder, [name])[name] != sha256:
            faults.append(f"{name} was changed after it was built")
    if build.folder.name.rpartition("-")[2] != key_of(build.manifest.facts):
        faults.append("its manifest belongs to another build")
    return faults


def builds_in(engine_dir: Path) -> list[Build]:
    """Every finished build, by folder. What is no build, or half of one, is passed over."""
    found = (_read(path.parent) for path in sorted(engine_dir.glob(f"*/*/*/{MANIFEST}")))
    return [build for build in found if build is not None]


@contextmanager
def new_build(
    engine_dir: Path, preset: str, network: Network, kind: str, facts: Mapping[str, str]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A scratch folder to build in, and notes to fill; both become the build when the block ends well.

    A build appears whole or not at all, also when several processes make the same one: the last takes the place.
    """
    target = folder_of(engine_dir, preset, network, kind, facts)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    notes: dict[str, str] = {}
    try:
        yield scratch, notes
        names = sorted(path.relative_to(scratch).as_posix() for path in scratch.rglob("*") if path.is_file())
        manifest = Manifest(
            kind=kind,
            preset=preset,
            network=network,
            facts=dict(facts),
            notes=notes,
            files=digest_files(scratch, names),
        )
        (scratch / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        scratch.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read(folder: Path) -> Build | None:
    try:
        return Build(folder, Manifest.model_validate_json((folder / MANIFEST).read_bytes()))
    except (OSError, ValidationError):
        return None


def _nearest(others: list[Build], facts: Mapping[str, str]) -> str:
    """How the build that is most alike differs, for a message."""
    if not others:
        return ""

    def differences(build: Build) -> list[str]:
        own = build.manifest.facts
        return sorted(name for name in facts.keys() | own.keys() if facts.get(name) != own.get(name))

    nearest = min(others, key=lambda build: len(differences(build)))
    changed = [
        f"{name} {_short(nearest.manifest.facts.get(name))} instead of {_short(facts.get(name))}"
        for name in differences(nearest)
    ]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"; the nearest, {nearest.folder.name}, has {', '.join(changed[:SHOWN])}{more}"


def _short(fact: str | None) -> str:
    if fact is None:
        return "nothing"
    return fact if len(fact) <= 60 else fact[:12] + "…"
