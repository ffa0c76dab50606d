"""The `Connector` port over the trained MLP."""

from __future__ import annotations

import torch

from vogue.engines.loading import load_connector
from vogue.engines.models.connector import Connector
from vogue.schemas.stages import PassStates, ProjectRequest

from .workplace import Workplace, array_of, tensor_of

__all__ = ["ConnectorService"]


class ConnectorService:
    """Projects the MLLM's hidden states into the MMDiT's context."""

    def __init__(self, network: Connector, place: Workplace) -> None:
        self._network = network
        self._place = place
        self._thread = place.torch

    @classmethod
    def load(cls, place: Workplace) -> ConnectorService:
        """Load the preset's connector."""
        return cls(load_connector(place.weights, place.preset.connector, place.device, place.dtype), place)

    async def project(self, request: ProjectRequest) -> PassStates:
        """Context [L, D'] for each pass given."""
        names = [name.value for name in request.states]
        inputs = tuple(ref.sha256 for ref in request.states.values())

        async def compute() -> PassStates:
            return await self._thread.run(self._project, request)

        return await self._place.cached("connector.project", PassStates, {"passes": names}, inputs, compute)

    @torch.inference_mode()
    def _project(self, request: ProjectRequest) -> PassStates:
        blobs, projected = self._place.blobs, {}
        for name, ref in request.states.items():
            states = tensor_of(blobs.get_tensor(ref)).to(self._place.device, self._place.dtype)
            projected[name] = blobs.put_tensor(array_of(self._network(states)))
        return PassStates(states=projected)
