"""Pictures and clips as the MLLM's vision tower takes them: sized, normalised and cut into patches.

transformers' processor class for Qwen2.5-VL needs torchvision. Its picture half does not, so frames go through that one by
one and time is packed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vogue.schemas.errors import ShapeUnsupported

from .prompting import VisualKind

__all__ = ["Patches", "VisionProcessor"]

MAX_ASPECT_RATIO = 200
CHANNELS = 3


@dataclass(frozen=True)
class Patches:
    """One visual for the vision tower: values [t·h·w, C·pt·p·p] and grid (t, h, w) in patches."""

    kind: VisualKind
    values: Tensor
    grid: tuple[int, int, int]
    merge_size: int

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the vision tower sees of it."""
        head = f"{self.kind} {self.grid} {self.merge_size} {self.values.dtype} ".encode()
        return hashlib.sha256(head + self.values.contiguous().numpy().tobytes()).hexdigest()

    @property
    def num_tokens(self) -> int:
        """Placeholder tokens it takes in the chat."""
        frames, height, width = self.grid
        return frames * height * width // self.merge_size**2


class VisionProcessor:
    """Sizes pictures between `min_pixels` and `max_pixels`, in multiples of patch × merge (NUMERICS, from instruction
    to context, 2)."""

    def __init__(
        self,
        *,
        patch_size: int,
        temporal_patch_size: int,
        merge_size: int,
        min_pixels: int,
        max_pixels: int,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
    ) -> None:
        given = {"image_mean": image_mean, "image_std": image_std}
        statistics: dict[str, Any] = {name: list(values) for name, values in given.items() if values is not None}
        self.merge_size = merge_size
        self.temporal_patch_size = temporal_patch_size
        self._processor = Qwen2VLImageProcessorPil(
            size={"shortest_edge": min_pixels, "longest_edge": max_pixels},
            patch_size=patch_size,
            temporal_patch_size=temporal_patch_size,
            merge_size=merge_size,
            **statistics,
        )

    def image(self, frame: NDArray[np.uint8]) -> Patches:
        """Patches of one picture, uint8 [H, W, 3].

        Raises:
            ShapeUnsupported: one side is more than 200 times the other.
        """
        values, grid = self._one(frame)
        return Patches(VisualKind.IMAGE, values, (1, *grid), self.merge_size)

    def video(self, frames: NDArray[np.uint8]) -> Patches:
        """Patches of a clip, uint8 [F, H, W, 3]. The last frame is repeated to fill the last temporal patch.

        Raises:
            ShapeUnsupported: one side is more than 200 times the other.
        """
        depth = self.temporal_patch_size
        cut = [self._one(frame) for frame in frames]
        cut += cut[-1:] * (-len(cut) % depth)
        grid = cut[0][1]
        # A single picture comes repeated along its temporal patch, [n, C, pt, p·p]: keep one copy of each frame.
        single = torch.stack([values.unflatten(1, (CHANNELS, depth, -1))[:, :, 0] for values, _ in cut])
        packed = single.unflatten(0, (-1, depth)).permute(0, 2, 3, 1, 4)  # [t, n, C, pt, p·p]
        return Patches(VisualKind.VIDEO, packed.flatten(2).flatten(0, 1), (len(cut) // depth, *grid), self.merge_size)

    def _one(self, frame: NDArray[np.uint8]) -> tuple[Tensor, tuple[int, int]]:
        height, width = frame.shape[:2]
        if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
            raise ShapeUnsupported(
                f"a picture of {width}×{height} px is too narrow: one side may be at most {MAX_ASPECT_RATIO} times the other"
            )
        out = self._processor(images=[Image.fromarray(frame)], return_tensors="pt")
        _, rows, columns = out["image_grid_thw"][0].tolist()
        return out["pixel_values"], (rows, columns)
