"""References to bytes in the content-addressed store: what crosses a border in place of the bytes themselves."""

from __future__ import annotations

from enum import StrEnum
from math import prod
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints

from .base import Contract
from .config import Role

__all__ = ["Artifact", "DType", "Digest", "Lossless", "MediaKind", "PreparedVisual", "Tag", "TensorRef"]

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""Lower-case hex SHA-256 of the stored bytes."""

Tag = Annotated[str, StringConstraints(pattern=r"^(image|video)[1-9][0-9]?$")]
"""How an instruction names a visual input: `image1`, `video2`, …"""


class DType(StrEnum):
    """Element types that travel. bfloat16 is carried as its raw 16 bits."""

    UINT8 = "uint8"
    INT64 = "int64"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return {"uint8": 1, "int64": 8, "float32": 4}.get(self.value, 2)


class MediaKind(StrEnum):
    """Whether pixels have a time axis."""

    IMAGE = "image"
    VIDEO = "video"


class TensorRef(Contract):
    """A tensor in the store: `vogue.schemas.tensors` reads its bytes without a copy."""

    uri: str
    sha256: Digest
    dtype: DType
    shape: tuple[Annotated[int, Field(ge=0)], ...]

    @property
    def num_bytes(self) -> int:
        """Size of the raw elements, without the header."""
        return prod(self.shape) * self.dtype.itemsize


class Artifact(Contract):
    """Any other bytes in the store, such as an uploaded file or a finished mp4."""

    uri: str
    sha256: Digest
    media_type: str
    num_bytes: Annotated[int, Field(ge=0)]


class Lossless(Contract):
    """What a result was before it became a file: later turns start from this, never from what a video codec left of it.

    `frames` is uint8 [T, H, W, 3] and can be decoded again from `latents` [C, T', h, w], which are normalised as the VAE's are.
    """

    kind: MediaKind
    frames: TensorRef
    latents: TensorRef
    fps: PositiveFloat
    has_audio: bool = False


class PreparedVisual(Contract):
    """One visual input, decoded once: the pixels that both the MLLM and the VAE read.

    `frames` is uint8 [T, H, W, 3]. An image keeps its own size, because the VAE is given the unrounded floats of its
    resize and the MLLM the rounded bytes (NUMERICS, Latents); a video is already at canvas size, resized by swscale.
    `original` is the upload, kept for its audio track. `notices` say what was changed, such as a cut. `latents` are there when
    the frames are a result whose latents are known, so that the VAE need not encode what it decoded.
    """

    tag: Tag
    role: Role
    kind: MediaKind
    frames: TensorRef
    fps: PositiveFloat
    has_audio: bool = False
    source_frames: PositiveInt = 1
    """How many frames the upload has, before any cut."""
    original: Artifact | None = None
    latents: TensorRef | None = None
    notices: tuple[str, ...] = ()
