"""A network on a Triton Inference Server, over gRPC or HTTP, tensors through shared memory where the server is on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vogue.schemas.engines import TritonSpec
from vogue.schemas.errors import (
    DeviceOutOfMemory,
    EngineError,
    EngineNotBuilt,
    ServiceError,
    ServiceTimeout,
    VogueError,
    WeightsMismatch,
)

from ..compiled.decoding import compiled_decoder
from ..compiled.runner import CompiledEngine
from ..compiled.signatures import Network, Signature, signature_of
from ..compiled.triton_memory import SharedRegion, offsets_of
from ..compiled.triton_repository import model_name
from ..loading import LoadedVAE
from ..port import Decoder, Engine

if TYPE_CHECKING:
    from ..registry import Site

__all__ = ["TritonRunner", "identify", "open_decoder", "open_denoiser"]

_TYPES = {"float32": "FP32", "bool": "BOOL"}


def identify(spec: TritonSpec, site: Site, network: Network) -> str:
    """The server's version, the model, its precision and its weights, as the server says."""
    name = _name(spec, site, network)
    with _errors(spec, name):
        client = _connect(spec)
        if not client.is_server_ready():
            raise ServiceError(f"the Triton server at {spec.url} is not ready")
        version = _plain(spec, client.get_server_metadata())["version"]
        config = _plain(spec, client.get_model_config(name))
    config = config.get("config", config)
    said = {key: one["string_value"] for key, one in config.get("parameters", {}).items()}
    _check(spec, site, signature_of(site.preset, network), name, config, said)
    return f"triton-{version}-{name}-{said['dtype']}-{said['weights_digest'][:12]}"


def open_denoiser(spec: TritonSpec, site: Site) -> Engine:
    """The MMDiT on the server."""
    return CompiledEngine(_open(spec, site, Network.MMDIT), site.preset)


def open_decoder(spec: TritonSpec, site: Site, vae: LoadedVAE) -> Decoder:
    """The decoder on the server."""
    return compiled_decoder(lambda network: _open(spec, site, network), site.preset, vae)


