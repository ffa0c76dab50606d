"""Whose turn it is at the denoiser.

One tick advances jobs of one shape class together. Between classes time is shared out by jobs: a class is charged what its ticks
take, divided by the number of its jobs, and the class that was charged least is next. So a picture of twenty short steps does not
wait for a clip of fifty long ones, and many jobs of one shape do not crowd out a single one of another. Within a class that is
too large for one tick, those go first that were advanced longest ago, and of these the ones that are nearest to their end.

It knows nothing of networks, threads or time: it is told what a tick has cost.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

__all__ = ["Load", "Turns", "Waiting"]


class Load(Protocol):
    """What the next step of a job takes."""

    @property
    def shape_class(self) -> Hashable:
        """Jobs that are equal in it can share a forward call."""
        ...

    @property
    def rows(self) -> int:
        """Rows of the step: its guidance passes."""
        ...

    @property
    def num_bytes(self) -> int:
        """Memory that these rows take while they are computed."""
        ...


class Waiting(Load, Protocol):
    """A job that is open, as far as its turn depends on it.

    `ready` says that its next step can be made; a job that is not will be in a moment, unless it is `aside`, waiting for a disk.
    `last_tick` is the number of the tick that advanced it last, or the one before it came.
    """

    @property
    def steps_left(self) -> int:
        """Until its end."""
        ...

    @property
    def ready(self) -> bool:
        """Whether its next step can be made now."""
        ...

    @property
    def aside(self) -> bool:
        """Whether nobody should wait for it to become ready."""
        ...

    @property
    def last_tick(self) -> int:
        """When it was advanced last."""
        ...


W = TypeVar("W", bound=Waiting)


class Turns:
    """Chooses the jobs of each tick.

    Args:
        max_rows: most rows of one tick; a single job with more has a tick to itself.
        max_bytes: most memory of one tick's rows, likewise; None for no limit.
    """

    def __init__(self, max_rows: int, max_bytes: int | None = None) -> None:
        self._max_rows = max_rows
        self.max_bytes = max_bytes
        self._charged: dict[Hashable, float] = {}
        self._narrowed: dict[Hashable, int] = {}
        self._now = 0.0

    def choose(self, jobs: Sequence[W]) -> list[W]:
        """The jobs of the next tick, from all that are open; none while it is better to wait a moment."""
        classes: dict[Hashable, list[W]] = {}
        for job in jobs:
            if job.ready or not job.aside:
                classes.setdefault(job.shape_class, []).append(job)
        # A class that comes later starts where the others stand; one that is gone is forgotten.
        self._charged = {job.shape_class: self._charged.get(job.shape_class, self._now) for job in jobs}
        if not classes:
            return []
        best = min(classes, key=lambda name: (self._charged[name], min(job.steps_left for job in classes[name])))
        if any(not job.ready for job in classes[best]):
            return []
        self._now = max(self._now, self._charged[best])
        return self._within(best, sorted(classes[best], key=lambda job: (job.last_tick, job.steps_left)))

    def charge(self, jobs: Sequence[Waiting], group: Sequence[Waiting], cost: float) -> None:
        """Note what the tick of a group has cost, while all of `jobs` were open."""
        name = group[0].shape_class
        sharing = max(1, sum(job.shape_class == name for job in jobs))
        self._charged[name] = self._charged.get(name, self._now) + cost / sharing

    def narrow(self, shape_class: Hashable, rows: int) -> None:
        """So many rows of a class did not fit the device together: from now on half of them share a tick."""
        self._narrowed[shape_class] = max(1, rows // 2)

    def _within(self, name: Hashable, jobs: Iterable[W]) -> list[W]:
        """As many of the jobs as one tick may hold, in order, at least one."""
        most = min(self._max_rows, self._narrowed.get(name, self._max_rows))
        chosen: list[W] = []
        rows = num_bytes = 0
        for job in jobs:
            rows, num_bytes = rows + job.rows, num_bytes + job.num_bytes
            if chosen and (rows > most or (self.max_bytes is not None and num_bytes > self.max_bytes)):
                break
            chosen.append(job)
        return chosen
