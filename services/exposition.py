"""`/metrics`: everything counted, in the words of Prometheus; and the counting of HTTP requests themselves."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated

from fastapi import FastAPI, Header, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .meters import Counter, Histogram, Meters, Reading, Series
from .metrics import HTTP_REQUESTS, HTTP_SECONDS, METERS

__all__ = ["RequestCounter", "serve_metrics"]

logger = logging.getLogger(__name__)

_UNMATCHED = "unmatched"
_QUIET = ("/metrics", "/healthz", "/readyz")
"""What machines ask all the time."""
_JOB = re.compile(r"job_[A-Za-z0-9_-]{1,64}")


class _Told(Collector):
    """A reading for Prometheus's own writer."""

    def __init__(self, meters: Meters, reading: Reading) -> None:
        self._metrics = meters.metrics
        self._numbers: defaultdict[str, dict[Series, float]] = defaultdict(dict)
        # Another version of the code may have counted under other names or labels.
        for series, value in (*reading.sums.items(), *reading.gauges.items()):
            if series.metric in self._metrics and len(series.labels) == len(self._metrics[series.metric].labels):
                self._numbers[series.metric][series] = value

    def collect(self) -> Iterable[Family]:
        """One family for each metric of the catalogue, whether or not it has numbers yet."""
        for name, metric in self._metrics.items():
            numbers = self._numbers[name]
            if isinstance(metric, Histogram):
                yield _histogram(metric, numbers)
                continue
            kind = CounterMetricFamily if isinstance(metric, Counter) else GaugeMetricFamily
            family = kind(name.removesuffix("_total"), metric.what, labels=metric.labels)
            for series, value in sorted(numbers.items()):
                family.add_metric(series.labels, value)
            yield family


def _histogram(metric: Histogram, numbers: dict[Series, float]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.what, labels=metric.labels)
    for labels in sorted({series.labels for series in numbers}):
        buckets, count = [], 0.0
        for bound in (*map(str, metric.bounds), metric.ABOVE):
            count += numbers.get(Series(metric.name, labels, bound), 0.0)
            buckets.append((bound, count))
        family.add_metric(labels, buckets, numbers.get(Series(metric.name, labels, metric.SUM), 0.0))
    return family


def serve_metrics(app: FastAPI, meters: Meters = METERS) -> None:
    """Add the route."""

    @app.get("/metrics", response_class=Response)
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Everything counted, for Prometheus."""
        write, media_type = choose_encoder(accept)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Told(meters, await asyncio.to_thread(meters.read)))
        return Response(write(registry), media_type=media_type, headers={"cache-control": "no-store"})


class RequestCounter:
    """Counts requests and times their answers, outside of everything that may refuse them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        head_s, status = None, 500

        async def watched(message: Message) -> None:
            nonlocal head_s, status
            if message["type"] == "http.response.start":
                head_s, status = time.perf_counter(), message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # The router has left a note of what it found in the scope.
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            method = scope["method"]
            took_s = (head_s or time.perf_counter()) - began_s
            HTTP_REQUESTS.add(method=method, route=route, status=str(status))
            HTTP_SECONDS.observe(took_s, method=method, route=route)
            known = {"method": method, "route": route, "status": status, "seconds": round(took_s, 4)}
            if job_id := _job_of(scope):
                known["job_id"] = job_id
            logger.log(logging.INFO if route not in _QUIET else logging.DEBUG, "answered", extra=known)


def _job_of(scope: Scope) -> str | None:
    """The job that a path speaks of."""
    given = scope.get("path_params") or {}
    said = str(given.get("job_id") or given.get("video_id") or "")
    return said if _JOB.fullmatch(said) else None
