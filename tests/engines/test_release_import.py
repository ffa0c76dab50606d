"""Imports: exact, strict, resumable, small; and what verification finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vogue.engines.loading import read_denoiser_weights
from vogue.engines.pipeline import Pipeline
from vogue.engines.release import importing
from vogue.engines.release.importing import Import, import_release, plan_import
from vogue.engines.release.keys import Part
from vogue.engines.release.licences import LICENCES
from vogue.engines.release.manifest import MANIFEST, verify_folder
from vogue.engines.release.rehearsal import narrow, write_released
from vogue.engines.release.shards import Shard, Tick
from vogue.engines.weights import read_weights
from vogue.schemas.config import Preset, Variant
from vogue.schemas.errors import EngineError, RequestInvalid, WeightsMismatch
from vogue.schemas.presets import PRESETS, get_preset

ALL = [licence.id for licence in LICENCES]
SMALL_SHARDS = 40_000
Files = Callable[[Preset], Path]


def _plan(preset: Preset, source: Path, **options: object) -> Import:
    return plan_import(preset, source, shard_bytes=SMALL_SHARDS, **options)  # type: ignore[arg-type]


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != importing.LOCK
    }


@pytest.fixture
def hidden() -> Preset:
    return narrow(get_preset("univideo-hidden"))


def test_what_is_imported_is_what_was_released(narrow_preset: Preset, released_files: Files, tmp_path: Path) -> None:
    source = released_files(narrow_preset)
    manifest = import_release(_plan(narrow_preset, source), tmp_path / "w", ALL)
    trained = read_weights(
        source / f"univideo_qwen2p5vl7b_{narrow_preset.mllm.variant.value}_hunyuanvideo" / "model.ckpt"
    )
    connector, mmdit = read_denoiser_weights(tmp_path / "w")
    base = read_weights(source / "HunyuanVideo" / "transformer")
    for key, value in mmdit.items():
        assert torch.equal(value, trained.get(key, base[key]))
    assert all(torch.equal(value, trained["qwen_project_in." + key]) for key, value in connector.items())
    assert sum(value.numel() for value in mmdit.values()) == manifest.parts[Part.MMDIT].parameters
    assert len(list((tmp_path / "w" / "mmdit").glob("*.safetensors"))) > 1

    pipeline = Pipeline.load(narrow_preset, tmp_path / "w")
    tokenizer = pipeline.mllm.tokenizer
    embedding = pipeline.mllm.model.get_input_embeddings().weight
    if narrow_preset.mllm.variant is Variant.QUERIES:
        assert tokenizer.first_query_row == len(embedding) - narrow_preset.mllm.num_queries - 2
        state = read_weights(source / "univideo_qwen2p5vl7b_queries_hunyuanvideo" / "mllm.ckpt")
        assert torch.equal(embedding, state["mllm_backbone.model.embed_tokens.weight"].float())


def test_the_first_query_row_is_the_original_embeddings_end(released_files: Files, tmp_path: Path) -> None:
    """`config.json` is copied as it is, and so still says how many rows the vocabulary had."""
    preset = narrow(get_preset("univideo-queries"))
    import_release(_plan(preset, released_files(preset)), tmp_path, ALL)
    said = json.loads((tmp_path / "mllm" / "config.json").read_text(encoding="utf-8"))
    said = said.get("text_config", said)
    assert Pipeline.load(preset, tmp_path).mllm.tokenizer.first_query_row == said["vocab_size"]


def test_values_can_be_stored_in_one_dtype(hidden: Preset, released_files: Files, tmp_path: Path) -> None:
    import_release(_plan(hidden, released_files(hidden), dtype=torch.float32), tmp_path, ALL)
    connector, mmdit = read_denoiser_weights(tmp_path)
    assert {value.dtype for value in (*connector.values(), *mmdit.values())} == {torch.float32}


class Killed(BaseException):
    pass


def test_a_killed_import_goes_on_and_gives_the_same_bytes(
    hidden: Preset, released_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = _plan(hidden, released_files(hidden))
    import_release(work, tmp_path / "at once", ALL)
    ticks = 0

    def die(_: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 20:
            raise Killed

    broken = tmp_path / "broken"
    with pytest.raises(Killed):
        import_release(work, broken, ALL, die)
    assert not (broken / MANIFEST).exists() and list(broken.rglob("*.partial"))
    finished = {path: path.stat().st_mtime_ns for path in broken.rglob("*.safetensors")}
    assert 0 < len(finished) < len(work.shards)

    damaged = sorted(finished)[0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    written: list[str] = []
    real = importing.write_shard

    def note(folder: Path, shard: Shard, tick: Tick) -> str:
        written.append(shard.path)
        return real(folder, shard, tick)

    monkeypatch.setattr(importing, "write_shard", note)
    import_release(_plan(hidden, released_files(hidden)), broken, ALL)
    again = damaged.relative_to(broken).as_posix()
    rest = {shard.path for shard in work.shards} - {path.relative_to(broken).as_posix() for path in finished}
    assert set(written) == rest | {again}
    assert _contents(broken) == _contents(tmp_path / "at once")

    written.clear()
    import_release(work, broken, ALL)
    assert written == []


def test_a_folder_is_not_shared_by_two_imports(hidden: Preset, released_files: Files, tmp_path: Path) -> None:
    source = released_files(hidden)
    import_release(_plan(hidden, source), tmp_path / "w", ALL)
    with pytest.raises(RequestInvalid, match="choose another --out"):
        import_release(_plan(hidden, source, dtype=torch.float32), tmp_path / "w", ALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(RequestInvalid, match="something else"):
        import_release(_plan(hidden, source), tmp_path / "mine", ALL)
    assert (tmp_path / "mine" / "letter.txt").exists()


def test_licences_come_first(hidden: Preset, released_files: Files, tmp_path: Path) -> None:
    work = _plan(hidden, released_files(hidden))
    with pytest.raises(RequestInvalid, match="Tencent Hunyuan Community"):
        import_release(work, tmp_path / "w", ALL[1:])
    assert not (tmp_path / "w").exists()
    territory = next(licence for licence in LICENCES if "hunyuan" in licence.id).summary
    assert all(place in territory for place in ("European Union", "United Kingdom", "South Korea"))
    assert all(licence.source.startswith("https://") for licence in LICENCES)


def test_a_full_disk_is_told_before_it_is_full(
    hidden: Preset, released_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = importing.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match="GiB more"):
        import_release(_plan(hidden, released_files(hidden)), tmp_path / "w", ALL)


def _edit(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    if path.suffix == ".safetensors":
        state = dict(load_file(path))
        change(state)
        save_file(state, path)
    else:
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("model.ckpt", lambda s: s.pop("transformer.qwen_project_in.mlp.0.bias"), "connector: missing: mlp.0.bias"),
        ("model.ckpt", lambda s: s.update({"transformer.extra": torch.zeros(2)}), "mmdit: unexpected: extra"),
        (
            "model.ckpt",
            lambda s: s.update({"transformer.proj_out.bias": torch.zeros(3)}),
            r"mmdit: mis-shaped: proj_out.bias \[3\] instead of \[64\]",
        ),
        (
            "model.ckpt",
            lambda s: s.update({"transformer.proj_out.bias": torch.zeros(64, dtype=torch.int8)}),
            "proj_out.bias in model.ckpt is int8",
        ),
        ("model.ckpt", lambda s: s.update({"proj_out.bias": torch.zeros(64)}), "both with and without"),
        ("vae", lambda s: s.pop("quant_conv.bias"), "codec: missing: quant_conv.bias"),
        ("mllm", lambda s: s.pop("model.norm.weight"), "mllm: missing: model.language_model.norm.weight"),
    ],
)
def test_what_does_not_fit_is_named(
    hidden: Preset, tmp_path: Path, file: str, change: Callable[[dict[str, torch.Tensor]], None], words: str
) -> None:
    write_released(tmp_path / "s", hidden)
    places = {
        "model.ckpt": "univideo_qwen2p5vl7b_hidden_hunyuanvideo/model.ckpt",
        "vae": "HunyuanVideo/vae/diffusion_pytorch_model.safetensors",
        "mllm": "Qwen2.5-VL-7B-Instruct/model.safetensors",
    }
    _edit(tmp_path / "s" / places[file], change)
    with pytest.raises(WeightsMismatch, match=words):
        _plan(hidden, tmp_path / "s")


def test_missing_files_are_named_together(hidden: Preset, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch) as caught:
        _plan(hidden, tmp_path)
    assert all(word in caught.value.message for word in ("model.ckpt", "Qwen2.5-VL-7B-Instruct", "HunyuanVideo/vae"))
    assert "mllm.ckpt" not in caught.value.message
    with pytest.raises(WeightsMismatch, match=r"mllm\.ckpt"):
        _plan(narrow(get_preset("univideo-queries")), tmp_path)
    with pytest.raises(RequestInvalid, match="no released files"):
        _plan(PRESETS["mini"], tmp_path)


def test_another_codec_or_mllm_is_refused(hidden: Preset, tmp_path: Path) -> None:
    write_released(tmp_path / "s", hidden)
    path = tmp_path / "s" / "HunyuanVideo" / "vae" / "config.json"
    sizes = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**sizes, "scaling_factor": 0.5}), encoding="utf-8")
    with pytest.raises(WeightsMismatch, match=r"scaling_factor 0\.5 instead of 0\.476986"):
        _plan(hidden, tmp_path / "s")
    path.write_text("[]", encoding="utf-8")
    wider = hidden.model_copy(update={"connector": hidden.connector.model_copy(update={"in_dim": 64})})
    with pytest.raises(WeightsMismatch, match="another size of Qwen"):
        _plan(wider, tmp_path / "s")
    (tmp_path / "s" / "prompts.json").write_text("{}", encoding="utf-8")
    path.unlink()
    with pytest.raises(WeightsMismatch, match=r"prompts\.json.*system"):
        _plan(hidden, tmp_path / "s")


def test_verification_finds_a_flipped_byte_and_more(narrow_preset: Preset, released_files: Files, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setitem(PRESETS, narrow_preset.name, narrow_preset)
    manifest = import_release(_plan(narrow_preset, released_files(narrow_preset)), tmp_path, ALL)
    assert verify_folder(tmp_path) == (manifest, [])
    for name in ("vae.safetensors", "mllm/tokenizer.json"):
        path = tmp_path / name
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        [fault] = verify_folder(tmp_path)[1]
        assert name in fault and "changed" in fault
        path.write_bytes(content[:-1])
        assert "bytes instead of" in verify_folder(tmp_path)[1][0]
        path.unlink()
        assert verify_folder(tmp_path)[1] == [f"{name}: missing"]
        path.write_bytes(content)
    save_file({"a": torch.zeros(1)}, tmp_path / "more.safetensors")
    assert verify_folder(tmp_path)[1] == ["more.safetensors: not in the manifest"]


def test_verification_checks_keys_against_the_preset(
    hidden: Preset, released_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_release(_plan(hidden, released_files(hidden)), tmp_path, ALL)
    deeper = hidden.model_copy(update={"mmdit": hidden.mmdit.model_copy(update={"num_layers": 2})})
    monkeypatch.setitem(PRESETS, hidden.name, deeper)
    [fault] = verify_folder(tmp_path)[1]
    assert fault.startswith("mmdit: missing: transformer_blocks.1.")


@pytest.mark.parametrize("text", ["", "{}", '{"files": {"../../etc/passwd": {"bytes": 1, "sha256": "0"}}}'])
def test_a_manifest_is_not_believed(tmp_path: Path, text: str) -> None:
    with pytest.raises(WeightsMismatch, match="no manifest"):
        verify_folder(tmp_path)
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(WeightsMismatch, match="not a manifest"):
        verify_folder(tmp_path)


def test_a_manifest_cannot_point_outside(hidden: Preset, released_files: Files, tmp_path: Path) -> None:
    import_release(_plan(hidden, released_files(hidden)), tmp_path / "w", ALL)
    path = tmp_path / "w" / MANIFEST
    said = json.loads(path.read_text(encoding="utf-8"))
    said["files"]["../secret"] = {"bytes": 1, "sha256": "0" * 64}
    (tmp_path / "secret").write_bytes(b"x")
    path.write_text(json.dumps(said), encoding="utf-8")
    assert verify_folder(tmp_path / "w")[1] == ["../secret: the manifest points outside its folder"]


MEASURE = """
import sys
from pathlib import Path
from vogue.engines.release.shards import Shard, write_shard
from vogue.engines.release.source import Located
from vogue.engines.release.keys import Part
from vogue.engines.weights import read_weights
import torch

