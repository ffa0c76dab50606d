"""ONNX Runtime on the exported graphs, on the CPU or, with its GPU package, on CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vogue.schemas.engines import OnnxRuntimeSpec
from vogue.schemas.errors import DeviceOutOfMemory, EngineError, EngineNotBuilt

from ..compiled.decoding import compiled_decoder
from ..compiled.exporting import find_export
from ..compiled.runner import CompiledEngine
from ..compiled.signatures import Network
from ..loading import LoadedVAE
from ..port import Decoder, Engine

if TYPE_CHECKING:
    from ..registry import Site

__all__ = ["OnnxRuntimeRunner", "identify", "open_decoder", "open_denoiser"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def identify(spec: OnnxRuntimeSpec, site: Site, network: Network) -> str:
    """Version, provider, precision and the graph."""
    ort = _library(spec)
    build = find_export(site, network, spec.precision)
    return f"onnxruntime-{ort.__version__}-{spec.provider}-{spec.precision}-{build.folder.name.rpartition('-')[2]}"


def open_denoiser(spec: OnnxRuntimeSpec, site: Site) -> Engine:
    """The MMDiT's graph."""
    return CompiledEngine(_open(spec, site, Network.MMDIT), site.preset)


def open_decoder(spec: OnnxRuntimeSpec, site: Site, vae: LoadedVAE) -> Decoder:
    """The decoder's graphs."""
    return compiled_decoder(lambda network: _open(spec, site, network), site.preset, vae)


class OnnxRuntimeRunner:
    """A session on a graph.

    Args:
        threads: how many threads one operation may use.
    """

    def __init__(self, path: Path, provider: str = PROVIDERS["cpu"], threads: int = 1) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait would take the cores from the other services.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(path), options, providers=[provider])
        state = ort.capi.onnxruntime_pybind11_state
        self._failed: tuple[type[Exception], ...] = (state.RuntimeException, state.InvalidArgument, state.Fail)
        self._outputs = [one.name for one in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Runner.run`; results lie in main memory."""
        arrays: dict[str, Any] = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in inputs.items()}
        try:
            outputs = self._session.run(self._outputs, arrays)
        except self._failed as error:
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
            if "allocate" not in str(error).lower() and "memory" not in str(error).lower():
                raise EngineError(f"ONNX Runtime failed on {shapes}: {error}") from error
            raise DeviceOutOfMemory(f"ONNX Runtime has too little memory for {shapes}") from error
        return {name: torch.from_numpy(array) for name, array in zip(self._outputs, outputs, strict=True)}


def _open(spec: OnnxRuntimeSpec, site: Site, network: Network) -> OnnxRuntimeRunner:
    _library(spec)
    build = find_export(site, network, spec.precision)
    return OnnxRuntimeRunner(build.folder / "model.onnx", PROVIDERS[spec.provider], spec.threads or site.threads)


def _library(spec: OnnxRuntimeSpec) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EngineNotBuilt(
            "the engine onnxruntime needs its package; install it: pip install 'vogue-video[engines]'"
        ) from error
    available = ort.get_available_providers()
    if PROVIDERS[spec.provider] not in available:
        raise EngineNotBuilt(
            f"this onnxruntime has no provider for {spec.provider} (it has {', '.join(available)}); for CUDA install"
            " onnxruntime-gpu in its place, on a machine with an NVIDIA GPU"
        )
    return ort
