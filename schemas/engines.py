"""Which engine runs a network: what `serve_config.yaml` may say under `engines`.

Nothing is chosen silently: an engine that cannot run raises `EngineNotBuilt`, unless the setting itself names another to fall
back on, and then the fall is logged and stands in every recipe.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from .base import Contract

__all__ = [
    "EngineSetting",
    "EngineSpec",
    "EnginesConfig",
    "LibraryName",
    "OnnxRuntimeSpec",
    "Precision",
    "TensorRTSpec",
    "TorchSpec",
    "TritonSpec",
]

Precision = Literal["fp32", "fp16", "bf16"]
"""What weights and matrix products are in. Latents and timesteps are float32 everywhere."""

LibraryName = Literal["tensorrt", "tensorrt_rtx"]


class TorchSpec(Contract):
    """The module as it is, or compiled by `torch.compile` (worth it on a GPU; on two cores it gains nothing)."""

    kind: Literal["torch"] = "torch"
    compiled: bool = False


class OnnxRuntimeSpec(Contract):
    """ONNX Runtime on the exported graph."""

    kind: Literal["onnxruntime"] = "onnxruntime"
    provider: Literal["cpu", "cuda"] = "cpu"
    precision: Precision = "fp32"
    threads: PositiveInt | None = None
    """None takes what the deployment has."""


class TensorRTSpec(Contract):
    """A compiled plan. `tensorrt` is for data-centre GPUs, `tensorrt_rtx` for RTX cards; both have the same API."""

    kind: Literal["tensorrt"] = "tensorrt"
    library: LibraryName = "tensorrt"
    precision: Precision = "bf16"
    weight_streaming: bool = False
    """Weights may stay in main memory, beyond `weight_budget_bytes` of them on the card."""
    weight_budget_bytes: Annotated[int, Field(ge=0)] | None = None
    """None lets the library decide."""
    refit: bool = False
    """New weights can be put into a built plan."""

    @model_validator(mode="after")
    def _budget_streams(self) -> Self:
        if self.weight_budget_bytes is not None and not self.weight_streaming:
            raise ValueError("weight_budget_bytes says how much is not streamed: set weight_streaming too")
        return self


class TritonSpec(Contract):
    """A Triton Inference Server that serves the network."""

    kind: Literal["triton"] = "triton"
    url: str = "127.0.0.1:8001"
    """host:port, without a scheme."""
    protocol: Literal["grpc", "http"] = "grpc"
    model: str | None = None
    """None takes `vogue_<preset>_<network>`."""
    shared_memory: bool = False
    """Tensors go through shared memory: the server must be on this machine."""
    timeout_s: PositiveFloat = 600.0


EngineSpec = Annotated[TorchSpec | OnnxRuntimeSpec | TensorRTSpec | TritonSpec, Field(discriminator="kind")]


class EngineSetting(Contract):
    """The engine of one network, and what to fall back on where it cannot run."""

    engine: EngineSpec = TorchSpec()
    fallback: EngineSpec | None = None

    @model_validator(mode="after")
    def _falls_elsewhere(self) -> Self:
        if self.fallback == self.engine:
            raise ValueError("fallback is the engine itself: name another, or leave it out")
        return self


class EnginesConfig(Contract):
    """Engines by network. The encoder of the VAE, the MLLM and the connector always run on torch."""

    denoiser: EngineSetting = EngineSetting()
    decoder: EngineSetting = EngineSetting()
