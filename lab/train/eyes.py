"""Training of the MLLM's vision tower alone, on what its tokens show: many pictures a minute, since no language model runs.

The tower sees shapes only after some hundred thousand pictures, far more than pass by while the whole MLLM is trained. What it learns
here goes into the MLLM's run by `give-eyes`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from .optim import Optimizers
from .pupil import Pupil, open_pupil, pack_frames
from .reading import reading_loss, reading_right
from .sights import CELLS, REPORTED, SEEN, Sight, SightKind, draw_sight, facts_of

__all__ = ["EyesTask", "give_eyes"]

BATCH = 128
HELD_OUT = 256
KINDS: dict[SightKind, float] = {"picture": 0.6, "drawing": 0.25, "clip": 0.15}
CLIP_PART = 4
COVER_WEIGHT = 0.5
EVALUATED: tuple[SightKind, ...] = ("picture", "drawing")
"""A token of the tower shows two frames, which do not tell a motion."""


class Eyes(nn.Module):
    """The tower of a `Pupil`, the head that reads its tokens, and one that tells which cells of a token a subject covers.

    To tell a subject's outline is easy to learn, and its shape is read off the outline.
    """

    def __init__(self, pupil: Pupil) -> None:
        super().__init__()
        self.visual, self.eyes = pupil.mllm.model.visual, pupil.eyes
        self.cover = nn.Linear(pupil.echo.in_features, CELLS**2)

    def forward(self, frames: NDArray[np.uint8]) -> Tensor:
        """Tokens [B, N, width] of pictures or clips of one shape, uint8 [B, F, H, W, 3]."""
        with torch.autocast("cpu", torch.bfloat16):
            tokens: Tensor = self.visual(*pack_frames(frames)).pooler_output
        return tokens.unflatten(0, (len(frames), -1)).float()


class EyesTask:
    """Facts and outlines off the tower's tokens."""

    name = "eyes"

    def __init__(self, tokenizer: Tokenizer, *, batch: int = BATCH, seed: int = 0, **sizes: int) -> None:
        torch.manual_seed(seed)
        self.batch, self.seed = batch, seed
        self.network = Eyes(open_pupil(tokenizer, **sizes))
        self.optimizers = Optimizers(
            self.network.named_parameters(), muon_lr=2e-3, adam_lr=1e-3, plain=("patch", "eyes", "cover")
        )

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch of one kind of sights, drawn anew."""
        kinds = list(KINDS)
        kind = kinds[int(rng.choice(len(kinds), p=list(KINDS.values())))]
        count = self.batch // CLIP_PART if kind == "clip" else self.batch
        sights = self._draw(kind, rng.integers(0, 2**30, count))
        labels, places, cover = facts_of(sights)
        tokens = self.network(np.stack([sight.frames for sight in sights]))
        facts = reading_loss(self.network.eyes(tokens), labels, places, SEEN)
        outlines = F.binary_cross_entropy_with_logits(self.network.cover(tokens), cover)
        told = {kind: float(facts.detach()), "outlines": float(outlines.detach())}
        return facts + COVER_WEIGHT * outlines, told

    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """What is read rightly off new pictures and drawings."""
        network = average if isinstance(average, Eyes) else self.network
        scores: dict[str, float] = {}
        for kind in EVALUATED:
            sights = self._draw(kind, 2**30 + np.arange(HELD_OUT))
            labels, _, _ = facts_of(sights)
            right = reading_right(network.eyes(network(np.stack([one.frames for one in sights]))), labels, SEEN)
            scores |= {f"{kind} {name}": right[name] for name in REPORTED[kind]}
        return scores

    def _draw(self, kind: SightKind, numbers: NDArray[np.integer]) -> list[Sight]:
        return [draw_sight(kind, int(number), self.seed) for number in numbers]


def give_eyes(eyes: Mapping[str, Tensor], mllm: MutableMapping[str, Tensor]) -> None:
    """Put the tower and its reader, as `EyesTask` trained them, into the state of a `Pupil`."""
    places = {"visual.": "mllm.model.visual.", "eyes.": "eyes."}
    for name, value in eyes.items():
        for start, place in places.items():
            if name.startswith(start):
                mllm[place + name.removeprefix(start)] = value
