"""Which passes a step needs, and how their velocities combine (NUMERICS, guidance and schedule)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vogue.schemas.errors import RequestInvalid
from vogue.schemas.stages import Pass

__all__ = ["combine", "passes_for"]


def passes_for(guidance: float, image_guidance: float) -> tuple[Pass, ...]:
    """The passes of text scale g and image scale h, in the order in which they are run.

    g ≤ 1 needs the full prompt only; h ≤ 1 leaves out the pass without visuals.
    """
    if guidance <= 1:
        return (Pass.CONDITIONAL,)
    if image_guidance <= 1:
        return Pass.NEGATIVE, Pass.CONDITIONAL
    return Pass.UNCONDITIONAL, Pass.NEGATIVE, Pass.CONDITIONAL


def combine(velocities: Mapping[Pass, Tensor], guidance: float, image_guidance: float) -> Tensor:
    """v = u + h·(n − u) + g·(c − n), n + g·(c − n) or c, by the passes that the scales need.

    All tensors cover the frames to be made only: [C, T, h, w], float32.

    Raises:
        RequestInvalid: a pass is missing.
    """
    needed = passes_for(guidance, image_guidance)
    missing = [which.value for which in needed if which not in velocities]
    if missing:
        raise RequestInvalid(f"guidance {guidance} and {image_guidance} need the passes {', '.join(missing)}")
    full = velocities[Pass.CONDITIONAL]
    if len(needed) == 1:
        return full
    negative = velocities[Pass.NEGATIVE]
    if len(needed) == 2:
        return negative + guidance * (full - negative)
    bare = velocities[Pass.UNCONDITIONAL]
    return bare + image_guidance * (negative - bare) + guidance * (full - negative)
