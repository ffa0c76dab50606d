"""TensorRT and TensorRT-RTX: plans built by `vogue engine build`, run on torch's memory and stream."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vogue.schemas.engines import TensorRTSpec
from vogue.schemas.errors import DeviceOutOfMemory, EngineError, EngineNotBuilt

from ..compiled.decoding import compiled_decoder
from ..compiled.runner import CompiledEngine
from ..compiled.signatures import Network, Signature, signature_of
from ..compiled.tensorrt_api import Engine as Plan
from ..compiled.tensorrt_api import Library, RuntimeCache, load_library
from ..compiled.tensorrt_build import PLAN, find_plan, logger_of, this_gpu
from ..loading import LoadedVAE
from ..port import Decoder, Engine

if TYPE_CHECKING:
    from ..registry import Site

__all__ = ["TensorRTRunner", "identify", "open_decoder", "open_denoiser"]

_TYPES = {"float32": torch.float32, "bool": torch.bool}


def identify(spec: TensorRTSpec, site: Site, network: Network) -> str:
    """Library, version, GPU, precision and the plan."""
    target = this_gpu()
    plan = find_plan(site, network, spec, target)
    version = plan.manifest.facts["version"]
    return f"{spec.library}-{version}-{target}-{spec.precision}-{plan.folder.name.rpartition('-')[2]}"


def open_denoiser(spec: TensorRTSpec, site: Site) -> Engine:
    """The MMDiT's plan."""
    return CompiledEngine(_open(spec, site, Network.MMDIT), site.preset)


def open_decoder(spec: TensorRTSpec, site: Site, vae: LoadedVAE) -> Decoder:
    """The decoder's plans."""
    return compiled_decoder(lambda network: _open(spec, site, network), site.preset, vae)


class TensorRTRunner:
    """A plan on a GPU. Inputs, outputs and scratch are torch's tensors, sized for the call and not for the profile.

    Args:
        cache: where TensorRT-RTX keeps kernels that it compiles on the card; read if there, written after the first run.
        device: the GPU; a test passes its own.
    """

    def __init__(
        self,
        library: Library,
        plan: bytes,
        signature: Signature,
        spec: TensorRTSpec,
        cache: Path,
        device: torch.device | str = "cuda",
    ) -> None:
        self._words: list[str] = []
        # Library, logger and runtime must outlive the plan.
        self._log = logger_of(library, self._words)
        self._runtime = library.Runtime(self._log)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineNotBuilt(f"{spec.library} refuses the plan ({'; '.join(self._words[-2:])}); build it again")
        self._signature = signature
        self._device = torch.device(device)
        self._lock = threading.Lock()
        if spec.weight_streaming:
            budget = spec.weight_budget_bytes
            engine.weight_streaming_budget_v2 = (
                engine.get_weight_streaming_automatic_budget()
                if budget is None
                else min(budget, engine.streamable_weights_size)
            )
        self._engine = engine
        self._kept: RuntimeCache | None = None
        self._cache = cache
        self._context = self._ready(library, engine, spec)

    def _ready(self, library: Library, engine: Plan, spec: TensorRTSpec):  # type: ignore[no-untyped-def]
        config = engine.create_runtime_config()
        # Scratch for the profile's largest size would take what the weights need.
        config.set_execution_context_allocation_strategy(library.ExecutionContextAllocationStrategy.USER_MANAGED)
        if spec.library == "tensorrt_rtx":
            self._kept = config.create_runtime_cache()
            if self._cache.is_file() and not self._kept.deserialize(self._cache.read_bytes()):
                self._kept = config.create_runtime_cache()
            config.set_runtime_cache(self._kept)
        context = engine.create_execution_context(config)
        if context is None:
            raise DeviceOutOfMemory(f"the GPU has too little memory for the plan: {'; '.join(self._words[-2:])}")
        return context

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Runner.run`; results lie on the GPU."""
        try:
            with self._lock:
                return self._run(inputs)
        except torch.OutOfMemoryError as error:
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
            raise DeviceOutOfMemory(f"the GPU has too little memory for {shapes}") from error

    def _run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        context = self._context
        held = {}
        for one in self._signature.inputs:
            tensor = inputs[one.name].to(self._device, _TYPES[one.dtype]).contiguous()
            held[one.name] = tensor
            if not context.set_input_shape(one.name, tuple(tensor.shape)):
                raise EngineError(f"the plan refuses {one.name} {list(tensor.shape)}: {'; '.join(self._words[-2:])}")
        outputs = {
            one.name: torch.empty(
                tuple(context.get_tensor_shape(one.name)), dtype=_TYPES[one.dtype], device=self._device
            )
            for one in self._signature.outputs
        }
        scratch = torch.empty(
            max(1, context.update_device_memory_size_for_shapes()), dtype=torch.uint8, device=self._device
        )
        context.set_device_memory(scratch.data_ptr(), scratch.numel())
        for name, tensor in {**held, **outputs}.items():
            context.set_tensor_address(name, tensor.data_ptr())
        self._execute()
        return outputs

    def _execute(self) -> None:
        # A stream of its own, after what torch has queued: on the default stream the library would synchronise needlessly.
        current = torch.cuda.current_stream(self._device)
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(current)
        done = self._context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        if not done:
            raise EngineError(f"the plan failed: {'; '.join(self._words[-2:])}")
        if self._kept is not None:
            self._cache.write_bytes(self._kept.serialize())
            self._kept = None


def _open(spec: TensorRTSpec, site: Site, network: Network) -> TensorRTRunner:
    library = load_library(spec.library)
    target = this_gpu()
    plan = find_plan(site, network, spec, target)
    cache = plan.folder.parent / f"{plan.folder.name}.kernels"
    content = (plan.folder / PLAN).read_bytes()
    return TensorRTRunner(library, content, signature_of(site.preset, network), spec, cache)