class TritonRunner:
    """A model on a server, behind `Runner`. Each thread has a connection of its own, which HTTP's event loop needs."""

    def __init__(self, spec: TritonSpec, model: str, signature: Signature) -> None:
        self._spec, self._model, self._signature = spec, model, signature
        self._threads = threading.local()

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Runner.run`; results lie in main memory."""
        arrays = {name: np.ascontiguousarray(tensor.detach().cpu().numpy()) for name, tensor in inputs.items()}
        with _errors(self._spec, self._model):
            if not hasattr(self._threads, "client"):
                self._threads.client = _connect(self._spec)
            if self._spec.shared_memory:
                return self._through_memory(self._threads.client, arrays)
            return self._through_the_wire(self._threads.client, arrays)

    def _through_the_wire(self, client: Any, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        library = _library(self._spec)
        given = []
        for one in self._signature.inputs:
            tensor = library.InferInput(one.name, list(arrays[one.name].shape), _TYPES[one.dtype])
            tensor.set_data_from_numpy(arrays[one.name])
            given.append(tensor)
        answer = self._infer(client, given, [library.InferRequestedOutput(one.name) for one in self._signature.outputs])
        return {one.name: _owned(answer.as_numpy(one.name)) for one in self._signature.outputs}

    def _through_memory(self, client: Any, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        """Inputs in a region of shared memory; an output too, where the inputs say how large it will be."""
        shapes = self._shapes_of_outputs(arrays)
        sizes = {one: array.nbytes for one, array in arrays.items()} | {
            one: 4 * int(np.prod(shape)) for one, shape in shapes.items()
        }
        offsets, total = offsets_of(sizes)
        region = self._region(client, total)
        try:
            answer = self._infer_there(client, region, arrays, sizes, offsets, shapes)
        except BaseException:
            # A server that was started anew knows no region of the one before it; the next call makes one.
            del self._threads.region
            region.close(client)
            raise
        return {
            one.name: _owned(
                region.read(shapes[one.name], offsets[one.name]) if one.name in shapes else answer.as_numpy(one.name)
            )
            for one in self._signature.outputs
        }

    def _infer_there(
        self,
        client: Any,
        region: SharedRegion,
        arrays: Mapping[str, NDArray[Any]],
        sizes: Mapping[str, int],
        offsets: Mapping[str, int],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> Any:
        library, given, wanted = _library(self._spec), [], []
        for one in self._signature.inputs:
            region.write(arrays[one.name], offsets[one.name])
            tensor = library.InferInput(one.name, list(arrays[one.name].shape), _TYPES[one.dtype])
            tensor.set_shared_memory(region.name, sizes[one.name], offsets[one.name])
            given.append(tensor)
        for one in self._signature.outputs:
            output = library.InferRequestedOutput(one.name)
            if one.name in shapes:
                output.set_shared_memory(region.name, sizes[one.name], offsets[one.name])
            wanted.append(output)
        return self._infer(client, given, wanted)

    def _region(self, client: Any, size: int) -> SharedRegion:
        """This thread's region, made anew where it is too small."""
        known: SharedRegion | None = getattr(self._threads, "region", None)
        if known is not None and known.size >= size:
            return known
        if known is not None:
            known.close(client)
        self._threads.region = SharedRegion(client, size)
        return self._threads.region

    def _shapes_of_outputs(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
        known: dict[int | str, int] = {}
        for one in self._signature.inputs:
            known.update(zip(one.shape, arrays[one.name].shape, strict=True))
        shapes = {
            one.name: tuple(known.get(axis, -1) if isinstance(axis, str) else axis for axis in one.shape)
            for one in self._signature.outputs
        }
        return {name: shape for name, shape in shapes.items() if -1 not in shape}

    def _infer(self, client: Any, inputs: list[Any], outputs: list[Any]) -> Any:
        timing = {"client_timeout": self._spec.timeout_s} if self._spec.protocol == "grpc" else {}
        return client.infer(self._model, inputs, outputs=outputs, **timing)


@contextmanager
def _errors(spec: TritonSpec, model: str) -> Iterator[None]:
    """Turn what the client library raises into our errors."""
    from_library = _failure(spec)
    try:
        yield
    except TimeoutError as error:
        raise ServiceTimeout(f"the Triton server at {spec.url} took over {spec.timeout_s:g} s") from error
    except OSError as error:
        raise _away(spec) from error
    except from_library as error:
        raise _translated(spec, model, str(error.status() or ""), str(error.message())) from error


def _away(spec: TritonSpec) -> ServiceError:
    return ServiceError(
        f"no Triton server answers {spec.protocol} at {spec.url}: start one"
        " (vogue engine serve), or mend `url` and `protocol`"
    )


def _translated(spec: TritonSpec, model: str, status: str, message: str) -> VogueError:
    low = message.lower()
    if "DEADLINE_EXCEEDED" in status or "deadline exceeded" in low or "timed out" in low:
        return ServiceTimeout(f"the Triton server at {spec.url} took over {spec.timeout_s:g} s")
    if "unknown model" in low or "is not found" in low or "NOT_FOUND" in status:
        return EngineNotBuilt(
            f"the Triton server at {spec.url} serves no model {model}: start it with `vogue engine serve`"
            " on the preset, or mend `model`"
        )
    if "UNAVAILABLE" in status or "unavailable" in low or "not ready" in low:
        return _away(spec)
    if "outofmemory" in low or "out of memory" in low:
        return DeviceOutOfMemory(f"the Triton server at {spec.url} has too little memory: {message}")
    return EngineError(f"the Triton server at {spec.url} failed on {model}: {message}")


def _failure(spec: TritonSpec) -> Any:
    _library(spec)
    from tritonclient.utils import InferenceServerException

    return InferenceServerException


def _open(spec: TritonSpec, site: Site, network: Network) -> TritonRunner:
    identify(spec, site, network)
    return TritonRunner(spec, _name(spec, site, network), signature_of(site.preset, network))


def _check(
    spec: TritonSpec, site: Site, signature: Signature, name: str, config: Mapping[str, Any], said: Mapping[str, str]
) -> None:
    served = {one["name"]: [int(axis) for axis in one["dims"]] for one in [*config["input"], *config["output"]]}
    wanted = {
        one.name: [axis if isinstance(axis, int) else -1 for axis in one.shape]
        for one in (*signature.inputs, *signature.outputs)
    }
    if served != wanted or "weights_digest" not in said:
        raise EngineNotBuilt(
            f"{name} at {spec.url} takes {served}, but preset {site.preset.name} needs {wanted}: write its repository again"
        )
    if said["weights_digest"] != site.weights_digest:
        raise WeightsMismatch(
            f"{name} at {spec.url} serves weights {said['weights_digest'][:12]}, but this deployment has"
            f" {site.weights_digest[:12]}: write the repository of these weights and start the server again"
        )


def _name(spec: TritonSpec, site: Site, network: Network) -> str:
    """The model's name; of one that was given, the decoder of single pictures is called `…_still`."""
    if spec.model is None:
        return model_name(site.preset.name, network)
    return spec.model + ("_still" if network is Network.DECODER_STILL else "")


def _library(spec: TritonSpec) -> Any:
    try:
        if spec.protocol == "grpc":
            import tritonclient.grpc as library
        else:
            import tritonclient.http as library
    except ImportError as error:
        raise EngineNotBuilt(
            "the engine triton needs its client; install it: pip install 'vogue-video[triton]'"
        ) from error
    return library


def _connect(spec: TritonSpec) -> Any:
    library = _library(spec)
    if spec.protocol == "grpc":
        return library.InferenceServerClient(spec.url)
    return library.InferenceServerClient(
        spec.url, connection_timeout=min(30.0, spec.timeout_s), network_timeout=spec.timeout_s
    )


def _plain(spec: TritonSpec, answer: Any) -> dict[str, Any]:
    """An answer as JSON has it; over gRPC it is a message."""
    if spec.protocol == "http":
        return dict(answer)
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(answer, preserving_proto_field_name=True)


def _owned(array: NDArray[Any]) -> Tensor:
    """A copy: what the client gives is read-only, or lies in memory that goes."""
    return torch.from_numpy(np.array(array))
