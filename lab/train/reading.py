"""Heads that read facts off a network's tokens while it is trained, and the loss of what they read. None of them ships.

Asking tokens for facts that are known exactly teaches what stands where long before a network's own loss would (as in
representation alignment, arXiv 2410.06940, with facts in place of another network's features).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .labels import ATTRIBUTES

__all__ = ["CLASSES", "count_classes", "make_reader", "reading_loss", "reading_right"]

PLACE_WEIGHT = 0.5
# Shape changes the fewest pixels, so it is learnt last.
NAME_WEIGHTS: Final = {"shape": 2.0}


def count_classes(attributes: Mapping[str, tuple[str, ...]]) -> tuple[int, ...]:
    """Classes of each attribute: its values, and none."""
    return tuple(len(values) + 1 for values in attributes.values())


CLASSES: Final = count_classes(ATTRIBUTES)


def make_reader(width: int, attributes: Mapping[str, tuple[str, ...]], num_places: int) -> nn.Sequential:
    """A small head from tokens [..., width] to logits of every attribute and places, [..., sum of classes + num_places]."""
    told = sum(count_classes(attributes)) + num_places
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, told))


def reading_loss(
    reading: Tensor, labels: Tensor, places: Tensor, attributes: Mapping[str, tuple[str, ...]] = ATTRIBUTES
) -> Tensor:
    """How far a reading [B, N, K] is from the facts: labels [B, N, attributes], 0 for none, and places [B, N, P].

    Places count where the first attribute is not none.
    """
    *logits, where = reading.float().split((*count_classes(attributes), places.shape[-1]), dim=-1)
    weights = [NAME_WEIGHTS.get(name, 1.0) for name in attributes]
    names = [
        weight * F.cross_entropy(one.flatten(0, 1), labels[..., index].flatten())
        for index, (weight, one) in enumerate(zip(weights, logits, strict=True))
    ]
    seen = labels[..., :1] > 0
    off = F.smooth_l1_loss(where * seen, places * seen)
    return torch.stack(names).sum() / sum(weights) + PLACE_WEIGHT * off


def reading_right(
    reading: Tensor, labels: Tensor, attributes: Mapping[str, tuple[str, ...]] = ATTRIBUTES
) -> dict[str, float]:
    """Share of the tokens that show a named subject whose attribute is read rightly, of a reading as in `reading_loss`."""
    seen = labels[..., 0] > 0
    classes = count_classes(attributes)
    logits = reading.float()[..., : sum(classes)].split(classes, dim=-1)
    return {
        name: float((one.argmax(-1) == labels[..., index])[seen].float().mean())
        for index, (name, one) in enumerate(zip(attributes, logits, strict=True))
    }
