"""Batches of one shape: which cases go together, and how much of a batch is padding.

Cases meet by the frames of their sequence and by the length of their context; tasks are mixed freely inside. Short sequences come in
larger batches, so that every batch has about the same number of tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .encoded import Blindness, Encoded

__all__ = ["Buckets", "Padding", "measure_padding"]

BIN: Final = 8


@dataclass(frozen=True)
class Padding:
    """Share of the joint sequence (latents and context) that is padding, by how batches are made."""

    worst: float
    by_frames: float
    by_frames_and_context: float


class Buckets:
    """Draws batches of cases so that rows come in given shares.

    Args:
        shares: share of rows of each exercise.
        tokens_per_frame: of a latent frame in the MMDiT.
        tokens: tokens of a batch, about.
        multiple: batches are multiples of this, so that as many workers can share one.
        blind: what the ablation leaves of each case.
        context_bin: contexts of a bucket differ by less than this; None lets all lengths meet.
    Raises:
        ValueError: an exercise has a share but no case, or shares do not sum to one.
    """

    def __init__(
        self,
        cases: Sequence[Encoded],
        shares: Mapping[str, float],
        *,
        tokens_per_frame: int,
        tokens: int,
        multiple: int = 8,
        context_bin: int | None = BIN,
        blind: Blindness | None = None,
    ) -> None:
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares sum to {sum(shares.values())}, not to 1: {dict(shares)}")
        counts: dict[str, int] = defaultdict(int)
        for case in cases:
            counts[case.key.exercise] += 1
        if missing := [name for name, share in shares.items() if share > 0 and not counts[name]]:
            raise ValueError(f"no cases of {', '.join(missing)}")
        lengths = [case.size(blind or Blindness()) for case in cases]
        members: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, case in enumerate(cases):
            if shares.get(case.key.exercise, 0) > 0:
                frames, length = lengths[number]
                members[frames, 0 if context_bin is None else -(-length // context_bin)].append(number)
        self.shapes = sorted(members)
        self.members = [np.array(members[shape]) for shape in self.shapes]
        weights = [
            np.array([shares[(name := cases[n].key.exercise)] / counts[name] for n in some]) for some in self.members
        ]
        mass = np.array([weight.sum() for weight in weights])
        self.within = [weight / weight.sum() for weight in weights]
        longest = [max(lengths[n][1] for n in some) for some in self.members]
        sizes = [
            tokens // (shape[0] * tokens_per_frame + length) for shape, length in zip(self.shapes, longest, strict=True)
        ]
        self.sizes = [max(multiple, size // multiple * multiple) for size in sizes]
        # Shares are of rows: a bucket of large batches is drawn so much less often.
        chances = mass / np.array(self.sizes)
        self.chances = chances / chances.sum()

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Numbers of the cases of one batch."""
        bucket = int(rng.choice(len(self.shapes), p=self.chances))
        return rng.choice(self.members[bucket], self.sizes[bucket], p=self.within[bucket])


def measure_padding(
    cases: Sequence[Encoded],
    shares: Mapping[str, float],
    *,
    tokens_per_frame: int,
    tokens: int,
    batches: int = 200,
    seed: int = 0,
) -> Padding:
    """Padding of batches drawn without buckets, with buckets of equal frames, and with those of frames and context."""
    counts: dict[str, int] = defaultdict(int)
    for case in cases:
        counts[case.key.exercise] += 1
    chances = np.array([shares.get(case.key.exercise, 0.0) / counts[case.key.exercise] for case in cases])
    rng = np.random.default_rng(seed)
    size = max(2, tokens // (6 * tokens_per_frame + 64))
    mixed = [rng.choice(len(cases), size, p=chances / chances.sum()) for _ in range(batches)]
    results = [_share(cases, mixed, tokens_per_frame)]
    for width in (None, BIN):
        buckets = Buckets(cases, shares, tokens_per_frame=tokens_per_frame, tokens=tokens, context_bin=width)
        rng = np.random.default_rng(seed)
        results.append(_share(cases, [buckets.draw(rng) for _ in range(batches)], tokens_per_frame))
    return Padding(*results)


def _share(cases: Sequence[Encoded], batches: Sequence[NDArray[np.int64]], tokens_per_frame: int) -> float:
    padded = whole = 0
    for batch in batches:
        frames = np.array([cases[n].layout.total for n in batch]) * tokens_per_frame
        context = np.array([len(cases[n].states) for n in batch])
        room = (frames.max() + context.max()) * len(batch)
        whole += int(room)
        padded += int(room - frames.sum() - context.sum())
    return padded / whole
