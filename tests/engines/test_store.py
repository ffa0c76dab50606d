"""The folder of engines: a build is whole and is what its key says, or it is refused with what to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from vogue.engines.compiled.signatures import Network
from vogue.engines.compiled.store import MANIFEST, builds_in, find_build, key_of, new_build, verify_build
from vogue.schemas.errors import EngineNotBuilt

FACTS = {"precision": "fp32", "weights": "a" * 64, "compute_capability": "sm89"}
COMMAND = "vogue engine build --preset tiny"


def _build(folder: Path, facts: dict[str, str] = FACTS, content: bytes = b"plan") -> Path:
    with new_build(folder, "tiny", Network.MMDIT, "tensorrt", facts) as (scratch, notes):
        (scratch / "engine.plan").write_bytes(content)
        notes["seconds"] = "1.0"
    return find_build(folder, "tiny", Network.MMDIT, "tensorrt", facts, COMMAND).folder


def test_a_build_is_found_by_its_facts(tmp_path: Path) -> None:
    folder = _build(tmp_path)
    assert folder.name == f"tensorrt-fp32-{key_of(FACTS)}"
    (build,) = builds_in(tmp_path)
    assert build.folder == folder
    assert build.num_bytes == 4
    assert build.manifest.notes == {"seconds": "1.0"}
    assert verify_build(build) == []


def test_a_stale_or_foreign_build_is_refused_with_the_difference(tmp_path: Path) -> None:
    _build(tmp_path)
    other = FACTS | {"compute_capability": "sm120"}
    with pytest.raises(EngineNotBuilt, match=r"has compute_capability sm89 instead of sm120\. Run: vogue engine build"):
        find_build(tmp_path, "tiny", Network.MMDIT, "tensorrt", other, COMMAND)
    with pytest.raises(EngineNotBuilt, match="there is no tensorrt engine of mini's mmdit"):
        find_build(tmp_path, "mini", Network.MMDIT, "tensorrt", FACTS, COMMAND)


def test_a_build_under_another_name_is_refused(tmp_path: Path) -> None:
    folder = _build(tmp_path)
    other = FACTS | {"weights": "b" * 64}
    folder.rename(folder.with_name(f"tensorrt-fp32-{key_of(other)}"))
    with pytest.raises(EngineNotBuilt, match="does not hold what its name says"):
        find_build(tmp_path, "tiny", Network.MMDIT, "tensorrt", other, COMMAND)
    (build,) = builds_in(tmp_path)
    assert verify_build(build) == ["its manifest belongs to another build"]


def test_changed_and_missing_files_are_told(tmp_path: Path) -> None:
    folder = _build(tmp_path)
    (folder / "engine.plan").write_bytes(b"other")
    (build,) = builds_in(tmp_path)
    assert verify_build(build) == ["engine.plan was changed after it was built"]
    (folder / "engine.plan").unlink()
    assert verify_build(build) == ["engine.plan is missing"]
    with pytest.raises(EngineNotBuilt, match=r"lacks engine\.plan"):
        find_build(tmp_path, "tiny", Network.MMDIT, "tensorrt", FACTS, COMMAND)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="power"),
        new_build(tmp_path, "tiny", Network.MMDIT, "onnx", FACTS) as (scratch, _),
    ):
        (scratch / "model.onnx").write_bytes(b"half")
        raise RuntimeError("power cut")
    assert builds_in(tmp_path) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_building_again_replaces_the_whole(tmp_path: Path) -> None:
    _build(tmp_path)
    folder = _build(tmp_path, content=b"newer")
    assert (folder / "engine.plan").read_bytes() == b"newer"
    assert len(builds_in(tmp_path)) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"kind": "onnx"}', b"\xff\xfe"])
def test_a_manifest_that_is_none_is_passed_over(tmp_path: Path, content: bytes) -> None:
    folder = _build(tmp_path)
    (folder / MANIFEST).write_bytes(content)
    assert builds_in(tmp_path) == []
    with pytest.raises(EngineNotBuilt, match="does not hold what its name says"):
        find_build(tmp_path, "tiny", Network.MMDIT, "tensorrt", FACTS, COMMAND)


def test_files_of_a_manifest_stay_in_its_folder(tmp_path: Path) -> None:
    folder = _build(tmp_path)
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"engine.plan"', '"../../../../etc/passwd"'))
    assert builds_in(tmp_path) == []
