"""The lossless frame file: uint8 frames [T, H, W, 3] as a plain `.npy`, which MLLM and VAE map instead of copying.

The bytes depend on the pixels alone, so equal frames have equal digests. Rates and names live in the contracts that
point here. Never unpickles.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vogue.schemas.errors import MediaUnreadable

__all__ = ["check_frames", "frames_from_bytes", "frames_to_bytes", "load_frames", "save_frames"]


def check_frames(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return `frames` contiguous, after checking that they are uint8 [T, H, W, 3] with at least one pixel.

    Raises:
        MediaUnreadable: another dtype or shape.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise MediaUnreadable(f"frames must be uint8 [T, H, W, 3]; got {frames.dtype} {list(frames.shape)}")
    return np.ascontiguousarray(frames)


def frames_to_bytes(frames: npt.NDArray[np.uint8]) -> bytes:
    """Serialise frames; `frames_from_bytes` reads them back without a copy."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, check_frames(frames), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def frames_from_bytes(data: bytes | memoryview) -> npt.NDArray[np.uint8]:
    """Read frames from bytes without copying them: a read-only view [T, H, W, 3].

    Raises:
        MediaUnreadable: not a frame file, or truncated.
    """
    view = memoryview(data)
    head = io.BytesIO(view[:256])
    shape = _read_shape(head)
    count = int(np.prod(shape, dtype=object))
    if len(view) - head.tell() != count:
        raise MediaUnreadable(f"the frame file holds {len(view) - head.tell():,} bytes of pixels, not {count:,}")
    return np.frombuffer(view, np.uint8, count, head.tell()).reshape(shape)


def save_frames(frames: npt.NDArray[np.uint8], path: Path) -> None:
    """Write frames to `path` in one step: readers see the whole file or none."""
    frames = check_frames(frames)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".frames-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.lib.format.write_array(file, frames, version=(1, 0), allow_pickle=False)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_frames(path: Path) -> npt.NDArray[np.uint8]:
    """Map a frame file read-only: uint8 [T, H, W, 3]; pixels are read from disk when touched.

    Raises:
        MediaUnreadable: missing, not a frame file, or truncated.
    """
    try:
        with path.open("rb") as file:
            shape = _read_shape(file)
            offset = file.tell()
        missing = int(np.prod(shape, dtype=object)) + offset - path.stat().st_size
        if missing:
            raise MediaUnreadable(f"the frame file is {abs(missing):,} bytes too {'short' if missing > 0 else 'long'}")
        return np.memmap(path, np.uint8, mode="r", offset=offset, shape=shape)
    except OSError as error:
        raise MediaUnreadable(f"the frame file cannot be read: {error.strerror}") from error


def _read_shape(file: io.BufferedReader | io.BytesIO) -> tuple[int, ...]:
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:
        # The header is a Python literal; a hostile one can make its parser raise nearly anything.
        raise MediaUnreadable(f"this is not a frame file: {str(error)[:100]}") from error
    if dtype != np.uint8 or fortran or len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        raise MediaUnreadable(f"a frame file holds uint8 [T, H, W, 3]; this one holds {dtype} {list(shape)}")
    return shape
