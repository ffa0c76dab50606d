"""How conditions and target share one sequence of latent frames: `[references…, target, source]` (NUMERICS, latents)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.stages import Pass

__all__ = ["Conditions", "advance", "arrange", "free_frames", "hold_first_frame"]


@dataclass(frozen=True)
class Conditions:
    """Clean latents beside the target, each [C, T, h, w] on the target's h and w.

    References and the first frame are one latent frame each; a source may be shorter than the target.
    """

    references: Sequence[Tensor] = ()
    source: Tensor | None = None
    first_frame: Tensor | None = None

    @property
    def held(self) -> int:
        """Target frames that stay as given: an image-to-video's first."""
        return int(self.first_frame is not None)

    def check(self, target: Tensor) -> None:
        """Refuse conditions that do not fit the target.

        Raises:
            ShapeUnsupported: another number of channels, height or width, more than one frame where one belongs, or no
                frame left to make.
        """
        channels, frames, height, width = target.shape
        if frames <= self.held:
            raise ShapeUnsupported("the first frame is given and no other is asked for: ask for at least 5 frames")
        single = [("reference", latents) for latents in self.references]
        single += [("first frame", self.first_frame)] if self.first_frame is not None else []
        every = single + ([("source", self.source)] if self.source is not None else [])
        for name, latents in every:
            if (latents.shape[0], *latents.shape[2:]) != (channels, height, width):
                raise ShapeUnsupported(
                    f"the {name}'s latents are {list(latents.shape)}, but the target's {list(target.shape)}: "
                    "channels, height and width must agree"
                )
        for name, latents in single:
            if latents.shape[1] != 1:
                raise ShapeUnsupported(f"the {name}'s latents have {latents.shape[1]} frames; it must be one picture")


def hold_first_frame(target: Tensor, conditions: Conditions) -> Tensor:
    """Image-to-video: the picture's latent stands in the target's first frame at every step."""
    if conditions.first_frame is None:
        return target
    return torch.cat([conditions.first_frame, target[:, 1:]], dim=1)


def arrange(target: Tensor, conditions: Conditions, which: Pass) -> Tensor:
    """The latents that a pass receives: [C, T', h, w]. The pass without visuals gets only the frames to be made."""
    if which is Pass.UNCONDITIONAL:
        return target[:, conditions.held :]
    after = [conditions.source] if conditions.source is not None else []
    return torch.cat([*conditions.references, target, *after], dim=1)


def free_frames(velocity: Tensor, frames: int, conditions: Conditions, which: Pass) -> Tensor:
    """The part of a pass's velocity that moves something: the target's `frames`, without a held one."""
    if which is Pass.UNCONDITIONAL:
        return velocity
    start = len(conditions.references)
    return velocity[:, start + conditions.held : start + frames]


def advance(target: Tensor, conditions: Conditions, change: Tensor) -> Tensor:
    """Add a change to the frames that are free, [C, T − held, h, w]; a held frame stays to the bit."""
    held = conditions.held
    return torch.cat([target[:, :held], target[:, held:] + change], dim=1)
