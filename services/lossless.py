"""Results as inputs of later jobs: the frames and latents they were before they became files."""

from __future__ import annotations

import numpy as np

from vogue.engines.preprocess import causal_frames, fit_source, resize_image, to_bytes
from vogue.schemas.config import Role
from vogue.schemas.references import Lossless, MediaKind, PreparedVisual, TensorRef
from vogue.schemas.stages import PrepareRequest

from .blobs import BlobStore

__all__ = ["prepare_lossless"]

_ON_THE_CANVAS = (Role.SOURCE, Role.FIRST_FRAME)
"""Roles whose pixels the VAE is given as they are; a reference is placed on white first."""


def prepare_lossless(
    request: PrepareRequest, lossless: Lossless, frames: TensorRef, blobs: BlobStore, area_px: int
) -> PreparedVisual:
    """A result as a prepared visual; its latents come along where the VAE would encode exactly these frames.

    Args:
        frames: the result's frames, uint8 [T, H, W, 3], surely in the store.
        area_px: canvas area of the preset, for a result of another size.
    """
    source_frames, height_px, width_px, _ = frames.shape
    canvas = (request.height_px, request.width_px)
    used = source_frames
    if lossless.kind is MediaKind.VIDEO:
        used = causal_frames(source_frames, request.max_frames)
    fits = (height_px, width_px) == canvas or lossless.kind is MediaKind.IMAGE
    if used < source_frames or not fits:
        kept = blobs.get_tensor(frames)[:used]
        if not fits:
            size = fit_source(height_px, width_px, *canvas, area_px)
            kept = np.stack([to_bytes(resize_image(frame, size)) for frame in kept])
        frames = blobs.put_tensor(np.ascontiguousarray(kept))
    whole = used == source_frames and (height_px, width_px) == canvas and request.visual.role in _ON_THE_CANVAS
    return PreparedVisual(
        tag=request.visual.tag,
        role=request.visual.role or Role.SOURCE,
        kind=lossless.kind,
        frames=frames,
        fps=lossless.fps,
        has_audio=lossless.has_audio,
        source_frames=source_frames,
        original=request.original,
        latents=lossless.latents if whole and blobs.has(lossless.latents.sha256) else None,
    )