def memory(line):
    text = Path("/proc/self/status").read_text()
    return next(int(row.split()[1]) for row in text.splitlines() if row.startswith(line)) * 1024

source, out, whole = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "whole"
state = read_weights(source)
shards = [Shard(f"{k}.safetensors", (Located(Part.MMDIT, k, source, k, tuple(v.shape), v.dtype),), torch.bfloat16)
          for k, v in state.items()]
del state
Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
before = memory("VmRSS")
if whole:
    kept = {k: v.clone() for k, v in read_weights(source).items()}
else:
    for shard in shards:
        write_shard(out, shard, lambda _: None)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("name", ["big.ckpt", "big.safetensors"])
def test_memory_stays_far_below_the_files(tmp_path: Path, name: str) -> None:
    """Peak resident memory, mapped pages included, while 192 MiB are converted in shards of 16 MiB."""
    state = {f"w{i}": torch.zeros(2**22) for i in range(12)}
    path = tmp_path / name
    if name.endswith(".ckpt"):
        torch.save(state, path)
    else:
        save_file(state, path)
    size = path.stat().st_size
    del state

    def measure(how: str) -> int:
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "out"), how]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True, env=environment)
        return int(done.stdout)

    assert measure("by shards") < size / 4
    if name.endswith(".ckpt"):
        assert measure("whole") > size * 0.9  # the ruler works
