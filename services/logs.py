"""Logs of every service: one form for people, one for machines, and the job that each line is about.

What users write stays out of them. Exceptions are told by their class and place; their own words, which may quote a prompt, are
kept back unless the operating system or the database said them. What looks like a key is blotted out.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import sys
import time
import traceback
from contextvars import ContextVar
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from .config import LogConfig

__all__ = ["JOB", "JsonFormatter", "TextFormatter", "set_up_logs"]

JOB: ContextVar[str | None] = ContextVar("vogue_job", default=None)
"""The job that this task works for. It travels with calls to other services (`carrying.py`)."""

ROOT = "vogue"
_SYSTEM = (OSError, MemoryError, sqlite3.Error)
_MOST_CAUSES = 5
_MOST_FRAMES = 12
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "service"}
_SECRET = re.compile(
    r"(?i)(\b(?:bearer|basic)\s+|\b(?:authorization|api[-_]?key|token|secret|password)\b[\"']?\s*[:=]\s*[\"']?)[^\s\"',;]+"
    r"|\b(?:vogue|vk|sk|whsec)[-_][A-Za-z0-9_-]{16,}"
)


def _blotted(text: str) -> str:
    return _SECRET.sub(lambda found: f"{found[1] or ''}[secret]", text)


def _facts(record: logging.LogRecord, service: str) -> dict[str, Any]:
    """A record as plain values, in the order in which they are read."""
    facts: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
        "level": record.levelname,
        "service": service,
        "logger": record.name,
        "message": _blotted(record.getMessage()),
    }
    job_id = getattr(record, "job_id", None) or JOB.get()
    if job_id is not None:
        facts["job_id"] = job_id
    for name, value in vars(record).items():
        if name not in _STANDARD and name not in facts:
            facts[name] = value if isinstance(value, int | float | bool) or value is None else _blotted(str(value))
    if record.exc_info and record.exc_info[1] is not None:
        facts["errors"] = _errors(record.exc_info[1])
    return facts


def _errors(error: BaseException) -> list[dict[str, Any]]:
    """An exception and what caused it, the first cause last: class, place, and words that cannot be a user's."""
    told: list[dict[str, Any]] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < _MOST_CAUSES:
        frames = traceback.extract_tb(seen.__traceback__)[-_MOST_FRAMES:]
        fact: dict[str, Any] = {
            "type": f"{type(seen).__module__}.{type(seen).__qualname__}".removeprefix("builtins."),
            "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        if isinstance(code := getattr(seen, "code", None), str):
            fact["code"] = code
        if isinstance(seen, _SYSTEM):
            fact["message"] = _blotted(str(seen))
        told.append(fact)
        seen = seen.__cause__ or seen.__context__
    return told


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(_facts(record, self._service), ensure_ascii=False)


class TextFormatter(JsonFormatter):
    """The same facts for people: a line, and below it the errors."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines."""
        facts = _facts(record, self._service)
        head = (facts.pop(name) for name in ("time", "level", "service", "logger", "message"))
        when, level, service, logger, message = head
        errors = facts.pop("errors", ())
        rest = "".join(f" {name}={value}" for name, value in facts.items())
        lines = [f"{when} {level} {service} {logger}: {message}{rest}"]
        for error in errors:
            lines.append(f"  {error['type']}{': ' + error['message'] if 'message' in error else ''}")
            lines += [f"    {place}" for place in error["where"]]
        return "\n".join(lines)


class Wordless(logging.Filter):
    """Lets records of other libraries pass, but tells their exceptions as ours are told: class and place, without words.

    Serve logs whatever a replica raises, uvicorn what an application does, asyncio what a task nobody waits for does.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        if record.exc_info and record.exc_info[1] is not None:
            lines = []
            for error in _errors(record.exc_info[1]):
                lines.append(f"{error['type']}{': ' + error['message'] if 'message' in error else ''}")
                lines += [f"  {place}" for place in error["where"]]
            record.exc_info, record.exc_text = None, "\n".join(lines)
        return True


_OTHERS = ("ray.serve", "uvicorn.error", "asyncio")
_WORDLESS = Wordless()


def set_up_logs(service: str, config: LogConfig) -> None:
    """Send what this process logs where the settings say: to standard error, and into a file if a folder is named."""
    formatter = (JsonFormatter if config.format == "json" else TextFormatter)(service)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if config.folder is not None:
        Path(config.folder).mkdir(parents=True, exist_ok=True)
        # Replicas of a service append to one file, a line at a time; whoever turns logs over may move it away.
        handlers.append(WatchedFileHandler(Path(config.folder) / f"{service}.log", encoding="utf-8"))
    root = logging.getLogger(ROOT)
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    for other in _OTHERS:
        logging.getLogger(other).addFilter(_WORDLESS)  # which adds it once
    root.setLevel(config.level)
    root.propagate = False
