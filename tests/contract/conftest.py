"""One factory of ports per implementation; each suite runs on all of them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vogue.graph.state import Ports
from vogue.schemas.config import Preset
from vogue.schemas.presets import get_preset
from vogue.services.blobs import BlobStore
from vogue.services.config import AppConfig
from vogue.services.denoiser import DenoiserService
from vogue.services.fakes import fake_ports, netpbm
from vogue.services.weights import served_preset


@dataclass(frozen=True)
class Implementation:
    """All ports of one implementation, its store, and a file of a kind that it reads."""

    name: str
    preset: Preset
    blobs: BlobStore
    ports: Ports
    file_of: Callable[[NDArray[np.uint8]], bytes]


def _picture_or_gif(frames: NDArray[np.uint8]) -> bytes:
    """PNG for one frame; an animated GIF, which needs no encoder but Pillow, for several."""
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    if len(pictures) == 1:
        pictures[0].save(file, "PNG")
    else:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=125, loop=0)
    return file.getvalue()


def _engine_ports(preset: str, state_dir: Path) -> tuple[BlobStore, Ports]:
    from vogue.services.codec import CodecService
    from vogue.services.connector import ConnectorService
    from vogue.services.stepping import load_loop
    from vogue.services.understanding import UnderstandingService
    from vogue.services.workplace import Workplace

    place = Workplace(AppConfig(preset=preset, state_dir=state_dir))
    ports = Ports(
        understanding=UnderstandingService.load(place),
        connector=ConnectorService.load(place),
        denoiser=DenoiserService(load_loop(place), place.blobs),
        codec=CodecService.load(place),
    )
    return place.blobs, ports


@pytest.fixture(scope="session")
def loaded() -> dict[str, tuple[BlobStore, Ports]]:
    """Networks are loaded once."""
    return {}


@pytest.fixture(params=["fake", "tiny", "mini"])
async def implementation(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loaded: dict[str, tuple[BlobStore, Ports]],
    repository: Path,
) -> AsyncIterator[Implementation]:
    name = request.param
    if name == "fake":
        preset = get_preset("tiny")
        blobs = BlobStore(tmp_path_factory.mktemp("fake"))
        yield Implementation(name, preset, blobs, fake_ports(preset, blobs), netpbm)
        return
    if name == "mini" and not (repository / "weights" / "mini" / "mmdit.safetensors").is_file():
        pytest.skip("weights/mini is not trained yet")
    if name not in loaded:
        loaded[name] = _engine_ports(name, tmp_path_factory.mktemp(name))
    blobs, ports = loaded[name]
    yield Implementation(name, served_preset(AppConfig(preset=name)), blobs, ports, _picture_or_gif)
