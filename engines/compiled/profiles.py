"""Profiles: for each open axis of a graph the smallest, the usual and the largest size, taken from a preset's limits.

A compiled engine runs nothing outside its profile. What does not fit is refused before it runs, with the nearest size that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from pydantic import PositiveInt, model_validator

from vogue.schemas.base import Contract
from vogue.schemas.config import HunyuanVAEConfig, Preset, Task, Variant
from vogue.schemas.errors import ProfileExceeded

from .signatures import Network

__all__ = ["Axis", "Profile", "profile_of"]

MOST_ROWS = 16
"""Rows of one call on the small presets: what the torch engine takes at once."""

MOST_ROWS_LARGE = 3
"""On the released sizes: the passes of one job. At their token counts a larger batch is no faster."""

MERGED_PATCH_PX = 28
"""Side of what Qwen2.5-VL makes one token of. Small models have smaller patches, hence their own figure."""

MERGED_PATCH_SMALL_PX = 16

USUAL_TEXT_TOKENS = 256

LAYOUT_TOKENS = 64
"""Chat layout and the marks around pictures, with room to spare."""

TILE_LATENTS = 32
"""Side of the large VAE's tiles: 256 px."""

TILE_FRAMES = 5
"""Latent frames that the large VAE decodes at once: 17 frames of pixels."""


class Axis(Contract):
    """Sizes of one open axis."""

    smallest: PositiveInt
    usual: PositiveInt
    largest: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.smallest <= self.usual <= self.largest:
            raise ValueError(f"an axis must go up: {self.smallest}, {self.usual}, {self.largest}")
        return self

    def allows(self, size: int) -> bool:
        """Whether a call may have this size."""
        return self.smallest <= size <= self.largest


class Profile(Contract):
    """Sizes of every open axis of a graph, by the axis's name."""

    axes: dict[str, Axis]

    def check(self, sizes: Mapping[str, int], what: str, *, hint: Callable[[int], str | None] | None = None) -> None:
        """Refuse a call outside the profile.

        Args:
            sizes: the call's size on some of the axes.
            what: the call in the user's words, for the message.
            hint: the nearest allowed size of the first wrong axis in the user's words, from its nearest number.
        Raises:
            ProfileExceeded: names the axis, the range and the nearest allowed size.
        """
        for name, size in sizes.items():
            axis = self.axes[name]
            if axis.allows(size):
                continue
            nearest = min(max(size, axis.smallest), axis.largest)
            words = hint(nearest) if hint is not None and name == next(iter(sizes)) else None
            raise ProfileExceeded(
                f"{what}: {size} {name} are outside the engine's profile of {axis.smallest} to {axis.largest}; the nearest"
                f" that it runs is {nearest} {name}{f' ({words})' if words else ''}. Ask for a smaller result, or build a"
                " larger engine with `vogue engine build`"
            )


def profile_of(preset: Preset, network: Network) -> Profile:
    """From the smallest picture to the largest edit with all references that the preset's limits allow."""
    if network is Network.MMDIT:
        return _mmdit(preset)
    return _decoder(preset, network)


def _mmdit(preset: Preset) -> Profile:
    limits, patch = preset.limits, preset.mmdit.patch_size
    side = preset.vae.spatial_compression_ratio * patch
    frames = (limits.max_frames - 1) // preset.vae.temporal_compression_ratio + 1
    usual = max(preset.tasks.values(), key=lambda one: one.num_frames * one.height_px * one.width_px)
    usual_frames = (usual.num_frames - 1) // preset.vae.temporal_compression_ratio + 1
    edits = any(task.edits and task.makes_video for task in preset.tasks)
    return Profile(
        axes={
            "batch": _batch(preset),
            "tokens": Axis(
                smallest=(limits.min_side_px // side) ** 2,
                usual=usual_frames * (2 if edits else 1) * (usual.height_px // side) * (usual.width_px // side),
                largest=(2 * frames + limits.max_references) * (limits.max_area_px // side**2),
            ),
            "context": _context(preset),
        }
    )


def _batch(preset: Preset) -> Axis:
    if isinstance(preset.vae, HunyuanVAEConfig):
        return Axis(smallest=1, usual=1, largest=MOST_ROWS_LARGE)
    return Axis(smallest=1, usual=3, largest=MOST_ROWS)


def _context(preset: Preset) -> Axis:
    """Text, the pictures that the MLLM sees, and its queries."""
    mllm = preset.mllm
    side = MERGED_PATCH_PX if isinstance(preset.vae, HunyuanVAEConfig) else MERGED_PATCH_SMALL_PX
    picture = mllm.max_pixels // side**2
    queries = mllm.num_queries + 2 if mllm.variant is Variant.QUERIES else 0
    pairs = -(-mllm.source_video_frames // 2)  # the MLLM joins two frames of a clip
    text = min(USUAL_TEXT_TOKENS, mllm.max_text_tokens)
    return Axis(
        smallest=1,
        usual=text + pairs * picture + queries + LAYOUT_TOKENS,
        largest=mllm.max_text_tokens + (pairs + preset.limits.max_visuals) * picture + queries + LAYOUT_TOKENS,
    )


def _decoder(preset: Preset, network: Network) -> Profile:
    limits, vae = preset.limits, preset.vae
    side = vae.spatial_compression_ratio
    usual = preset.tasks[Task.T2V] if Task.T2V in preset.tasks else next(iter(preset.tasks.values()))
    axes: dict[str, Axis] = {}
    if isinstance(vae, HunyuanVAEConfig):
        # Clips are cut into overlapping tiles; the last of a row may be as narrow as one latent.
        frames, sides = TILE_FRAMES, Axis(smallest=1, usual=TILE_LATENTS, largest=TILE_LATENTS)
        axes |= {"height": sides, "width": sides}
        usual_frames = frames
    else:
        axes["batch"] = Axis(smallest=1, usual=1, largest=MOST_ROWS)
        frames = (limits.max_frames - 1) // vae.temporal_compression_ratio + 1
        usual_frames = (usual.num_frames - 1) // vae.temporal_compression_ratio + 1
        for name, px in (("height", usual.height_px), ("width", usual.width_px)):
            axes[name] = Axis(smallest=limits.min_side_px // side, usual=px // side, largest=limits.max_side_px // side)
    if network is Network.DECODER:
        axes["frames"] = Axis(smallest=2, usual=max(2, usual_frames), largest=max(2, frames))
    return Profile(axes=axes)
