"""TensorRT without a GPU: the mini networks compile, the calls fit both libraries' published API, and what is missing is said.

TensorRT-RTX compiles for any of its targets on a CPU. Plain TensorRT's bindings are loaded over stand-ins for its libraries, which is
enough to ask them what they take.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vogue.engines.backends.on_tensorrt import TensorRTRunner
from vogue.engines.compiled import tensorrt_api, tensorrt_build
from vogue.engines.compiled.exporting import export_network
from vogue.engines.compiled.signatures import Network, signature_of
from vogue.engines.compiled.tensorrt_api import load_library
from vogue.engines.compiled.tensorrt_build import PLAN, Target, build_plan, find_plan, this_gpu
from vogue.engines.registry import Site, open_denoiser
from vogue.schemas.engines import EngineSetting, TensorRTSpec
from vogue.schemas.errors import EngineNotBuilt

RTX = TensorRTSpec(library="tensorrt_rtx", precision="fp32")
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
PUBLISHED = {
    "Profile": "IOptimizationProfile",
    "TimingCache": "ITimingCache",
    "BuilderConfig": "IBuilderConfig",
    "Builder": "Builder",
    "ParserError": "ParserError",
    "Parser": "OnnxParser",
    "Context": "IExecutionContext",
    "Engine": "ICudaEngine",
    "Runtime": "Runtime",
    "RuntimeConfig": "IRuntimeConfig",
    "RuntimeCache": "IRuntimeCache",
}
RTX_ONLY = {
    ("BuilderConfig", "set_compute_capability"),
    ("BuilderConfig", "num_compute_capabilities"),
    ("RuntimeConfig", "create_runtime_cache"),
    ("RuntimeConfig", "set_runtime_cache"),
    *(("RuntimeCache", name) for name in ("serialize", "deserialize")),
}
ENUMERATIONS = {
    "BuilderFlag": ("REFIT", "WEIGHT_STREAMING"),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "ExecutionContextAllocationStrategy": ("USER_MANAGED",),
}
ASK = """
import importlib, json, sys
library = importlib.import_module(sys.argv[1])
classes, enumerations = json.loads(sys.argv[2]), json.loads(sys.argv[3])
found = {name: {m: getattr(getattr(library, c), m).__doc__ or "" for m in dir(getattr(library, c)) if m[0] != "_"}
         for name, c in classes.items() if hasattr(library, c)}
json.dump({"methods": found, "enumerations": {e: list(getattr(library, e).__members__) for e in enumerations}}, sys.stdout)
"""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, require: Any) -> Path:
    """Libraries that have the names which plain TensorRT's bindings link to, and do nothing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    require(compiler is not None, "there is no C compiler")
    folder = tmp_path_factory.mktemp("stand-ins")
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        file = f"lib{name}.so.11"
        subprocess.run(
            [str(compiler), "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", str(folder / file), str(source)],
            check=True,
            timeout=60,
        )
    return folder


@pytest.mark.parametrize("package", ["tensorrt_bindings", "tensorrt_rtx_bindings"])
def test_every_call_fits_the_published_api(package: str, stand_ins: Path) -> None:
    """Each method of the types that mypy checks our calls against: there, and with the same parameters in the same order."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, package, json.dumps(PUBLISHED), json.dumps(list(ENUMERATIONS))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(stand_ins)},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    wrong = []
    for ours in PUBLISHED:
        protocol = getattr(tensorrt_api, ours)
        for member in _members(protocol):
            if package == "tensorrt_bindings" and (ours, member) in RTX_ONLY:
                continue
            published = answer["methods"].get(ours, {}).get(member)
            if published is None:
                wrong.append(f"{ours}.{member} does not exist")
            elif member in vars(protocol) and _parameters(protocol, member) not in _overloads(published, member):
                wrong.append(f"{ours}.{member} takes {_overloads(published, member)}")
    assert not wrong, wrong
    for name, members in ENUMERATIONS.items():
        assert set(members) <= set(answer["enumerations"][name])


def _members(protocol: type) -> list[str]:
    methods = [name for name, value in vars(protocol).items() if name[0] != "_" and inspect.isfunction(value)]
    return [*methods, *protocol.__annotations__]


def _parameters(protocol: type, method: str) -> list[str]:
    return list(inspect.signature(getattr(protocol, method)).parameters)[1:]


def _overloads(published: str, method: str) -> list[list[str]]:
    """Names of the parameters of each overload, from pybind11's signature lines; those with a default may be left out."""
    found = []
    for line in re.findall(rf"^(?:\d+\. )?{method}\((.*)\) ->", published, flags=re.MULTILINE):
        names = re.findall(r"(?:^|, )(\w+): ", line)
        required = re.findall(r"(?:^|, )(\w+): (?:[^,=\[]|\[[^\]]*\])*(?=,|$)", line)
        found += [names[1:], [name for name in names[1:] if name in required]]
    return found


def _rtx_site(site: Site, network: Network) -> Site:
    export_network(site, network, "fp32", lambda _: None)
    return site


