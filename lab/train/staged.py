"""A stage as a task of the trainer: batches of mixed tasks and one shape, the stage's recipe, the same numbers on any number of workers.

Every worker draws the whole batch and its noise from (seed, step), and computes its own rows of it. Losses are sums over rows divided by
what the whole batch weighs, so that gradients averaged over workers are those of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vogue.engines.schedule import shift_sigmas
from vogue.schemas.config import Preset

from .buckets import Buckets
from .encoded import Blindness, Encoded, Shelf
from .generator import Generator
from .optim import Optimizers
from .plain_attention import use_plain_attention
from .reading import reading_loss
from .stages import Recipe, Stage

__all__ = ["Batch", "StageTask", "collate", "draw_sigmas", "stage_loss"]

EVEN_SHARE: Final = 0.3
"""Share of noise levels that are even rather than logit-normal, before the shift; the paper's distribution is unknown."""
SUBJECT_WEIGHT: Final = 12.0
EDITED_WEIGHT: Final = 3.0
"""Where the loss counts more, as in the mini model's own training (docs/training.md); the paper weighs all alike, as far as it says."""
PATCH: Final = 2
_EVAL_SEED: Final = 20_251_009


@dataclass
class Batch:
    """Cases of one number of frames.

    clean [B, C, T, h, w]; free [B, T]: frames to be made; states [B, L, D] and mask [B, L]; weight [B, T, h, w]; edits [B]; labels
    [B, N, attributes], places [B, N, 3] and asked [B, N], of the target's tokens; dropped: whose prompt is the negative one.
    """

    cases: list[Encoded]
    clean: Tensor
    free: Tensor
    states: Tensor
    mask: Tensor
    weight: Tensor
    edits: Tensor
    labels: Tensor
    places: Tensor
    asked: Tensor
    dropped: list[bool]


def collate(cases: Sequence[Encoded], dropped: Sequence[bool], bare: Tensor, blind: Blindness | None = None) -> Batch:
    """One batch; rows that are `dropped` see the negative prompt, `bare` [L, D] where that has no visuals."""
    blind = blind or Blindness()
    rows = [_sequence(case, blind.mmdit) for case in cases]
    states = [_states(case, drop, bare, blind.mllm).float() for case, drop in zip(cases, dropped, strict=True)]
    lengths = torch.tensor([len(one) for one in states])
    return Batch(
        list(cases),
        torch.stack([row["frames"] for row in rows]).float().transpose(1, 2).contiguous(),
        torch.stack([row["free"] for row in rows]).bool(),
        nn.utils.rnn.pad_sequence(states, batch_first=True),
        torch.arange(int(lengths.max())) < lengths[:, None],
        torch.stack([row["weight"] for row in rows]).float(),
        torch.tensor([case.layout.source > 0 for case in cases]),
        torch.stack([row["labels"] for row in rows]).flatten(1, 3).long(),
        torch.stack([row["places"] for row in rows]).flatten(1, 3).float(),
        torch.stack([row["asked"] for row in rows]).bool().flatten(1),
        list(dropped),
    )


def draw_sigmas(count: int, generator: torch.Generator, shift: float) -> Tensor:
    """Noise levels [count]: mostly logit-normal, some even, moved towards noise by the recipe's shift."""
    normal = torch.sigmoid(torch.randn(count, generator=generator))
    even = torch.rand(count, generator=generator)
    chosen = torch.where(torch.rand(count, generator=generator) < EVEN_SHARE, even, normal)
    return shift_sigmas(chosen, shift).clamp(1e-3, 1.0)


def stage_loss(
    forward: Callable[[Tensor, Tensor, Batch, slice], Tensor],
    batch: Batch,
    generator: torch.Generator,
    shift: float,
    mine: slice,
    workers: int,
) -> Tensor:
    """Squared error of the velocity `noise − data` on the frames to be made, of this worker's rows.

    The mean of this over workers is the loss of the whole batch.
    """
    sigma = draw_sigmas(len(batch.clean), generator, shift)
    noise = torch.randn(batch.clean.shape, generator=generator)
    level = sigma.view(-1, 1, 1, 1, 1)
    free = batch.free[:, None, :, None, None]
    latents = torch.where(free, (1 - level) * batch.clean + level * noise, batch.clean)
    velocity = forward(latents[mine], 1000 * sigma[mine], batch, mine)
    error = (velocity.float() - (noise - batch.clean)[mine]).square().mean(dim=1)  # [B, T, h, w]
    emphasis = SUBJECT_WEIGHT * (1 - sigma).square() + EDITED_WEIGHT * batch.edits
    weight = batch.free[:, :, None, None] * (1 + emphasis[:, None, None, None] * batch.weight)
    return workers * (error * weight[mine]).sum() / weight.sum()


