"""Compiling a graph to a TensorRT plan: strongly typed, one optimisation profile, what it measured kept for the next time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vogue.schemas.engines import TensorRTSpec
from vogue.schemas.errors import EngineNotBuilt

from .exporting import MODEL, find_export
from .profiles import Profile, profile_of
from .signatures import Network, Signature, TensorSpec, signature_of
from .store import Build, find_build, key_of, new_build
from .tensorrt_api import BuilderConfig, Library, cuda_of, load_library

if TYPE_CHECKING:
    from ..registry import Site

__all__ = ["PLAN", "Target", "build_plan", "compile_onnx", "find_plan", "logger_of", "plan_facts", "this_gpu"]

PLAN = "engine.plan"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A generation of GPUs: compute capability 8.9 is `Target(8, 9)`, spoken `sm89`."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"sm{self.major}{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """From `sm89` or `8.9`.

        Raises:
            EngineNotBuilt: it is neither.
        """
        digits = text.lower().removeprefix("sm").replace("_", "").replace(".", "")
        if not digits.isdecimal() or len(digits) not in (2, 3):
            raise EngineNotBuilt(f"{text!r} is no compute capability; write it as sm89 or 8.9")
        return cls(int(digits[:-1]), int(digits[-1]))


def this_gpu() -> Target:
    """The GPU that torch sees.

    Raises:
        EngineNotBuilt: there is none.
    """
    if not torch.cuda.is_available():
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
        raise EngineNotBuilt(
            "running TensorRT needs an NVIDIA GPU, its driver, and a CUDA build of torch; this torch"
            f" {torch.__version__} is built for {build} and sees no GPU. Choose the engine torch or onnxruntime, name one as"
            " fallback, or serve from a machine with a GPU"
        )
    return Target(*torch.cuda.get_device_capability())


def plan_facts(site: Site, network: Network, spec: TensorRTSpec, target: Target, version: str) -> dict[str, str]:
    """Everything that decides whether a plan is right for a place."""
    graph = find_export(site, network, spec.precision)
    return {
        "onnx": key_of(graph.manifest.files),
        "library": spec.library,
        "version": version,
        "cuda": cuda_of(spec.library),
        "compute_capability": str(target),
        "profile": profile_of(site.preset, network).model_dump_json(),
        "precision": spec.precision,
        "flags": ",".join(_flags(spec)),
    }


def find_plan(site: Site, network: Network, spec: TensorRTSpec, target: Target) -> Build:
    """The plan for a GPU.

    Raises:
        EngineNotBuilt: it was not built, or of another graph, library, GPU, profile or with other flags.
    """
    library = load_library(spec.library)
    facts = plan_facts(site, network, spec, target, library.__version__)
    return find_build(
        site.engine_dir, site.preset.name, network, spec.library, facts, build_command(site, spec, target)
    )


def build_command(site: Site, spec: TensorRTSpec, target: Target) -> str:
    """What builds it."""
    flags = "".join(f" --{flag.replace('_', '-')}" for flag in _flags(spec))
    return (
        f"vogue engine build --preset {site.preset.name} --engine tensorrt --library {spec.library}"
        f" --precision {spec.precision} --target {target}{flags}"
    )


def build_plan(site: Site, network: Network, spec: TensorRTSpec, target: Target, say: Say) -> Build:
    """Compile an exported graph and keep the plan. One that is there is taken as it is.

    Raises:
        EngineNotBuilt: the graph was not exported, or the library cannot compile it here; carries the library's words.
    """
    library = load_library(spec.library)
    try:
        return find_plan(site, network, spec, target)
    except EngineNotBuilt:
        pass
    facts = plan_facts(site, network, spec, target, library.__version__)
    graph = find_export(site, network, spec.precision)
    with new_build(site.engine_dir, site.preset.name, network, spec.library, facts) as (folder, notes):
        say(f"compiling {network.value} for {target} with {spec.library} {library.__version__}")
        started = time.monotonic()
        plan = compile_onnx(
            library,
            graph.folder / MODEL,
            signature_of(site.preset, network),
            profile_of(site.preset, network),
            spec,
            target,
            site.engine_dir / f"{spec.library}-{library.__version__}-{target}.timing",
            say,
        )
        with (folder / PLAN).open("wb") as file:
            file.write(plan)
        notes["seconds"] = f"{time.monotonic() - started:.1f}"
    return find_plan(site, network, spec, target)


def compile_onnx(
    library: Library,
    path: Path,
    signature: Signature,
    profile: Profile,
    spec: TensorRTSpec,
    target: Target,
    timing_cache: Path,
    say: Say,
) -> memoryview:
    """The plan of a graph."""
    words: list[str] = []
    log = logger_of(library, words)
    builder = library.Builder(log)
    if builder is None:
        raise EngineNotBuilt(_no_builder(spec, words))
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        faults = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineNotBuilt(f"{spec.library} cannot read {path}: {'; '.join(faults[:3]) or _last(words)}")
    config = builder.create_builder_config()
    for flag in _flags(spec):
        config.set_flag(getattr(library.BuilderFlag, flag.upper()))
    shapes = builder.create_optimization_profile()
    for one in signature.inputs:
        if any(isinstance(axis, str) for axis in one.shape):
            shapes.set_shape(one.name, *(_shape(one, profile, size) for size in ("smallest", "usual", "largest")))
    if config.add_optimization_profile(shapes) < 0:
        raise EngineNotBuilt(f"{spec.library} refuses the profile {profile.model_dump_json()}: {_last(words)}")
    if spec.library == "tensorrt_rtx":
        _aim(library, config, target)
    kept = timing_cache.read_bytes() if timing_cache.is_file() else b""
    measured = config.create_timing_cache(kept) if spec.library == "tensorrt" else None
    if measured is not None and not config.set_timing_cache(measured, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    config.progress_monitor = _monitor_of(library, say)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineNotBuilt(f"{spec.library} {library.__version__} cannot compile {path} for {target}: {_last(words)}")
    if measured is not None:
        timing_cache.write_bytes(config.get_timing_cache().serialize())
    return memoryview(plan)


def logger_of(library: Library, words: list[str]) -> Any:
    """A logger that keeps warnings and errors for messages, and prints nothing."""

    class Log(library.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(library.ILogger.ERROR):
                words.append(msg)

    return Log()


def _monitor_of(library: Library, say: Say) -> Any:
    """Tells which phase the library is in; its own threads call it."""

    class Monitor(library.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                say(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return True

        def phase_finish(self, phase_name: str) -> None:
            return None

    return Monitor()


def _flags(spec: TensorRTSpec) -> list[str]:
    return [name for name, on in (("refit", spec.refit), ("weight_streaming", spec.weight_streaming)) if on]


def _shape(one: TensorSpec, profile: Profile, size: str) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else getattr(profile.axes[axis], size) for axis in one.shape)


def _aim(library: Library, config: BuilderConfig, target: Target) -> None:
    known = {name.lower(): value for name, value in library.ComputeCapability.__members__.items()}
    if str(target) not in known:
        listed = ", ".join(name for name in known if name.startswith("sm"))
        raise EngineNotBuilt(
            f"tensorrt_rtx {library.__version__} compiles for {listed}, not for {target}; data-centre GPUs need the"
            " library tensorrt"
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(known[str(target)], 0):
        raise EngineNotBuilt(f"tensorrt_rtx {library.__version__} refuses to compile for {target}")


def _no_builder(spec: TensorRTSpec, words: list[str]) -> str:
    return (
        f"the library {spec.library} cannot compile on this machine ({_last(words)}); it needs an NVIDIA GPU of the kind"
        " it compiles for, and its driver"
    )


def _last(words: list[str]) -> str:
    return "; ".join(words[-2:]) if words else "it does not say why"
