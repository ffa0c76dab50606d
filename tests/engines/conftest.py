"""Released files of narrow widths, and the full sizes' names and shapes, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vogue.engines.release.blueprint import Blueprint, blueprint
from vogue.engines.release.rehearsal import narrow, write_released
from vogue.schemas.config import Preset
from vogue.schemas.presets import get_preset

RELEASED = ("univideo-hidden", "univideo-queries")


@pytest.fixture(params=RELEASED)
def narrow_preset(request: pytest.FixtureRequest) -> Preset:
    """A released preset of tiny widths; both variants in turn."""
    return narrow(get_preset(request.param))


@pytest.fixture(scope="session")
def released_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Preset], Path]:
    """The folder of released files of a narrow preset. Not to be written to."""
    made: dict[str, Path] = {}

    def make(preset: Preset) -> Path:
        if preset.name not in made:
            made[preset.name] = tmp_path_factory.mktemp(preset.name) / "downloads"
            write_released(made[preset.name], preset)
        return made[preset.name]

    return make


@pytest.fixture(scope="session")
def full_size() -> dict[str, Blueprint]:
    """Both released presets at full size, on the meta device."""
    return {name: blueprint(get_preset(name)) for name in RELEASED}
