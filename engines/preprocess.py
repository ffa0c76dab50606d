"""Sizes and pixels of visual inputs: what the MLLM is shown and what the codec encodes (NUMERICS, latents).

Pixels come in as uint8 frames [F, H, W, 3] from `vogue.engines.media`, and leave as such or as floats in [-1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vogue.schemas.errors import ShapeUnsupported

__all__ = [
    "SourceSize",
    "causal_frames",
    "evenly_spaced",
    "fit_source",
    "frames_of",
    "pixels_of",
    "place_reference",
    "resize_image",
    "size_source",
    "square_reference",
    "to_bytes",
]

Frames = NDArray[np.uint8]
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class SourceSize:
    """How a source is brought to a canvas area: resize to (`resized_height`, `resized_width`), then crop bottom and
    right to (`height`, `width`)."""

    resized_height: int
    resized_width: int
    height: int
    width: int


def size_source(height: int, width: int, area_px: int, multiple: int = 16) -> SourceSize:
    """The canvas of a source picture or clip: its aspect ratio at the given area.

    The width is taken from the height before that is rounded, as in the release.

    Raises:
        ShapeUnsupported: the source is so narrow that a side would be under `multiple` pixels.
    """
    ratio = width / height
    exact = math.sqrt(area_px / ratio)
    resized = round(exact), round(exact * ratio)
    cropped = resized[0] // multiple * multiple, resized[1] // multiple * multiple
    if min(cropped) < multiple:
        raise ShapeUnsupported(
            f"a source of {width}×{height} px comes to {resized[1]}×{resized[0]} px at the canvas area of {area_px} px; "
            f"each side must be at least {multiple} px: crop the source to a wider or higher picture"
        )
    return SourceSize(*resized, *cropped)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` frames, evenly spaced, first and last included; all where there are fewer."""
    if count <= wanted:
        return list(range(count))
    return [int(i) for i in torch.linspace(0, count - 1, wanted).round()]


def fit_source(height: int, width: int, canvas_height: int, canvas_width: int, area_px: int) -> SourceSize:
    """How a source reaches a canvas that is already chosen.

    The release's sizing where the canvas came from this source and area; else the least resize that covers the canvas.
    """
    scale = max(canvas_height / height, canvas_width / width)
    covering = max(round(height * scale), canvas_height), max(round(width * scale), canvas_width)
    try:
        size = size_source(height, width, area_px)
    except ShapeUnsupported:
        return SourceSize(*covering, canvas_height, canvas_width)
    if (size.height, size.width) == (canvas_height, canvas_width):
        return size
    return SourceSize(*covering, canvas_height, canvas_width)


def causal_frames(available: int, requested: int, group: int = 4) -> int:
    """The largest group·k + 1 not above what there is and what is wanted; at least 1."""
    return (max(min(available, requested), 1) - 1) // group * group + 1


def resize_image(frame: Frames, size: SourceSize) -> Tensor:
    """A picture [H, W, 3] on its canvas: bilinear with antialiasing, then cropped.

    Returns float32 [3, height, width] in 0…255, not rounded: the codec gets these floats, the MLLM `to_bytes` of them.
    """
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float()  # [1, 3, H, W]
    shape = (size.resized_height, size.resized_width)
    resized = F.interpolate(pixels, shape, mode="bilinear", antialias=True, align_corners=False)
    return resized[0, :, : size.height, : size.width].clamp(0.0, 255.0)


def to_bytes(pixels: Tensor) -> Frames:
    """Floats [3, H, W] in 0…255 to uint8 [H, W, 3], rounded."""
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def square_reference(frame: Frames) -> Frames:
    """A reference picture [H, W, 3], whole, centred on a white square: what the MLLM is shown."""
    height, width = frame.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), WHITE, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square


def place_reference(frame: Frames, height: int, width: int) -> Frames:
    """A reference picture for the codec: squared, resized (bicubic) to the shorter canvas side, centred on white.

    Returns uint8 [height, width, 3].
    """
    side = min(height, width)
    resized = np.asarray(Image.fromarray(square_reference(frame)).resize((side, side), Image.Resampling.BICUBIC))
    canvas = np.full((height, width, 3), WHITE, dtype=np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    canvas[top : top + side, left : left + side] = resized
    return canvas


def pixels_of(frames: Frames | Tensor) -> Tensor:
    """Frames for the codec: uint8 [F, H, W, 3], or one picture's floats [3, H, W] in 0…255, to [1, 3, F, H, W] in
    [-1, 1]."""
    if isinstance(frames, Tensor):
        return (frames.float() / 127.5 - 1.0)[None, :, None]
    moved = torch.from_numpy(np.array(frames)).permute(3, 0, 1, 2)  # [3, F, H, W]
    return (moved.float() / 127.5 - 1.0)[None]


def frames_of(pixels: Tensor) -> Frames:
    """Pixels [3, F, H, W], about [-1, 1], to uint8 frames [F, H, W, 3]."""
    scaled = (pixels.float() * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0
    return scaled.round().to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