class StageTask:
    """One stage of training; a task of `Trainer`.

    Args:
        shelf: encoded cases; `held_out` those for evaluation.
        shares: share of rows of each exercise.
        start: a generator's state to begin with, by parts; parts that it lacks begin at random.
        tokens: tokens of a batch over all workers.
        worker, workers: which rows of a batch are this process's.
        wrap: makes of the network what gradients are averaged by, when there are several workers.
        network: what is trained, if not a plain `Generator`.
    """

    def __init__(
        self,
        stage: Stage,
        preset: Preset,
        shelf: Shelf,
        held_out: Shelf,
        shares: Mapping[str, float],
        bare: Tensor,
        *,
        recipe: Recipe | None = None,
        start: Mapping[str, Tensor] | None = None,
        seed: int = 0,
        tokens: int = 8192,
        worker: int = 0,
        workers: int = 1,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
        network: Generator | None = None,
        blind: Blindness | None = None,
        autocast: bool = True,
    ) -> None:
        torch.manual_seed(seed)
        self.name, self.stage, self.recipe = stage.name, stage, recipe or stage.mini
        self.preset = preset
        self.network = network if network is not None else Generator(preset)
        use_plain_attention(self.network)
        if start is not None:
            _load_parts(self.network, start)
        self._freeze()
        self.shelf, self.held_out, self.bare = shelf, held_out, bare
        self.blind, self.autocast = blind or Blindness(), autocast
        self.worker, self.workers = worker, workers
        side = shelf.cases[0].frames.shape[-1] // PATCH
        self.buckets = Buckets(shelf.cases, shares, tokens_per_frame=side * side, tokens=tokens, blind=self.blind)
        if any(size % workers for size in self.buckets.sizes):
            raise ValueError(f"{workers} workers cannot share batches of {sorted(set(self.buckets.sizes))} rows evenly")
        self.optimizers = Optimizers(
            self.network.named_parameters(), muon_lr=0.0, adam_lr=self.recipe.learning_rate, adam_eps=self.recipe.eps
        )
        self._forward = wrap(self.network) if wrap is not None else self.network

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of this worker's rows of the batch drawn with `rng`."""
        numbers = self.buckets.draw(rng)
        dropped = rng.random(len(numbers)) < (self.recipe.dropped or 0.0)
        batch = collate([self.shelf.cases[n] for n in numbers], dropped.tolist(), self.bare, self.blind)
        mine = slice(self.worker, None, self.workers)
        loss = stage_loss(self._run, batch, generator, self.recipe.shift, mine, self.workers)
        report = {"rows": float(len(numbers)), "flow": float(loss.detach())}
        if self.recipe.reading > 0:
            reading = self._reading(batch, mine)
            report["reading"] = float(reading.detach())
            loss = loss + self.recipe.reading * reading
        return loss, report

    @torch.no_grad()
    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """Flow loss on held-out cases of each exercise, always with the same noise."""
        trained, forward = self.network, self._forward
        if isinstance(average, Generator):
            self.network = self._forward = average
        scores: dict[str, float] = {}
        by_shape: dict[tuple[str, int], list[Encoded]] = {}
        for case in self.held_out.cases:
            by_shape.setdefault((case.key.exercise, case.layout.total), []).append(case)
        for (name, _), cases in by_shape.items():
            batch = collate(cases, [False] * len(cases), self.bare, self.blind)
            noise = torch.Generator().manual_seed(_EVAL_SEED)
            loss = stage_loss(self._run, batch, noise, self.recipe.shift, slice(None), 1)
            scores[name] = scores.get(name, 0.0) + float(loss) * len(cases) / self._held_out_of(name)
        self.network, self._forward = trained, forward
        return scores

    def _run(self, latents: Tensor, timestep: Tensor, batch: Batch, mine: slice) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            velocity: Tensor = self._forward(latents, timestep, batch.states[mine], batch.mask[mine])
        return velocity

    def _reading(self, batch: Batch, mine: slice) -> Tensor:
        asked = batch.asked[mine]
        read, labels, places = self.network.reading()[asked], batch.labels[mine][asked], batch.places[mine][asked]
        share = self.workers * asked.sum() / batch.asked.sum()
        return share * reading_loss(read[None], labels[None], places[None])

    def _held_out_of(self, name: str) -> int:
        return sum(case.key.exercise == name for case in self.held_out.cases)

    def _freeze(self) -> None:
        trained = (*self.stage.trains, *(("reader",) if self.recipe.reading > 0 else ()))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.startswith(trained) or name.startswith("queries"))


def _sequence(case: Encoded, unseen: bool) -> dict[str, Tensor]:
    """Frames of a case, which of them are to be made, and what its target's tokens are asked; targets alone when `unseen`."""
    layout = case.layout
    before, after = layout.references, layout.source
    if unseen:
        frames, free = case.frames[before : before + layout.target], torch.ones(layout.target)
        before = after = 0
    else:
        frames, free = case.frames, F.pad(torch.ones(layout.target - layout.held), (before + layout.held, after))

    def around(values: Tensor) -> Tensor:
        return F.pad(values, (*(0, 0) * (values.dim() - 1), before, after))

    asked = torch.ones(case.labels.shape[:3])
    parts = {"weight": case.weight, "labels": case.labels, "places": case.places, "asked": asked}
    return {"frames": frames, "free": free, **{name: around(one) for name, one in parts.items()}}


def _states(case: Encoded, drop: bool, bare: Tensor, unseen: bool) -> Tensor:
    if drop:
        return bare if unseen else case.negative
    if not unseen:
        return case.states
    if not len(case.blind):
        raise ValueError(
            f"{case.key.exercise} was encoded without what the MLLM makes of words alone: encode with --blind"
        )
    return case.blind


def _load_parts(network: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Load the parts that `start` has, whole."""
    for name, part in network.named_children():
        state = {key.removeprefix(f"{name}."): value for key, value in start.items() if key.startswith(f"{name}.")}
        if state:
            part.load_state_dict(state)
