"""Counters, gauges and histograms of several processes that are one server.

Each process adds up on its own and now and then writes what is new into one ledger, a SQLite file in the state directory. Sums
there outlive the processes that made them, so a service that died and came back does not look like a reset, any number of
replicas add up, and whichever gateway is asked tells the whole. Without a ledger the process is the whole.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

__all__ = ["Counter", "Gauge", "Histogram", "Ledger", "Meters", "Mirror", "Reading", "Series"]

logger = logging.getLogger(__name__)

OTHER = "other"
"""What a label value counts as that nobody foresaw: a label with values without end would fill every store of metrics."""

_FLUSH_S = 0.5
_GAUGE_S = 60.0
"""A gauge that nobody has set for so long tells of a process that is gone."""


class Series(NamedTuple):
    """One number: the metric, the values of its labels in their order, and of a histogram which of its parts."""

    metric: str
    labels: tuple[str, ...]
    part: str = ""


class Reading(NamedTuple):
    """Everything counted and everything measured."""

    sums: Mapping[Series, float]
    gauges: Mapping[Series, float]


class Mirror(Protocol):
    """Another place that is told of everything as it happens."""

    def add(self, metric: Counter, labels: Mapping[str, str], amount: float) -> None:
        """A counter grew."""
        ...

    def observe(self, metric: Histogram, labels: Mapping[str, str], value: float) -> None:
        """A histogram got a value."""
        ...

    def set(self, metric: Gauge, labels: Mapping[str, str], value: float) -> None:
        """A gauge was set."""
        ...


class Ledger:
    """Sums and gauges in a file that several processes share."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        # A power cut may cost the last counts. Nobody waits for a disk to count.
        self._db.executescript(
            """
            PRAGMA journal_mode=WAL;
            PRAGMA synchronous=OFF;
            CREATE TABLE IF NOT EXISTS sums (series TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS gauges (
                series TEXT PRIMARY KEY, value REAL NOT NULL, set_at_s REAL NOT NULL
            ) WITHOUT ROWID;
            """
        )

    def add(self, sums: Mapping[Series, float], gauges: Mapping[Series, float]) -> None:
        """Add to sums and set gauges, all at once."""
        now_s = time.time()
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT INTO sums VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET value = value + excluded.value",
                    [(json.dumps(series), amount) for series, amount in sums.items()],
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO gauges VALUES (?, ?, ?)",
                    [(json.dumps(series), value, now_s) for series, value in gauges.items()],
                )
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def read(self) -> Reading:
        """All there is; of the gauges, those that somebody still sets."""
        with self._lock:
            sums = self._db.execute("SELECT series, value FROM sums").fetchall()
            fresh_s = time.time() - _GAUGE_S
            gauges = self._db.execute("SELECT series, value FROM gauges WHERE set_at_s > ?", (fresh_s,)).fetchall()
        return Reading({_series(name): value for name, value in sums}, {_series(name): value for name, value in gauges})

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()


def _series(text: str) -> Series:
    metric, labels, part = json.loads(text)
    return Series(metric, tuple(labels), part)


class Meters:
    """What one process has counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._sums: dict[Series, float] = {}
        self._gauges: dict[Series, float] = {}
        self._ledger: Ledger | None = None
        self._timer: threading.Timer | None = None
        self.mirrors: list[Mirror] = []
        self.metrics: dict[str, Metric] = {}

    def keep_in(self, path: Path) -> None:
        """From now on, share a ledger with other processes. What was counted so far goes there too."""
        self._ledger = Ledger(path)
        self.flush()

    def add(self, *amounts: tuple[Series, float]) -> None:
        """Add to sums."""
        with self._lock:
            self._add_up(amounts)
            self._soon()

    def set(self, series: Series, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[series] = value
            self._soon()

    def _add_up(self, amounts: Iterable[tuple[Series, float]]) -> None:
        for series, amount in amounts:
            self._sums[series] = self._sums.get(series, 0) + amount

    def _soon(self) -> None:
        if self._ledger is not None and self._timer is None:
            self._timer = threading.Timer(_FLUSH_S, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Write what is new into the ledger. What cannot be written now is written later."""
        # One at a time: whoever reads after this must find what another thread is just writing.
        with self._flushing:
            with self._lock:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                if self._ledger is None or not (self._sums or self._gauges):
                    return
                sums, gauges = self._sums, self._gauges
                self._sums, self._gauges = {}, {}
            try:
                self._ledger.add(sums, gauges)
            except sqlite3.Error:
                logger.warning("metrics could not be written; trying again", exc_info=True)
                with self._lock:
                    self._add_up(sums.items())
                    self._gauges = gauges | self._gauges

    def read(self) -> Reading:
        """Everything, of all processes that share the ledger."""
        if self._ledger is None:
            with self._lock:
                return Reading(dict(self._sums), dict(self._gauges))
        self.flush()
        return self._ledger.read()

    def close(self) -> None:
        """Write what is left, and share no more."""
        self.flush()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


class Metric:
    """A name with labels. For each label the values it may have are known; None leaves that to whoever counts.

    Args:
        name: as Prometheus shows it, with its unit; counters end in `_total`.
    """

    kind = ""

    def __init__(self, meters: Meters, name: str, what: str, **labels: Collection[str] | None) -> None:
        self.name, self.what = name, what
        self.labels = tuple(labels)
        self._known = {label: None if known is None else frozenset(known) for label, known in labels.items()}
        self._meters = meters
        meters.metrics[name] = self

    def _told(self, given: Mapping[str, str]) -> dict[str, str]:
        """The labels in their order, with known values.

        Raises:
            KeyError: one is missing.
        """
        told = {}
        for label in self.labels:
            known = self._known[label]
            told[label] = given[label] if known is None or given[label] in known else OTHER
        return told


class Counter(Metric):
    """Something that only grows."""

    kind = "counter"

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Count."""
        if amount <= 0:
            return
        told = self._told(labels)
        self._meters.add((Series(self.name, tuple(told.values())), amount))
        for mirror in self._meters.mirrors:
            mirror.add(self, told, amount)


class Gauge(Metric):
    """Something that is as it is now."""

    kind = "gauge"

    def set(self, value: float, **labels: str) -> None:
        """Note how it is."""
        told = self._told(labels)
        self._meters.set(Series(self.name, tuple(told.values())), value)
        for mirror in self._meters.mirrors:
            mirror.set(self, told, value)


class Histogram(Metric):
    """How values are spread: how many lie at or below each of the bounds, and their sum."""

    kind = "histogram"
    SUM = "sum"
    ABOVE = "+Inf"

    def __init__(
        self, meters: Meters, name: str, what: str, bounds: tuple[float, ...], **labels: Collection[str] | None
    ) -> None:
        super().__init__(meters, name, what, **labels)
        self.bounds = bounds

    def observe(self, value: float, **labels: str) -> None:
        """Note a value."""
        told = self._told(labels)
        values = tuple(told.values())
        bucket = next((str(bound) for bound in self.bounds if value <= bound), self.ABOVE)
        self._meters.add((Series(self.name, values, bucket), 1), (Series(self.name, values, self.SUM), value))
        for mirror in self._meters.mirrors:
            mirror.observe(self, told, value)

    @contextmanager
    def time(self, clock: Callable[[], float] = time.perf_counter, **labels: str) -> Iterator[None]:
        """Note how long the block takes, also if it fails."""
        began_s = clock()
        try:
            yield
        finally:
            self.observe(clock() - began_s, **labels)
