"""Text from the MLLM: a batch of chats, read once and continued token by token with a key-value cache.

It knows logits and token ids only: where chats come from is `mllm.py`, which forms a text may have is `grammar.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .grammar import Form

__all__ = ["GREEDY", "Continuation", "Network", "Sampling", "continue_rows"]


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen: the likeliest at temperature 0, else drawn by a generator of this seed alone."""

    temperature: float = 0.0
    seed: int = 0


GREEDY = Sampling()


class Network(Protocol):
    """What continues the rows: it reads token ids on top of all that it has read before."""

    def first(self) -> Tensor:
        """Logits [B, V] after the prompts."""
        ...

    def following(self, ids: Tensor) -> Tensor:
        """Logits [B, V] after these ids [B, N] more."""
        ...


class Continuation:
    """One row: what it said, and what it has chosen but the network has not read yet."""

    def __init__(self, end_id: int, budget: int, sampling: Sampling = GREEDY, form: Form | None = None) -> None:
        self.ids: list[int] = []
        self.over = budget <= 0 and form is None
        self._end_id = end_id
        self._budget = budget
        self._sampling = sampling
        self._form = form
        self._unread: deque[int] = deque()
        self._generator = torch.Generator().manual_seed(sampling.seed)

    @property
    def unread(self) -> int:
        """How many tokens the network has to be shown."""
        return len(self._unread)

    def choose(self, logits: Tensor) -> None:
        """Go on after logits [V]: by one token, and by all that its form then forces."""
        chosen = self._forced()
        if not chosen:
            token = self._pick(logits if self._form is None else self._form.take(logits))
            if token == self._end_id:
                self.over = True
                return
            chosen = [token]
            if self._form is not None:
                self._form.push(token)
                chosen += self._forced()
        self.ids += chosen
        self._unread.extend(chosen)
        if self._form is not None:
            self.over = self._form.over
            if len(self.ids) >= self._budget:
                self._form.close()
        elif len(self.ids) >= self._budget:
            self.over = True

    def take_unread(self, count: int) -> list[int]:
        """The next tokens for the network; a row that is over has none to show, and gives any."""
        return [self._unread.popleft() if self._unread else self._end_id for _ in range(count)]

    def _forced(self) -> list[int]:
        return [] if self._form is None else self._form.forced()

    def _pick(self, logits: Tensor) -> int:
        logits = logits.float()
        if self._sampling.temperature == 0:
            return int(logits.argmax(-1))
        shares = torch.softmax(logits / self._sampling.temperature, dim=-1).cpu()
        return int(torch.multinomial(shares, 1, generator=self._generator))


@torch.inference_mode()
def _read(network: Network, rows: Sequence[Continuation] | None, count: int = 0) -> Tensor:
    if rows is None:
        return network.first()
    return network.following(torch.tensor([row.take_unread(count) for row in rows]))


def continue_rows(network: Network, rows: Sequence[Continuation]) -> Iterator[None]:
    """Continue all rows to their ends; yields after each step, when the rows' `ids` have grown.

    A row does not depend on its neighbours. Tokens that a form forces are read together as far as all rows have some.
    """
    if all(row.over for row in rows):
        return
    logits = _read(network, None)
    while True:
        for row, scores in zip(rows, logits, strict=True):
            if not row.over and not row.unread:
                row.choose(scores)
        yield
        alive = [row for row in rows if not row.over]
        if not alive:
            return
        logits = _read(network, rows, min(row.unread for row in alive))
