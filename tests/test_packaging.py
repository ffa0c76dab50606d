"""The distribution holds every package of the rooms, and nothing by another name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOMS = ("sdk", "schemas", "engines", "graph", "services", "lab", "weights")


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def _import_name(folder: Path) -> str:
    parts = list(folder.parts)
    return ".".join(["vogue", *parts[1:]] if parts[0] == "sdk" else ["vogue", *parts])


def test_every_folder_with_modules_is_a_listed_package(project: dict[str, Any], repository: Path) -> None:
    folders = {path.parent.relative_to(repository) for room in ROOMS for path in (repository / room).rglob("*.py")}
    assert sorted(map(_import_name, folders)) == sorted(project["tool"]["setuptools"]["packages"])


def test_every_package_has_an_init(project: dict[str, Any], repository: Path) -> None:
    mapping = project["tool"]["setuptools"]["package-dir"]
    for package in project["tool"]["setuptools"]["packages"]:
        root = max((name for name in mapping if (package + ".").startswith(name + ".")), key=len)
        folder = repository / mapping[root] / Path(*package.removeprefix(root).strip(".").split("."))
        assert (folder / "__init__.py").is_file(), f"{package} lacks {folder}/__init__.py"


def test_no_folder_shadows_the_package(repository: Path) -> None:
    assert not (repository / "vogue").exists()


def test_torch_is_pinned(project: dict[str, Any]) -> None:
    assert "torch>=2.13,<2.14" in project["project"]["optional-dependencies"]["serve"]


def test_the_base_install_is_light(project: dict[str, Any]) -> None:
    names = {requirement.partition(">")[0] for requirement in project["project"]["dependencies"]}
    assert names == {"pydantic", "httpx", "msgpack", "numpy", "rich", "typer"}
