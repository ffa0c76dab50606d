"""The wire form: msgpack, with every byte string giving a value or a `WireError`.

msgpack's own decoder trusts the element counts a message claims and reserves room for them before it sees the elements,
so bytes are walked first: each container must fit in what is left of the input, and so must all of them together.
Decoding then allocates no more than a small multiple of the input. Extension types are refused: they are where
other formats hide code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
from pydantic import BaseModel, ValidationError

from .errors import RequestInvalid, TaskUnsupported, WireError

__all__ = ["MAX_DEPTH", "MAX_MESSAGE_BYTES", "Token", "decode", "encode", "pack", "tokens", "unpack", "validate"]

MAX_DEPTH = 32
"""Containers may nest this deep; the deepest contract uses six levels."""
MAX_MESSAGE_BYTES = 1024 * 1024
"""Contracts hold references, never pixels: the largest is some tens of kilobytes, and each fault found in one costs memory."""

M = TypeVar("M", bound=BaseModel)
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Token:
    """One msgpack element: `kind` is array, map, bin, str or scalar.

    `start` is the offset of its payload; `size` its payload in bytes, or the number of items of an array or pairs of a map.
    """

    kind: str
    start: int
    size: int


# First byte → (kind, width of the length field) for elements that carry a length.
_SIZED = {
    0xC4: ("bin", 1),
    0xC5: ("bin", 2),
    0xC6: ("bin", 4),
    0xD9: ("str", 1),
    0xDA: ("str", 2),
    0xDB: ("str", 4),
} | {
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}
# First byte → payload bytes of fixed-width scalars: nil, booleans, floats, unsigned and signed integers.
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8} | {
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}


def _token_at(data: memoryview, at: int) -> Token:
    """Read the element header at offset `at`; the payload may still lie outside the input."""
    first = data[at]
    if first <= 0x7F or first >= 0xE0:
        return Token("scalar", at + 1, 0)
    if first <= 0x8F:
        return Token("map", at + 1, first & 0x0F)
    if first <= 0x9F:
        return Token("array", at + 1, first & 0x0F)
    if first <= 0xBF:
        return Token("str", at + 1, first & 0x1F)
    if first in _FIXED:
        return Token("scalar", at + 1, _FIXED[first])
    if first in _SIZED:
        kind, width = _SIZED[first]
        length = data[at + 1 : at + 1 + width]
        if len(length) < width:
            raise WireError(f"the message ends inside a length field at byte {at}")
        return Token(kind, at + 1 + width, int.from_bytes(length, "big"))
    raise WireError(f"byte {at} is 0x{first:02x}: extension types and unused codes are not part of the wire form")


def tokens(data: Buffer) -> Iterator[Token]:
    """Walk one complete msgpack value, checking that every claim fits in the input.

    Raises:
        WireError: truncated or trailing bytes, too deep a nesting, an element count beyond the input's size.
    """
    view = memoryview(data).cast("B")
    total, at = len(view), 0
    open_items: list[int] = [1]
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        if at >= total:
            raise WireError(f"the message ends after {total} bytes, in the middle of a value")
        token = _token_at(view, at)
        at = token.start
        if token.kind in ("array", "map"):
            items = token.size * (2 if token.kind == "map" else 1)
            # Everything still owed needs at least one byte each, so claims can never add up to more than the input.
            if items + sum(open_items) > total - at:
                raise WireError(f"a {token.kind} claims {token.size} entries, but only {total - at} bytes are left")
            if len(open_items) > MAX_DEPTH:
                raise WireError(f"the message nests deeper than {MAX_DEPTH} levels")
            open_items.append(items)
        else:
            at += token.size
            if at > total:
                raise WireError(
                    f"a {token.kind} of {token.size} bytes at byte {token.start} reaches beyond the {total} bytes"
                )
        yield token
    if at != total:
        raise WireError(f"{total - at} bytes follow the end of the message")


def encode(value: Any) -> bytes:
    """Encode plain values: None, booleans, numbers, strings, bytes, lists, and dicts with string keys.

    Raises:
        WireError: another type, an integer beyond 64 bits, or text that is not Unicode.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"this value does not travel: {error}") from error
    return packed


def decode(data: Buffer) -> Any:
    """Decode one value.

    Raises:
        WireError: the bytes are not exactly one well-formed value.
    """
    for _ in tokens(data):
        pass
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"the message is not valid msgpack: {error}") from error


def pack(message: BaseModel) -> bytes:
    """A contract as bytes."""
    return encode(message.model_dump(mode="python", by_alias=True))


def unpack(contract: type[M], data: Buffer) -> M:
    """Bytes as a contract.

    Raises:
        WireError: the bytes are malformed, too many, or do not fit the contract; `param` names the field.
    """
    size = memoryview(data).nbytes
    if size > MAX_MESSAGE_BYTES:
        raise WireError(f"a {contract.__name__} of {size} bytes exceeds the limit of {MAX_MESSAGE_BYTES} bytes")
    value = decode(data)
    try:
        return contract.model_validate(value)
    except ValidationError as error:
        where, why = _first(error)
        raise WireError(f"not a {contract.__name__}: {where or 'value'}: {why}", param=where) from error


def validate(contract: type[M], value: Any) -> M:
    """Check a user's value against a contract and speak of the first fault as a request error.

    Raises:
        TaskUnsupported: the fault is in the `task` field.
        RequestInvalid: any other fault; `param` is the field's dotted path.
    """
    try:
        return contract.model_validate(value)
    except ValidationError as error:
        where, why = _first(error)
        kind = TaskUnsupported if where == "task" else RequestInvalid
        raise kind(f"{where or 'request'}: {why}", param=where) from error


def _first(error: ValidationError) -> tuple[str | None, str]:
    """The first fault as (dotted path, sentence), with the offending value where it is short."""
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or None
    given = repr(fault["input"])
    shown = f", got {given}" if len(given) <= 80 and fault["type"] != "missing" else ""
    return where, f"{fault['msg']}{shown}"
