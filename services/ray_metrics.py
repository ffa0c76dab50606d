"""Ray's own metrics: what is counted here shows in Ray's exporter on every node too, under `ray_` and the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.util import metrics as ray_metrics

from .meters import Counter, Gauge, Histogram, Metric

__all__ = ["RayMirror"]


class RayMirror:
    """A `Mirror` into the metrics of the Ray worker that this process is."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def _of(self, metric: Metric, make: Callable[..., Any], **also: Any) -> Any:
        if metric.name not in self._made:
            # Two threads that come at once make the same thing twice; Ray keeps one.
            self._made[metric.name] = make(metric.name, description=metric.what, tag_keys=metric.labels, **also)
        return self._made[metric.name]

    def add(self, metric: Counter, labels: Mapping[str, str], amount: float) -> None:
        """A counter grew."""
        self._of(metric, ray_metrics.Counter).inc(amount, tags=_plain(labels))

    def observe(self, metric: Histogram, labels: Mapping[str, str], value: float) -> None:
        """A histogram got a value."""
        self._of(metric, ray_metrics.Histogram, boundaries=list(metric.bounds)).observe(value, tags=_plain(labels))

    def set(self, metric: Gauge, labels: Mapping[str, str], value: float) -> None:
        """A gauge was set."""
        self._of(metric, ray_metrics.Gauge).set(value, tags=_plain(labels))


def _plain(labels: Mapping[str, str]) -> dict[str, str]:
    # Ray asks for str itself, and ours may be members of an enumeration.
    return {name: str(value) for name, value in labels.items()}
