"""What a network's graph takes and gives: names, element types, and axes by name. No library is loaded here.

The MMDiT's graph starts at patch tokens, so one open length stands for frames, height and width together, rows of different
shapes share a call, and rotary positions come in as real numbers. Patches are cut and joined outside. Every server and every
compiled engine of a network has these names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from vogue.schemas.config import HunyuanVAEConfig, Preset

__all__ = ["Network", "Signature", "TensorSpec", "signature_of"]

ElementType = Literal["float32", "bool"]


class Network(StrEnum):
    """A graph of its own. Decoding one latent frame is another computation than decoding several, so it has its own."""

    MMDIT = "mmdit"
    DECODER = "decoder"
    DECODER_STILL = "decoder_still"


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a graph; an axis is a number, or the name of what is left open."""

    name: str
    dtype: ElementType
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a graph, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def open_axes(self) -> tuple[str, ...]:
        """Names of the axes whose size a call decides."""
        return tuple(
            dict.fromkeys(axis for one in self.inputs for axis in one.shape if isinstance(axis, str))
        )  # a set that keeps its order


def signature_of(preset: Preset, network: Network) -> Signature:
    """Names and shapes of a preset's network.

    `mmdit`: tokens, rope_cos, rope_sin, timestep, guidance, context, latent_mask, context_mask → velocity.
    `decoder`, `decoder_still`: latents → pixels. Of the large VAE, whose clips are decoded tile by tile, the graph is one tile's.
    """
    return _mmdit(preset) if network is Network.MMDIT else _decoder(preset, network)


def _mmdit(preset: Preset) -> Signature:
    config = preset.mmdit
    patch = config.patch_size**2
    angles = config.attention_head_dim // 2
    return Signature(
        inputs=(
            TensorSpec("tokens", "float32", ("batch", "tokens", config.in_channels * patch)),
            TensorSpec("rope_cos", "float32", ("batch", "tokens", angles)),
            TensorSpec("rope_sin", "float32", ("batch", "tokens", angles)),
            TensorSpec("timestep", "float32", ("batch",)),
            TensorSpec("guidance", "float32", ("batch",)),
            TensorSpec("context", "float32", ("batch", "context", config.context_dim)),
            TensorSpec("latent_mask", "bool", ("batch", "tokens")),
            TensorSpec("context_mask", "bool", ("batch", "context")),
        ),
        outputs=(TensorSpec("velocity", "float32", ("batch", "tokens", config.out_channels * patch)),),
    )


def _decoder(preset: Preset, network: Network) -> Signature:
    vae = preset.vae
    frames: int | str = 1 if network is Network.DECODER_STILL else "frames"
    batch: int | str = 1 if isinstance(vae, HunyuanVAEConfig) else "batch"
    return Signature(
        inputs=(TensorSpec("latents", "float32", (batch, vae.latent_channels, frames, "height", "width")),),
        outputs=(
            TensorSpec(
                "pixels",
                "float32",
                (batch, 3, 1 if network is Network.DECODER_STILL else "pixel_frames", "pixel_height", "pixel_width"),
            ),
        ),
    )
