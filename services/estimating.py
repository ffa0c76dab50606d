"""How long jobs will take here: the cost model, taught by the jobs that this server finished last."""

from __future__ import annotations

from collections.abc import Sequence

from vogue.schemas.config import Preset, Role
from vogue.schemas.requests import GenerationRequest, JobSpec, VisualInput

from .costing import Finished, JobCost, Rates, cost_of, shares
from .jobs import JobStore

__all__ = ["Estimator"]

_REMEMBERED = 64


class Estimator:
    """Costs of requests, and seconds once a job was finished.

    Args:
        weight_bytes: of one value of the MMDiT's weights.
    """

    def __init__(self, jobs: JobStore, preset: Preset, weight_bytes: int) -> None:
        self._jobs = jobs
        self._preset = preset
        self._weight_bytes = weight_bytes
        self._rates: Rates | None = None

    def learn(self) -> None:
        """Look at the last jobs again; takes some milliseconds."""
        found = self._jobs.finished(_REMEMBERED)
        done = [Finished(self.cost(spec, request), began_s, ended_s) for request, spec, began_s, ended_s in found]
        self._rates = Rates.fit([one.cost for one in done], shares(done))

    def cost(self, spec: JobSpec, request: GenerationRequest) -> JobCost:
        """What a request takes of any machine."""
        return cost_of(spec, _references(request.visuals), self._preset, self._weight_bytes)

    def seconds(self, cost: JobCost) -> float | None:
        """What it takes of this one; None before any job was finished."""
        return None if self._rates is None else self._rates.seconds(cost)


def _references(visuals: Sequence[VisualInput]) -> int:
    return sum(visual.role is Role.REFERENCE for visual in visuals)
