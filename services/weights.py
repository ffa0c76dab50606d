"""Where weights lie, and what they have learnt: read without loading any."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from vogue.schemas.config import Preset
from vogue.schemas.errors import WeightsMismatch
from vogue.schemas.presets import Learnt, get_preset, limited_to

from .config import AppConfig

__all__ = ["served_preset", "shipped_folder"]


def shipped_folder(preset: str) -> Path:
    """The folder of a preset's weights that came with the installation; there may be none."""
    return Path(str(resources.files("vogue.weights"))) / preset


def served_preset(config: AppConfig) -> Preset:
    """The preset, limited to what its weights say that they have learnt; weights without a `preset.json` can do all of it.

    Raises:
        WeightsMismatch: the file says something else.
    """
    preset = get_preset(config.preset)
    path = (config.weights_dir or shipped_folder(config.preset)) / "preset.json"
    if not path.is_file():
        return preset
    try:
        return limited_to(preset, Learnt.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise WeightsMismatch(f"{path} does not say what the weights have learnt ({where}: {fault['msg']})") from error
