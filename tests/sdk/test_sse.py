"""Server-sent events, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas.errors import WireError
from vogue.sse import MAX_EVENT_CHARS, EventDecoder, ServerEvent

STREAM = ': hello\n\nid: 1\nevent: step\ndata: {"a":\ndata: "ü"}\n\ndata:x\r\n\r\nid: 7\rdata: last\r\r\n\n'.encode()
EVENTS = [
    ServerEvent('{"a":\n"ü"}', "step", "1"),
    ServerEvent("x", "message", "1"),
    ServerEvent("last", "message", "7"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    decoder = EventDecoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [event for a, b in pairwise(edges) for event in decoder.feed(STREAM[a:b])]
    assert found == EVENTS


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_events_or_nothing(chunks: list[bytes]) -> None:
    decoder = EventDecoder()
    for chunk in chunks:
        assert all(isinstance(event, ServerEvent) for event in decoder.feed(chunk))


def test_an_event_without_end_is_refused() -> None:
    decoder = EventDecoder()
    with pytest.raises(WireError, match="exceeds"):
        for _ in range(5):
            decoder.feed(b"data: " + b"x" * (MAX_EVENT_CHARS // 4))
