"""Server-sent events: bytes in, events out. It knows nothing about connections."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from vogue.schemas.errors import WireError

__all__ = ["MAX_EVENT_CHARS", "EventDecoder", "ServerEvent"]

MAX_EVENT_CHARS = 4 * 1024 * 1024


@dataclass(frozen=True)
class ServerEvent:
    """One event. `id` is what to send as `Last-Event-ID` to get only later ones."""

    data: str
    event: str = "message"
    id: str = ""


class EventDecoder:
    """Collects bytes, cut anywhere, into events (WHATWG HTML, server-sent events, 9.2.6)."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._data: list[str] = []
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that these bytes complete.

        Raises:
            WireError: an event without end.
        """
        self._text += self._utf8.decode(chunk)
        if len(self._text) + sum(map(len, self._data)) > MAX_EVENT_CHARS:
            raise WireError(f"an event of the server exceeds {MAX_EVENT_CHARS} characters")
        found = []
        # A carriage return at the very end may be the first half of a line ending.
        held = "\r" if self._text.endswith("\r") else ""
        lines = self._text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._text = lines.pop() + held
        for line in lines:
            if not line:
                if self._data:
                    found.append(ServerEvent("\n".join(self._data), self._event or "message", self._id))
                self._data, self._event = [], ""
            else:
                self._field(line)
        return found

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
