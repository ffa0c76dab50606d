"""`vogue weights import`: the authors' files become a weights folder of ours.

Everything is checked before the first byte is written: names, shapes and dtypes of the merged files against the preset's networks. Then
shard after shard is written and noted in a journal; an import that was killed finds the journal, verifies what is finished by its
hash, and goes on. Two runs over the same files give the same bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from vogue.schemas.config import HunyuanVAEConfig, Preset, Variant
from vogue.schemas.errors import EngineError, RequestInvalid, WeightsMismatch

from ..mllm_loading import EMBEDDING
from ..weights import describe_misfit
from .blueprint import Blueprint, blueprint, read_architecture
from .keys import Part
from .licences import LICENCES, require_acceptance
from .manifest import MANIFEST, FileFacts, Manifest, PartFacts, index_of, read_manifest, write_json
from .shards import Shard, Tick, hash_file, plan_shards, write_shard
from .source import Located, ReleasedFiles, check_codec, check_prompts, find_files, locate_tensors

__all__ = ["JOURNAL", "SHARD_BYTES", "Import", "import_release", "plan_import"]

SHARD_BYTES = 4 * 2**30
JOURNAL = "import.json"
LOCK = ".import.lock"
_STEMS = {Part.MLLM: "mllm", Part.CONNECTOR: "connector", Part.MMDIT: "mmdit", Part.CODEC: "vae"}
_SHARDED = (Part.MLLM, Part.MMDIT)
_WITH_MLLM = ("config.json", "tokenizer.json", "preprocessor_config.json", "generation_config.json")


class Import:
    """What is to be written, checked: files and shards, and the digest that names this very import."""

    def __init__(self, preset: Preset, files: ReleasedFiles, shards: Sequence[Shard], plan: Blueprint) -> None:
        self.preset = preset
        self.files = files
        self.shards = tuple(shards)
        self.num_bytes = sum(shard.num_bytes for shard in shards)
        self._blueprint = plan

    def digest(self) -> str:
        """Changes with the preset, with any file that is read, and with what is written."""
        read = sorted({one.file for shard in self.shards for one in shard.tensors} | set(self.small_files().values()))
        facts = [(str(path.relative_to(self.files.root)), path.stat()) for path in read]
        told = {
            "preset": self.preset.model_dump(mode="json"),
            "files": [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts],
            "shards": [(shard.path, shard.header().decode("latin-1")) for shard in self.shards],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def small_files(self) -> dict[str, Path]:
        """What is copied as it is: name in the weights folder, and where it comes from."""
        own = {f"mllm/{name}": self.files.qwen / name for name in _WITH_MLLM if (self.files.qwen / name).is_file()}
        return own | ({"prompts.json": self.files.prompts} if self.files.prompts is not None else {})

    def indices(self) -> dict[str, str]:
        """The indices beside sharded parts: name and content."""
        found = {}
        for part in _SHARDED:
            own = [shard for shard in self.shards if shard.path.startswith(f"{_STEMS[part]}/")]
            where = {one.key: Path(shard.path).name for shard in own for one in shard.tensors}
            total = sum(shard.num_bytes for shard in own)
            found[f"{_STEMS[part]}/model.safetensors.index.json"] = index_of(where, total)
        return found

    def parts(self) -> dict[Part, PartFacts]:
        """Numbers and bytes of each part."""
        return {
            part: PartFacts(
                parameters=self._blueprint.parameters(part),
                bytes=sum(shard.bytes_of(one) for shard in self.shards for one in shard.tensors if one.part is part),
            )
            for part in Part
        }


def plan_import(
    preset: Preset, source: Path, *, dtype: torch.dtype | None = None, shard_bytes: int = SHARD_BYTES
) -> Import:
    """Find and check everything; write nothing.

    Args:
        dtype: what values are stored in; None keeps what the files have.
    Raises:
        WeightsMismatch: what is missing, unexpected, mis-shaped or of a wrong dtype, by name.
        RequestInvalid: the preset is not a released one.
    """
    if not isinstance(preset.vae, HunyuanVAEConfig):
        raise RequestInvalid(
            f"{preset.name} has no released files to import; choose univideo-hidden or univideo-queries", param="preset"
        )
    files = find_files(source, preset.mllm.variant)
    wanted = blueprint(preset, read_architecture(files.qwen))
    check_codec(files, preset.vae)
    check_prompts(files)
    tensors = locate_tensors(files)
    _check(preset, wanted, tensors)
    shards: list[Shard] = []
    for part in Part:
        own = [one for one in tensors if one.part is part]
        shards += plan_shards(_STEMS[part], own, dtype, shard_bytes if part in _SHARDED else None)
    return Import(preset, files, shards, wanted)


def _check(preset: Preset, wanted: Blueprint, tensors: Sequence[Located]) -> None:
    faults = []
    for part in Part:
        given = {one.key: one.shape for one in tensors if one.part is part}
        misfit = describe_misfit(wanted.parts[part], given, tied=wanted.tied if part is Part.MLLM else ())
        if misfit:
            faults.append(f"{part}: {misfit}")
            rows = given.get(EMBEDDING, (0,))[0]
            if part is Part.MLLM and preset.mllm.variant is Variant.QUERIES and rows:
                faults.append(
                    f"the embedding has {rows} rows for the vocabulary, {preset.mllm.num_queries} queries and 2 marks"
                )
    if faults:
        raise WeightsMismatch(f"the released files do not fit {preset.name}. " + ". ".join(faults))


def import_release(work: Import, out: Path, accepted: Collection[str], tick: Tick = lambda _: None) -> Manifest:
    """Write the weights folder, or finish one that was begun. `tick` is called with bytes done, of `work.num_bytes`.

    Raises:
        RequestInvalid: a licence was not accepted, or the folder holds something else.
        EngineError: another import is writing there, or the disk is full.
    """
    require_acceptance(accepted)
    digest = work.digest()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            done = _finished(out, digest)
            _check_room(out, work, done)
            files = _write_shards(work, out, digest, done, tick)
            for name, source in work.small_files().items():
                shutil.copyfile(source, out / name)
            texts = {**work.indices(), "preset.json": work.preset.model_dump_json(indent=2) + "\n"}
            for name, text in texts.items():
                write_json(out / name, text)
            for name in (*work.small_files(), *texts):
                files[name] = _facts(out / name)
            manifest = Manifest(
                preset=work.preset.name,
                plan=digest,
                licences=tuple(licence.id for licence in LICENCES),
                parts=work.parts(),
                files=dict(sorted(files.items())),
            )
            write_json(out / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
            (out / JOURNAL).unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(
            f"{out} cannot be written: {error}; what is finished is kept, run the import again"
        ) from error
    return manifest


def _write_shards(work: Import, out: Path, digest: str, done: dict[str, FileFacts], tick: Tick) -> dict[str, FileFacts]:
    files: dict[str, FileFacts] = {}
    _note(out, digest, done)
    for shard in work.shards:
        path = out / shard.path
        known = done.get(shard.path)
        whole = known is not None and path.is_file() and path.stat().st_size == known.bytes
        if known is not None and whole and hash_file(path, lambda _: None) == known.sha256:
            files[shard.path] = known
            tick(shard.num_bytes)
            continue
        sha256 = write_shard(out, shard, tick)
        files[shard.path] = FileFacts(bytes=path.stat().st_size, sha256=sha256)
        _note(out, digest, {**done, **files})
    return files


def _note(out: Path, digest: str, files: dict[str, FileFacts]) -> None:
    noted = {name: facts.model_dump() for name, facts in files.items()}
    write_json(out / JOURNAL, json.dumps({"plan": digest, "files": noted}, indent=1))


def _finished(out: Path, digest: str) -> dict[str, FileFacts]:
    """What this very import has finished before.

    Raises:
        RequestInvalid: the folder belongs to another one.
    """
    manifest = read_manifest(out)
    plan, files = (manifest.plan, dict(manifest.files)) if manifest is not None else (None, {})
    if (out / JOURNAL).is_file():
        try:
            journal = json.loads((out / JOURNAL).read_text(encoding="utf-8"))
            plan = journal["plan"]
            files = {name: FileFacts.model_validate(facts) for name, facts in journal["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestInvalid(
                f"{out / JOURNAL} is no journal of an import: delete {out} and import again"
            ) from error
    strange = plan is None and any(path.name != LOCK for path in out.iterdir())
    if strange or (plan is not None and plan != digest):
        raise RequestInvalid(
            f"{out} holds something else, or an import of other files or settings; choose another --out or delete it",
            param="out",
        )
    return files


def _check_room(out: Path, work: Import, done: dict[str, FileFacts]) -> None:
    needed = sum(shard.num_bytes for shard in work.shards if shard.path not in done)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise EngineError(f"{out} has {free / 2**30:.1f} GiB free, and the import needs {needed / 2**30:.1f} GiB more")


def _facts(path: Path) -> FileFacts:
    return FileFacts(bytes=path.stat().st_size, sha256=hash_file(path, lambda _: None))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two imports into one folder would write over each other.

    Raises:
        EngineError: another one is at work.
    """
    with (out / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EngineError(f"another import is writing to {out}") from error
        yield
