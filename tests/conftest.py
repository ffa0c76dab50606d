"""What every room's tests share: where outside files lie, what may be missing, and how hard hypothesis tries."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from vogue.engines.compiled.triton_server import Ports
    from vogue.engines.registry import Site

REPOSITORY = Path(__file__).resolve().parent.parent
STRICT = os.environ.get("VOGUE_REQUIRE") == "1"

# Torch reads this once, at import: small tensors are faster, and exactly repeatable, on one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the suite in the background makes it, and all that it starts, deaf to Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "fast",
    max_examples=60,
    deadline=None,
    derandomize=STRICT or bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("fast"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

Require = Callable[[bool, str], None]


def _require(available: bool, what: str) -> None:
    if available:
        return
    if STRICT:
        pytest.fail(f"VOGUE_REQUIRE=1, but {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def require() -> Require:
    """`require(condition, reason)`: skip where something is missing, fail instead when `VOGUE_REQUIRE=1`."""
    return _require


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir(require: Require) -> Path:
    """Golden vectors and real media: `$VOGUE_SHARED`, or the folder `shared` beside the repository."""
    folder = Path(os.environ.get("VOGUE_SHARED", REPOSITORY.parent / "shared"))
    require(folder.is_dir(), f"there is no folder {folder} (set VOGUE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def ffmpeg_path(require: Require) -> Path:
    """An ffmpeg binary: from PATH, else the one that imageio-ffmpeg's wheel brings."""
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            import imageio_ffmpeg

            found = imageio_ffmpeg.get_ffmpeg_exe()
        except (ImportError, RuntimeError):
            found = None
    require(found is not None, "there is no ffmpeg on PATH and imageio-ffmpeg brings none")
    return Path(str(found))


@pytest.fixture(scope="session")
def mini_site(tmp_path_factory: pytest.TempPathFactory, require: Require) -> Site:
    """Where engines of the mini preset are opened. What is exported is kept for the session: it takes half a minute a network."""
    import torch

    from vogue.engines.registry import Site
    from vogue.schemas.presets import get_preset

    weights = REPOSITORY / "weights" / "mini"
    require((weights / "mmdit.safetensors").is_file(), "weights/mini is not trained yet")
    folder = os.environ.get("VOGUE_TEST_ENGINES")
    engine_dir = Path(folder) if folder else tmp_path_factory.mktemp("engines")
    return Site(get_preset("mini"), weights, "0" * 64, "cpu", torch.float32, engine_dir)


@pytest.fixture(scope="session")
def triton_ports(mini_site: Site, tmp_path_factory: pytest.TempPathFactory, require: Require) -> Iterator[Ports]:
    """A real Triton server with the networks of the mini preset, on ports of this machine."""
    from vogue.engines.compiled.triton_repository import write_repository
    from vogue.engines.compiled.triton_server import Ports, run_server

    server = REPOSITORY / "build" / "triton" / "pytriton" / "tritonserver"
    require((server / "bin" / "tritonserver").is_file(), "there is no Triton server: run `make triton`")
    folder, ports = tmp_path_factory.mktemp("triton"), Ports.free()
    write_repository(folder / "models", mini_site)
    with run_server(server, folder / "models", ports, folder / "server.log"):
        yield ports
