"""Tensors as bytes: a msgpack map of dtype, shape, padding and raw elements, read without a copy.

The padding puts the elements on a 64-byte boundary of the file, so a memory-mapped tensor can be handed to a kernel as it is.
bfloat16 has no NumPy type: its arrays are uint16 here, and the dtype says what the bits mean.
"""

from __future__ import annotations

from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import WireError
from .references import DType
from .wire import Buffer, Token, decode, encode, tokens

__all__ = ["ALIGNMENT", "MAX_RANK", "pack_tensor", "unpack_tensor"]

ALIGNMENT = 64
MAX_RANK = 8
# A map header, three fields of one token each, the sizes of the shape, and the elements.
_MAX_TOKENS = 10 + MAX_RANK

_STORED: dict[DType, np.dtype[Any]] = {
    DType.UINT8: np.dtype("<u1"),
    DType.INT64: np.dtype("<i8"),
    DType.FLOAT16: np.dtype("<f2"),
    DType.BFLOAT16: np.dtype("<u2"),
    DType.FLOAT32: np.dtype("<f4"),
}


def _header(dtype: DType, shape: tuple[int, ...], padding: int, num_bytes: int) -> bytes:
    fields = b"\x84" + encode("dtype") + encode(dtype.value) + encode("shape") + encode(list(shape))
    return fields + encode("pad") + encode(bytes(padding)) + encode("data") + b"\xc6" + num_bytes.to_bytes(4, "big")


def pack_tensor(array: NDArray[Any], dtype: DType | None = None) -> bytes:
    """Encode an array of any memory layout.

    Args:
        array: the elements; for bfloat16, their bits as uint16 together with `dtype=DType.BFLOAT16`.
        dtype: what the elements are; by default the array's own type.

    Raises:
        WireError: a type that does not travel or is not what `dtype` says, more than `MAX_RANK` axes, or 4 GiB and more.
    """
    try:
        kind = dtype or DType(array.dtype.name)
    except ValueError as error:
        raise WireError(f"tensors of {array.dtype} do not travel; use one of {[d.value for d in DType]}") from error
    if array.dtype.newbyteorder("<") != _STORED[kind]:
        raise WireError(f"a {kind} tensor needs an array of {_STORED[kind].name}, got {array.dtype.name}")
    stored = np.ascontiguousarray(array, dtype=_STORED[kind])
    if array.ndim > MAX_RANK or stored.nbytes >= 2**32:
        raise WireError(f"a tensor of shape {array.shape} and {stored.nbytes} bytes exceeds {MAX_RANK} axes or 4 GiB")
    bare = len(_header(kind, array.shape, 0, stored.nbytes))
    header = _header(kind, array.shape, -bare % ALIGNMENT, stored.nbytes)
    return b"".join((header, stored.reshape(-1).view(np.uint8).data))


def unpack_tensor(data: Buffer) -> tuple[NDArray[Any], DType]:
    """Read a tensor without copying its elements.

    Returns:
        A read-only array that shares memory with `data` (uint16 bits for bfloat16), and its type.

    Raises:
        WireError: malformed bytes, a shape that does not match the number of elements, or elements off the boundary.
    """
    view = memoryview(data).cast("B").toreadonly()
    # A walk over hostile bytes stops at the first token too many, so it never costs more than a header.
    kinds = list(islice(tokens(view), _MAX_TOKENS + 1)) if len(view) else []
    fields = _fields(view, kinds)
    try:
        dtype = DType(fields["dtype"])
    except ValueError as error:
        raise WireError(f"unknown tensor type {fields['dtype'][:40]!r}") from error
    shape = fields["shape"]
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_RANK
        or not all(type(n) is int and 0 <= n < 2**40 for n in shape)
    ):
        raise WireError(f"a tensor's shape is a list of at most {MAX_RANK} sizes, got {shape!r}"[:200])
    raw = kinds[-1]
    if raw.size != prod(shape) * dtype.itemsize:
        raise WireError(f"a {dtype} tensor of shape {shape} needs {prod(shape) * dtype.itemsize} bytes, got {raw.size}")
    if raw.start % ALIGNMENT:
        raise WireError(f"the elements start at byte {raw.start}, which is not on a {ALIGNMENT}-byte boundary")
    elements = np.frombuffer(view[raw.start : raw.start + raw.size], dtype=_STORED[dtype])
    try:
        return elements.reshape(shape), dtype
    except ValueError as error:  # an empty tensor whose other sides no array can have
        raise WireError(f"no array has the shape {shape}: {error}") from error


def _fields(view: memoryview, kinds: list[Token]) -> dict[str, Any]:
    """The header fields; the elements themselves are left where they are.

    Raises:
        WireError: the value is not a map whose last entry is `data` as raw bytes.
    """
    if not kinds or kinds[0] != Token("map", 1, 4) or kinds[-1].kind != "bin" or len(kinds) > _MAX_TOKENS:
        raise WireError("not a tensor: expected a map of dtype, shape, pad and data")
    # The header with an empty payload in place of the elements is itself a small message.
    start = kinds[-1].start - 5
    if start < 0 or view[start] != 0xC6:
        raise WireError("not a tensor: the elements must be the last entry, as raw bytes with a 32-bit length")
    header: dict[str, Any] = decode(bytes(view[:start]) + b"\xc4\x00")
    if (
        set(header) != {"dtype", "shape", "pad", "data"}
        or not isinstance(header["dtype"], str)
        or not isinstance(header["pad"], bytes)
        or header["data"] != b""
    ):
        raise WireError("not a tensor: expected a map of dtype, shape, pad and data")
    return header
