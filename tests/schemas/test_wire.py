"""The wire form under fire: any bytes give a value or a `WireError`, within memory of the input's order."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vogue.schemas.errors import WireError
from vogue.schemas.references import Artifact
from vogue.schemas.requests import GenerationRequest
from vogue.schemas.wire import MAX_DEPTH, MAX_MESSAGE_BYTES, decode, encode, pack, tokens, unpack

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
HUGE_CLAIMS = [
    b"\xdd\xff\xff\xff\xff",  # array of 4 Gi items
    b"\xdf\xff\xff\xff\xff",  # map of 4 Gi pairs
    b"\xdc\xff\xff" * 20,  # arrays in arrays, each claiming 65,535 items
    b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
    b"\xdb\xff\xff\xff\xff" + b"a" * 100,  # 4 GiB of text
    b"\x92" + b"\xdd\x00\x00\x00\x60" * 2 + b"\xc0" * 100,  # two arrays that fit one by one, but not together
]


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most memory that Python held at once during a call, in bytes; its errors do not count."""
    tracemalloc.start()
    try:
        call()
    except WireError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


@given(PLAIN)
def test_plain_values_survive(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=400))
@example(b"")
@example(b"\xc1")
@example(b"\xd4\x00\x00")
@example(b"\xc7\x01\xff\x00")
@example(b"\xa1\xff")
@example(b"\x81\x01\x02")
@example(b"\x81\x80\x02")
@example(b"\x81\x90\x02")
def test_any_bytes_give_a_value_or_a_wire_error(data: bytes) -> None:
    for form in (data, bytearray(data), memoryview(data)):
        try:
            decode(form)
        except WireError as error:
            assert error.message


@given(PLAIN, st.data())
def test_damaged_messages_give_a_value_or_a_wire_error(value: Any, data: st.DataObject) -> None:
    damaged = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        decode(damaged)
    except WireError as error:
        assert error.message


@given(PLAIN, st.data())
def test_truncated_messages_are_refused(value: Any, data: st.DataObject) -> None:
    packed = encode(value)
    with pytest.raises(WireError):
        decode(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(WireError, match="follow the end"):
        decode(packed + b"\xc0")


@given(st.binary(max_size=600))
def test_tokens_agree_with_the_decoder(data: bytes) -> None:
    """Whatever the walk accepts, msgpack reads too, but for text that is not UTF-8 and keys that are not text."""
    try:
        list(tokens(data))
    except WireError:
        return
    try:
        decode(data)
    except WireError as error:
        assert "not valid msgpack" in error.message


@pytest.mark.parametrize("data", HUGE_CLAIMS)
def test_a_huge_claim_allocates_nothing(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)
    assert peak_bytes(lambda: decode(data)) < 64 * 1024


@pytest.mark.parametrize("item", [b"\xc0", b"\x90", b"\x80", b"\xa0", b"\xc4\x00", b"\x7f"])
def test_memory_stays_a_small_multiple_of_the_input(item: bytes) -> None:
    count = 4096 // len(item)
    data = b"\xdc" + count.to_bytes(2, "big") + item * count
    assert peak_bytes(lambda: decode(data)) < 100 * len(data)


def test_unknown_fields_do_not_multiply_memory() -> None:
    value = {f"{n:x}": None for n in range(20_000)}
    data = encode(value)
    assert peak_bytes(lambda: unpack(GenerationRequest, data)) < 200 * len(data)


def test_a_contract_above_the_limit_is_refused_unread() -> None:
    data = encode({"instruction": "x" * MAX_MESSAGE_BYTES})
    with pytest.raises(WireError, match=str(len(data))):
        unpack(GenerationRequest, data)


def test_nesting_has_a_limit() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert decode(encode(deep)) == deep
    with pytest.raises(WireError, match="deeper"):
        decode(encode([deep]))
    with pytest.raises(WireError):
        decode(b"\x91" * 100_000)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), {1, 2}, 1 + 2j, "\ud800"])
def test_what_does_not_travel_is_a_wire_error(value: Any) -> None:
    with pytest.raises(WireError):
        encode(value)


def test_not_a_number_travels_but_fits_no_contract() -> None:
    assert math.isnan(decode(encode(math.nan)))
    with pytest.raises(WireError) as caught:
        unpack(GenerationRequest, encode({"instruction": "x", "guidance": math.nan}))
    assert caught.value.param == "guidance"


def test_the_wire_error_names_the_field() -> None:
    artifact = Artifact(uri="file:///x", sha256="0" * 64, media_type="video/mp4", num_bytes=1)
    packed = encode({**decode(pack(artifact)), "num_bytes": -3})
    with pytest.raises(WireError, match="-3") as caught:
        unpack(Artifact, packed)
    assert caught.value.param == "num_bytes"
