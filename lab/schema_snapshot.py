"""The JSON Schema of every contract, as one reviewed file.

`python -m vogue.lab.schema_snapshot docs/schema.json` writes it; with `--check` it compares instead and exits 1 on drift. A test does the
same, so a changed contract is always a change that somebody saw.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

import vogue.schemas
from vogue.schemas.base import SCHEMA_VERSION, Contract, Message

__all__ = ["contracts", "main", "snapshot"]


def contracts() -> list[type[Contract]]:
    """Every concrete contract of the schemas room, by name."""
    found: dict[str, type[Contract]] = {}
    for info in pkgutil.iter_modules(vogue.schemas.__path__, "vogue.schemas."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, type) and issubclass(value, Contract) and value not in (Contract, Message):
                found[value.__name__] = value
    return [found[name] for name in sorted(found)]


def snapshot() -> str:
    """The contracts' JSON Schema as text that is the same on every run."""
    _, schema = models_json_schema([(cls, "validation") for cls in contracts()], title="VOGUE contracts")
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **schema}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the snapshot; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.schema_snapshot", description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/schema.json"))
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args(arguments)
    text = snapshot()
    if not options.check:
        options.path.write_text(text, encoding="utf-8")
        return 0
    old = options.path.read_text(encoding="utf-8") if options.path.exists() else ""
    sys.stdout.writelines(
        difflib.unified_diff(old.splitlines(True), text.splitlines(True), str(options.path), "the contracts now")
    )
    return int(old != text)


if __name__ == "__main__":
    sys.exit(main())
