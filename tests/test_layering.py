"""Who may import whom: the arrows of the architecture, read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


class Room(NamedTuple):
    """A folder, its import name, the rooms it may import, and outside packages it may (or may not) import."""

    folder: str
    package: str
    rooms: tuple[str, ...]
    only: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()


SERVER_ONLY = ("torch", "ray", "transformers", "diffusers", "langgraph", "fastapi", "starlette")
ROOMS = (
    Room("schemas", "vogue.schemas", (), only=("pydantic", "annotated_types", "msgpack", "numpy")),
    Room("sdk", "vogue", ("vogue.schemas",), never=SERVER_ONLY),
    Room("graph", "vogue.graph", ("vogue.schemas",), never=("ray", "torch", "transformers", "diffusers", "numpy")),
    Room("engines", "vogue.engines", ("vogue.schemas", "vogue.weights"), never=("ray", "langgraph", "fastapi")),
    Room(
        "engines/models",
        "vogue.engines.models",
        ("vogue.schemas.config", "vogue.schemas.errors"),
        only=("torch", "transformers", "diffusers"),
    ),
    Room("services", "vogue.services", ("vogue.schemas", "vogue.engines", "vogue.graph", "vogue.weights")),
    Room("lab", "vogue.lab", ("vogue", "vogue.schemas", "vogue.engines", "vogue.weights"), never=("ray", "langgraph")),
    Room("lab/world", "vogue.lab.world", (), never=("torch", *SERVER_ONLY)),
)
# Training on several machines is Ray Train's; nothing else of the lab may know Ray.
ALLOWED = {"lab/train/distributed.py": "ray"}
PACKAGES = ("vogue.schemas", "vogue.graph", "vogue.engines", "vogue.services", "vogue.lab", "vogue.weights")


def _module(room: Room, path: Path) -> str:
    """The import name of a file."""
    parts = path.relative_to(REPOSITORY / room.folder).with_suffix("").parts
    return ".".join((room.package, *(part for part in parts if part != "__init__")))


def _imports(room: Room, path: Path) -> Iterator[tuple[int, str]]:
    """Every (line, absolute module) that a file imports, anywhere in it."""
    package = _module(room, path) if path.name == "__init__.py" else _module(room, path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, node.module] if node.module else base)
            # `from vogue import services` names a module too.
            yield from ((node.lineno, f"{source}.{name.name}") for name in node.names)


def _room_of(module: str) -> str:
    """The room a `vogue.…` name belongs to; the SDK owns what no other room does."""
    return next((p for p in PACKAGES if module == p or module.startswith(p + ".")), "vogue")


def _is_allowed(room: Room, module: str) -> bool:
    top = module.partition(".")[0]
    if top == "__future__":
        return True
    if top == "vogue":
        inside = (module + ".").startswith(room.package + ".") and _room_of(module) == _room_of(room.package)
        return inside or any(
            (module + ".").startswith(allowed + ".") and (allowed != "vogue" or _room_of(module) == "vogue")
            for allowed in room.rooms
        )
    if top in room.never:
        return False
    return room.only is None or top in room.only or top in sys.stdlib_module_names


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.folder)
def test_imports_follow_the_arrows(room: Room) -> None:
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{line} imports {module}"
        for path in sorted((REPOSITORY / room.folder).rglob("*.py"))
        for line, module in _imports(room, path)
        if not _is_allowed(room, module)
        and module.partition(".")[0] != ALLOWED.get(path.relative_to(REPOSITORY).as_posix())
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rules_catch_a_wrong_import() -> None:
    rooms = {room.folder: room for room in ROOMS}
    assert not _is_allowed(rooms["graph"], "vogue.engines.sampling")
    assert not _is_allowed(rooms["sdk"], "vogue.services.app")
    assert not _is_allowed(rooms["sdk"], "torch.nn")
    assert not _is_allowed(rooms["lab"], "vogue.services.app")
    assert not _is_allowed(rooms["engines/models"], "vogue.schemas.jobs")
    assert not _is_allowed(rooms["lab/world"], "vogue.engines.sampling")
    assert _is_allowed(rooms["lab"], "vogue.Vogue")
    assert _is_allowed(rooms["services"], "vogue.graph.build")


def test_relative_imports_are_resolved() -> None:
    room = Room("engines", "vogue.engines", ())
    path = REPOSITORY / "engines" / "models" / "mmdit.py"
    found = {module for _, module in _imports(room, path)}
    assert any(module.startswith("vogue.engines.models.") for module in found)


@pytest.mark.parametrize("module", ["vogue", "vogue.testing", "vogue.cli"])
def test_the_sdk_loads_no_server_code(module: str) -> None:
    script = (
        f"import sys, {module}\n"
        f"heavy = sorted(set({SERVER_ONLY!r}) & set(sys.modules))\n"
        "rooms = sorted(m for m in sys.modules if m.startswith(('vogue.services', 'vogue.engines', 'vogue.graph')))\n"
        "sys.exit(' '.join(heavy + rooms) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"import {module} loads {done.stderr.strip()}"
