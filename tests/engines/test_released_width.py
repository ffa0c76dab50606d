"""The released MMDiT's layers at their full width: TensorRT-RTX compiles one of each for three generations of cards, on a CPU.

This takes 6 GB of memory and a minute of two cores. Plans are looked at and not kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vogue.engines.compiled.exporting import MODEL, export_network
from vogue.engines.compiled.profiles import profile_of
from vogue.engines.compiled.signatures import Network, signature_of
from vogue.engines.compiled.tensorrt_api import load_library
from vogue.engines.compiled.tensorrt_build import Target, compile_onnx
from vogue.engines.compiled.trial import trial_site
from vogue.engines.registry import Site
from vogue.schemas.engines import TensorRTSpec

SPEC = TensorRTSpec(library="tensorrt_rtx", precision="fp16")
NEEDS_KB = 8_000_000


@pytest.fixture(scope="module")
def released_graph(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[bool, str], None]
) -> Iterator[tuple[Site, Path]]:
    """The graph of one dual and one single layer with the refiner, 24 heads of 128, and where it belongs."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    require(int(facts["MemAvailable"].split()[0]) > NEEDS_KB, "less than 8 GB of memory are free")
    folder = tmp_path_factory.mktemp("released-width")
    site, modules = trial_site("univideo-hidden", folder, SPEC.precision, [Network.MMDIT])
    build = export_network(site, Network.MMDIT, SPEC.precision, lambda _: None, module=modules.pop(Network.MMDIT))
    yield site, build.folder / MODEL
    shutil.rmtree(folder)


@pytest.mark.parametrize("target", ["sm80", "sm89", "sm120"])
def test_the_released_width_compiles(released_graph: tuple[Site, Path], target: str, tmp_path: Path) -> None:
    site, graph = released_graph
    assert site.preset.mmdit.hidden_size == 3072
    plan = compile_onnx(
        load_library(SPEC.library),
        graph,
        signature_of(site.preset, Network.MMDIT),
        profile_of(site.preset, Network.MMDIT),
        SPEC,
        Target.parse(target),
        tmp_path / "timing",
        lambda _: None,
    )
    # 700 million parameters of two bytes.
    assert plan.nbytes > 1_300_000_000
