"""What Triton's Python backend runs: this file, copied into a model repository as `model.py`.

It knows nothing but the parameters that `triton_repository` wrote into the model's configuration. Tensors come and go by DLPack:
the backend's own NumPy conversion gives empty arrays under NumPy 2.
"""

from __future__ import annotations

import json
import site
from typing import Any

import triton_python_backend_utils as backend  # type: ignore[import-not-found]

__all__ = ["TritonPythonModel"]


class TritonPythonModel:
    """One network of a preset. Triton finds it by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network that the configuration names."""
        config = json.loads(args["model_config"])
        said = {name: one["string_value"] for name, one in config["parameters"].items()}
        for folder in json.loads(said["site_packages"]):
            site.addsitedir(folder)  # the interpreter that is embedded knows no virtual environment

        from vogue.engines.compiled.triton_repository import load_served

        self._graph = load_served(said)
        self._inputs = [one["name"] for one in config["input"]]
        [self._output] = [one["name"] for one in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run each request by itself: who sends them has made batches already."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        import torch
        from torch.utils.dlpack import from_dlpack

        try:
            given = {name: backend.get_input_tensor_by_name(request, name) for name in self._inputs}
            tensors = {name: from_dlpack(one.to_dlpack()) for name, one in given.items()}
            with torch.inference_mode():
                out = self._graph(tensors).contiguous()
        except torch.OutOfMemoryError as error:
            return backend.InferenceResponse(error=backend.TritonError(f"OutOfMemory: {error}"))
        # A tensor made in inference mode does not leave it by DLPack on every version: a clone does.
        return backend.InferenceResponse(output_tensors=[backend.Tensor.from_dlpack(self._output, out.clone())])
