"""Tensors as bytes: exact, aligned, read without a copy, and safe to read from anywhere."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from vogue.schemas.errors import WireError
from vogue.schemas.references import DType
from vogue.schemas.tensors import ALIGNMENT, MAX_RANK, pack_tensor, unpack_tensor
from vogue.schemas.wire import encode

TYPES = st.sampled_from([np.dtype(name) for name in ("uint8", "int64", "float16", "float32")])
ARRAYS = hnp.arrays(TYPES, hnp.array_shapes(min_dims=0, max_dims=MAX_RANK, min_side=0, max_side=3))


def _message(**fields: Any) -> bytes:
    """A tensor message with fields replaced, in the order that they are given."""
    return encode({"dtype": "float32", "shape": [1], "pad": b"", "data": struct.pack("<f", 1.0)} | fields)


@given(ARRAYS)
@example(np.zeros((0, 3), np.float32))
@example(np.float32(1.5).reshape(()))
@example(np.array([np.nan, np.inf, -0.0], np.float32))
def test_arrays_survive_bit_for_bit(array: NDArray[Any]) -> None:
    back, dtype = unpack_tensor(pack_tensor(array))
    assert (dtype.value, back.shape) == (array.dtype.name, array.shape)
    assert back.tobytes() == array.tobytes()


@given(st.sampled_from([np.asfortranarray, lambda a: a[::-1], lambda a: a[:, ::2], np.transpose]))
def test_any_memory_layout_travels(view: Any) -> None:
    array = view(np.arange(24, dtype=np.float32).reshape(4, 6))
    assert np.array_equal(unpack_tensor(pack_tensor(array))[0], array)


def test_big_endian_arrays_travel_as_little_endian() -> None:
    assert unpack_tensor(pack_tensor(np.array([1.0, 2.0], ">f4")))[0].tolist() == [1.0, 2.0]


def test_bfloat16_is_its_bits() -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)
    back, dtype = unpack_tensor(pack_tensor(bits, DType.BFLOAT16))
    assert dtype is DType.BFLOAT16 and np.array_equal(back, bits)


def test_bfloat16_needs_bits() -> None:
    with pytest.raises(WireError, match="uint16"):
        pack_tensor(np.ones(2, np.float32), DType.BFLOAT16)


def test_a_type_is_never_changed_silently() -> None:
    with pytest.raises(WireError, match="float32"):
        pack_tensor(np.array([1.5], np.float32), DType.UINT8)


def test_elements_are_aligned_shared_and_read_only() -> None:
    data = pack_tensor(np.arange(1000, dtype=np.float32))
    back, _ = unpack_tensor(data)
    offset = data.index(np.arange(2, dtype=np.float32).tobytes())
    assert offset % ALIGNMENT == 0
    assert np.shares_memory(back, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_reading_allocates_only_the_header() -> None:
    data = pack_tensor(np.zeros(2_000_000, np.float32))
    tracemalloc.start()
    unpack_tensor(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("item", [b"\xc0", b"\x90", b"\x01"])
def test_a_message_of_many_small_values_is_refused_early(item: bytes) -> None:
    data = b"\x84\xdc\xff\xff" + item * 70_000
    tracemalloc.start()
    with pytest.raises(WireError):
        unpack_tensor(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@given(st.binary(max_size=300))
@example(b"")
def test_any_bytes_give_a_tensor_or_a_wire_error(data: bytes) -> None:
    try:
        unpack_tensor(data)
    except WireError as error:
        assert len(error.message) < 600


@given(ARRAYS, st.data())
def test_damaged_tensors_give_a_tensor_or_a_wire_error(array: NDArray[Any], data: st.DataObject) -> None:
    damaged = bytearray(pack_tensor(array))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(damaged), 160) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    try:
        unpack_tensor(damaged)
    except WireError as error:
        assert len(error.message) < 600


@pytest.mark.parametrize(
    "data",
    [
        encode([1, 2, 3, 4]),
        encode({}),
        _message(dtype="float64"),
        _message(dtype="x" * 10_000),
        _message(dtype=7),
        _message(shape="abc"),
        _message(shape=[2]),
        _message(shape=[-1]),
        _message(shape=[True]),
        _message(shape=[1.0]),
        _message(shape=[1] * (MAX_RANK + 1)),
        _message(shape=[2**39] * MAX_RANK),
        _message(pad=3),
        _message(pad="text"),
        _message(data=[1.0]),
        _message(data="text"),
        _message(extra=1),
    ],
)
def test_malformed_tensors_are_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        unpack_tensor(data)
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("shape", [[0, 2**39, 2**39, 2**39], [2**39, 2**39, 0]])
def test_an_empty_tensor_of_impossible_sides_is_refused(shape: list[int]) -> None:
    good = pack_tensor(np.zeros((0,) * len(shape), np.float32))
    old, new = encode([0] * len(shape)), encode(shape)
    at = good.index(b"\xa3pad") + 4
    # Longer sizes move the elements: shorten the padding so that they start on a boundary again.
    pad = (good[at + 1] - len(new) + len(old)) % ALIGNMENT
    data = good[: at + 1].replace(old, new) + bytes([pad]) + bytes(pad) + good[good.index(b"\xa4data") :]
    with pytest.raises(WireError, match="no array"):
        unpack_tensor(data)


def test_an_unaligned_tensor_is_refused() -> None:
    good = pack_tensor(np.ones(4, np.float32))
    at = good.index(b"\xa3pad") + 4
    assert good[at] == 0xC4
    size = good[at + 1]
    shorter = good[: at + 1] + bytes([size - 1]) + good[at + 3 :]
    with pytest.raises(WireError, match="boundary"):
        unpack_tensor(shorter)


@pytest.mark.parametrize("array", [np.zeros(1, np.complex64), np.array(["x"]), np.array([object()]), np.zeros(1, bool)])
def test_types_that_do_not_travel_are_refused(array: NDArray[Any]) -> None:
    with pytest.raises(WireError, match="do not travel"):
        pack_tensor(array)


def test_too_many_axes_are_refused() -> None:
    with pytest.raises(WireError, match="axes"):
        pack_tensor(np.zeros((1,) * (MAX_RANK + 1), np.float32))