@pytest.mark.parametrize(
    ("network", "target"),
    [
        *((Network.MMDIT, target) for target in ("sm80", "sm89", "sm120")),
        (Network.DECODER, "sm120"),
        (Network.DECODER_STILL, "sm80"),
    ],
)
def test_the_mini_networks_compile_whole(mini_site: Site, network: Network, target: str) -> None:
    """The MMDiT for three generations of cards; each decoder, which has no layers of its own kind, for one."""
    site = _rtx_site(mini_site, network)
    said: list[str] = []
    build = build_plan(site, network, RTX, Target.parse(target), said.append)
    assert (build.folder / PLAN).stat().st_size > 1_000_000
    assert build.manifest.facts["compute_capability"] == target
    assert said or build.manifest.notes["seconds"]
    # The plan is for that generation alone.
    with pytest.raises(EngineNotBuilt, match=r"compute_capability sm\d+ instead of sm86"):
        find_plan(site, network, RTX, Target(8, 6))
    refit = RTX.model_copy(update={"refit": True})
    with pytest.raises(EngineNotBuilt, match=r"has flags .*instead of refit.*--refit"):
        find_plan(site, network, refit, Target.parse(target))


def test_a_target_that_the_library_does_not_know(mini_site: Site) -> None:
    site = _rtx_site(mini_site, Network.DECODER_STILL)
    with pytest.raises(EngineNotBuilt, match=r"not for sm90; data-centre GPUs need the library tensorrt"):
        build_plan(site, Network.DECODER_STILL, RTX, Target(9, 0), lambda _: None)


def test_a_graph_that_cannot_be_read(mini_site: Site, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph at all")
    library = load_library("tensorrt_rtx")
    profile = tensorrt_build.profile_of(mini_site.preset, Network.MMDIT)
    signature = signature_of(mini_site.preset, Network.MMDIT)
    with pytest.raises(EngineNotBuilt, match="cannot read"):
        tensorrt_build.compile_onnx(
            library, path, signature, profile, RTX, Target(8, 9), tmp_path / "x", lambda _: None
        )


@pytest.mark.parametrize("text", ["", "sm", "sm9", "sm9000", "hopper", "8.x"])
def test_targets_that_are_none(text: str) -> None:
    with pytest.raises(EngineNotBuilt, match="sm89"):
        Target.parse(text)


def test_targets_by_both_spellings() -> None:
    assert str(Target.parse("8.9")) == str(Target.parse("SM_89")) == "sm89"
    assert Target.parse("sm120") == Target(12, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_without_a_gpu_it_says_what_it_needs(mini_site: Site) -> None:
    with pytest.raises(EngineNotBuilt, match="NVIDIA GPU, its driver, and a CUDA build of torch"):
        this_gpu()
    for spec in (RTX, TensorRTSpec()):
        with pytest.raises(EngineNotBuilt, match=r"NVIDIA GPU|library tensorrt is not here"):
            open_denoiser(EngineSetting(engine=spec), mini_site)


class _Recorded:
    """A library that has the API's shape, writes zeros, and tells what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.ILogger = type("ILogger", (), {"ERROR": 1})
        self.ExecutionContextAllocationStrategy = type("Strategy", (), {"USER_MANAGED": 2})
        self.streamable_weights_size = 100
        self.weight_streaming_budget_v2 = 0
        self.refuses = False

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            if name == "get_tensor_shape":
                return (1, 4, 64)
            if name == "update_device_memory_size_for_shapes":
                return 256
            if name == "get_weight_streaming_automatic_budget":
                return 70
            return not self.refuses if name == "set_input_shape" else self

        return call


def _runner(library: Any, site: Site, spec: TensorRTSpec, tmp_path: Path) -> TensorRTRunner:
    return TensorRTRunner(library, b"plan", signature_of(site.preset, Network.MMDIT), spec, tmp_path / "kernels", "cpu")


def test_a_run_sizes_memory_for_the_call(mini_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vogue.engines.compiled.modules import example_inputs

    library = _Recorded()
    runner = _runner(library, mini_site, TensorRTSpec(weight_streaming=True), tmp_path)
    assert library.weight_streaming_budget_v2 == 70
    monkeypatch.setattr(runner, "_execute", lambda: library.calls.append(("execute",)))
    inputs = example_inputs(mini_site.preset, Network.MMDIT, {"batch": 1, "tokens": 4, "context": 3})
    outputs = runner.run(inputs)
    assert outputs["velocity"].shape == (1, 4, 64)
    names = [call[0] for call in library.calls]
    assert names.index("set_input_shape") < names.index("get_tensor_shape") < names.index("set_device_memory")
    assert {call[1] for call in library.calls if call[0] == "set_tensor_address"} == {*inputs, "velocity"}
    assert names[-1] == "execute"


def test_a_budget_beyond_the_weights_is_cut(mini_site: Site, tmp_path: Path) -> None:
    library = _Recorded()
    _runner(library, mini_site, TensorRTSpec(weight_streaming=True, weight_budget_bytes=10**9), tmp_path)
    assert library.weight_streaming_budget_v2 == 100


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", None)
    with pytest.raises(EngineNotBuilt, match=r"library tensorrt is not here.*vogue-video\[gpu\]"):
        load_library("tensorrt")


def test_trials_are_of_full_width(tmp_path: Path) -> None:
    from vogue.engines.compiled.trial import trial_site

    site, modules = trial_site("mini", tmp_path, "fp16", [Network.MMDIT, Network.DECODER])
    whole = site.preset.mmdit
    assert (whole.num_layers, whole.num_single_layers, whole.num_refiner_layers) == (1, 1, 1)
    assert whole.hidden_size == 192
    assert site.preset.name == "mini-layers"
    parameters = [one for module in modules.values() for one in module.parameters()]
    assert all(one.dtype == torch.float16 and one.isfinite().all() for one in parameters)
