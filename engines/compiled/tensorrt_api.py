"""The part of TensorRT's API that is used here, as types, and how its two libraries are found.

`tensorrt` is for data-centre GPUs and compiles on the GPU it is for. `tensorrt_rtx` is for RTX cards and compiles for any of its
targets without one. Both have this API; a test holds it against what both packages publish.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any, Protocol, cast

from vogue.schemas.engines import LibraryName
from vogue.schemas.errors import EngineNotBuilt

__all__ = [
    "Builder",
    "BuilderConfig",
    "Context",
    "Engine",
    "Library",
    "Network",
    "Parser",
    "Profile",
    "Runtime",
    "cuda_of",
    "load_library",
]

_MODULES: dict[LibraryName, tuple[str, str]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_NEEDS: dict[LibraryName, str] = {
    "tensorrt": "pip install 'vogue-video[gpu]', on a machine with an NVIDIA data-centre GPU and its driver",
    "tensorrt_rtx": "pip install 'vogue-video[rtx]'",
}


class Profile(Protocol):
    """IOptimizationProfile."""

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        """Sizes of an input."""
        ...


class TimingCache(Protocol):
    """ITimingCache."""

    def serialize(self) -> Any:
        """Its bytes, as a buffer."""
        ...


class BuilderConfig(Protocol):
    """IBuilderConfig. Compute capabilities are TensorRT-RTX's alone."""

    progress_monitor: Any
    num_compute_capabilities: int

    def set_flag(self, flag: Any) -> None:
        """Switch a BuilderFlag on."""
        ...

    def add_optimization_profile(self, profile: Profile) -> int:
        """Its index, or -1."""
        ...

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        """From what was kept, or from nothing."""
        ...

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Whether the cache is of this device."""
        ...

    def get_timing_cache(self) -> TimingCache:
        """With what was measured since."""
        ...

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        """Compile for a ComputeCapability."""
        ...


class Network(Protocol):
    """INetworkDefinition: filled by the parser, read by the builder."""


class Builder(Protocol):
    """Builder."""

    def create_network(self, flags: int) -> Network:
        """An empty network; flags are bits of NetworkDefinitionCreationFlag."""
        ...

    def create_builder_config(self) -> BuilderConfig:
        """Default settings."""
        ...

    def create_optimization_profile(self) -> Profile:
        """An empty profile."""
        ...

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> Any:
        """The plan as a buffer, or None."""
        ...


class ParserError(Protocol):
    """ParserError."""

    def desc(self) -> str:
        """What is wrong."""
        ...


class Parser(Protocol):
    """OnnxParser."""

    num_errors: int

    def parse_from_file(self, model: str) -> bool:
        """Whether all of the graph was understood."""
        ...

    def get_error(self, index: int) -> ParserError:
        """By place."""
        ...


class Context(Protocol):
    """IExecutionContext."""

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        """Whether the profile allows it."""
        ...

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where a tensor lies on the card."""
        ...

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        """Known for outputs once all inputs' are."""
        ...

    def update_device_memory_size_for_shapes(self) -> int:
        """Bytes of scratch that the inputs' shapes need."""
        ...

    def set_device_memory(self, memory: int, size: int) -> None:
        """Scratch for activations."""
        ...

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue a run."""
        ...


class RuntimeCache(Protocol):
    """IRuntimeCache, TensorRT-RTX's: kernels that were compiled on this card."""

    def serialize(self) -> Any:
        """Its bytes, as a buffer."""
        ...

    def deserialize(self, blob: bytes) -> bool:
        """Whether the bytes are of this card and library."""
        ...


class RuntimeConfig(Protocol):
    """IRuntimeConfig."""

    def create_runtime_cache(self) -> RuntimeCache:
        """An empty cache."""
        ...

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        """Use a cache."""
        ...

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        """Who gives contexts their scratch."""
        ...


class Engine(Protocol):
    """ICudaEngine."""

    streamable_weights_size: int
    weight_streaming_budget_v2: int

    def get_weight_streaming_automatic_budget(self) -> int:
        """What the library would keep on the card."""
        ...

    def create_runtime_config(self) -> RuntimeConfig:
        """Default settings."""
        ...

    def create_execution_context(self, runtime_config: RuntimeConfig) -> Context:
        """Something to run with."""
        ...


class Runtime(Protocol):
    """Runtime."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        """A plan, made ready on the current card."""
        ...


class Library(Protocol):
    """A library as a module. Enumerations are reached by name, since their members differ between the two."""

    __version__: str
    ILogger: Any
    IProgressMonitor: Any
    BuilderFlag: Any
    NetworkDefinitionCreationFlag: Any
    MemoryPoolType: Any
    ExecutionContextAllocationStrategy: Any
    ComputeCapability: Any

    def Builder(self, logger: Any) -> Builder:
        """Compiles."""
        ...

    def OnnxParser(self, network: Network, logger: Any) -> Parser:
        """Reads graphs into a network."""
        ...

    def Runtime(self, logger: Any) -> Runtime:
        """Runs plans."""
        ...


def load_library(name: LibraryName) -> Library:
    """Import one of the two.

    Raises:
        EngineNotBuilt: it is not installed, or lacks what it stands on.
    """
    reason = ""
    for module in _MODULES[name]:
        try:
            return cast(Library, _checked(importlib.import_module(module)))
        except (ImportError, OSError, AttributeError) as error:
            reason = str(error)
    raise EngineNotBuilt(f"the library {name} is not here ({reason}). It needs: {_NEEDS[name]}")


def _checked(module: ModuleType) -> ModuleType:
    """Of a package whose native part is missing, a hollow module may be left."""
    if not hasattr(module, "Builder"):
        raise ImportError(f"{module.__name__} has no Builder")
    return module


def cuda_of(name: LibraryName) -> str:
    """The CUDA release that the installed library is made for, as its distribution says: 13, or 12, or unknown."""
    for release in ("13", "12"):
        try:
            distribution(f"{name}_cu{release}_bindings")
        except PackageNotFoundError:
            continue
        return release
    return "unknown"
