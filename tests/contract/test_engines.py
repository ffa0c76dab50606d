"""The contract of the engine ports: whole jobs, batches and padding, on every library, against torch.

An engine that is compiled is made from the weights of the mini preset, exported once for the session. What needs a GPU registers here
too, and runs where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch

from vogue.engines.compiled.exporting import export_network
from vogue.engines.compiled.profiles import profile_of
from vogue.engines.compiled.signatures import Network
from vogue.engines.layout import Conditions
from vogue.engines.loading import LoadedVAE, load_vae
from vogue.engines.port import Decoder, Engine, Row
from vogue.engines.registry import Site, open_decoder, open_denoiser
from vogue.engines.sampling import Denoising, denoise, get_noise, prepare
from vogue.schemas.engines import EngineSetting, EngineSpec, OnnxRuntimeSpec, TensorRTSpec, TorchSpec, TritonSpec
from vogue.schemas.errors import ProfileExceeded
from vogue.schemas.stages import Pass

CLOSE = 1e-4
SPECS: dict[str, EngineSpec] = {
    "torch": TorchSpec(),
    "onnxruntime": OnnxRuntimeSpec(),
    "triton": TritonSpec(),
    "triton over HTTP and through memory": TritonSpec(protocol="http", shared_memory=True),
    "tensorrt": TensorRTSpec(precision="fp32"),
    "tensorrt_rtx": TensorRTSpec(precision="fp32", library="tensorrt_rtx"),
}
NEEDS_GPU = ("tensorrt", "tensorrt_rtx")
"""Without one they say what they need: tests/engines/test_tensorrt.py."""


@dataclass(frozen=True)
class Place:
    """Where engines are opened, and what torch gives there."""

    site: Site
    vae: LoadedVAE
    reference: Engine
    open: Callable[[EngineSpec], tuple[Engine, Decoder]]


@pytest.fixture(scope="session")
def place(mini_site: Site) -> Place:
    vae = load_vae(mini_site.weights, mini_site.preset.vae)

    @cache
    def opened(spec: EngineSpec) -> tuple[Engine, Decoder]:
        setting = EngineSetting(engine=spec)
        return open_denoiser(setting, mini_site).engine, open_decoder(setting, mini_site, vae).engine

    return Place(mini_site, vae, opened(TorchSpec())[0], opened)


@pytest.fixture(params=[name for name in SPECS if name not in NEEDS_GPU or torch.cuda.is_available()])
def engines(request: pytest.FixtureRequest, place: Place) -> tuple[Engine, Decoder]:
    if request.param in NEEDS_GPU:
        from vogue.engines.compiled.tensorrt_build import build_plan, this_gpu

        spec = SPECS[request.param]
        assert isinstance(spec, TensorRTSpec)
        for network in Network:
            build_plan(place.site, network, spec, this_gpu(), lambda _: None)
    elif request.param == "onnxruntime":
        for network in Network:
            export_network(place.site, network, "fp32", lambda _: None)
    spec = SPECS[request.param]
    if isinstance(spec, TritonSpec):
        ports = request.getfixturevalue("triton_ports")
        spec = spec.model_copy(update={"url": f"127.0.0.1:{getattr(ports, spec.protocol)}"})
    return place.open(spec)


@pytest.fixture
def engine(engines: tuple[Engine, Decoder]) -> Engine:
    return engines[0]


@pytest.fixture
def decoder(engines: tuple[Engine, Decoder]) -> Decoder:
    return engines[1]


def _job(
    site: Site, seed: int, *, references: int = 0, source: int = 0, first: bool = False, g: float = 3.0, h: float = 1.5
) -> Denoising:
    generator = torch.Generator().manual_seed(seed)

    def latents(frames: int) -> torch.Tensor:
        return torch.randn(16, frames, 4, 4, generator=generator)

    contexts = {
        which: torch.randn(length, site.preset.connector.out_dim, generator=generator)
        for which, length in ((Pass.UNCONDITIONAL, 3), (Pass.NEGATIVE, 7), (Pass.CONDITIONAL, 11))
    }
    conditions = Conditions(
        references=tuple(latents(1) for _ in range(references)),
        source=latents(source) if source else None,
        first_frame=latents(1) if first else None,
    )
    return prepare(get_noise((16, 2, 4, 4), seed), contexts, conditions, 3, g, h, site.preset.schedule)


def _jobs(site: Site) -> list[Denoising]:
    """Three passes with two references and a source; image-to-video; one pass. Every length differs."""
    return [
        _job(site, 1, references=2, source=2),
        _job(site, 2, first=True, h=1.0),
        _job(site, 3, g=1.0),
    ]


def test_whole_jobs_end_as_on_torch(place: Place, engine: Engine) -> None:
    wanted = denoise(place.reference, _jobs(place.site))
    found = denoise(engine, _jobs(place.site))
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=CLOSE)


def test_jobs_together_end_as_alone(place: Place, engine: Engine) -> None:
    together = denoise(engine, _jobs(place.site))
    for shared, job in zip(together, _jobs(place.site), strict=True):
        torch.testing.assert_close(shared, denoise(engine, [job])[0], rtol=0, atol=CLOSE)


def test_padding_of_contexts_changes_nothing(place: Place, engine: Engine) -> None:
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(16, 2, 4, 4, generator=generator)
    rows = [
        Row(latents, 500.0, torch.randn(n, place.site.preset.connector.out_dim, generator=generator))
        for n in (1, 9, 30)
    ]
    together = engine.forward(rows)
    for row, shared in zip(rows, together, strict=True):
        torch.testing.assert_close(shared, engine.forward([row])[0], rtol=0, atol=CLOSE)


def test_more_rows_than_fit_one_call(place: Place, engine: Engine) -> None:
    most = profile_of(place.site.preset, Network.MMDIT).axes["batch"].largest
    context = torch.zeros(2, place.site.preset.connector.out_dim)
    rows = [Row(torch.full((16, 1, 2, 2), i / 20), 100.0, context) for i in range(most + 2)]
    found = engine.forward(rows)
    assert len(found) == most + 2
    torch.testing.assert_close(found[-1], place.reference.forward(rows[-1:])[0], rtol=0, atol=CLOSE)
    assert engine.forward([]) == []


@pytest.mark.parametrize("shape", [(1, 16, 1, 8, 8), (2, 16, 1, 2, 2), (1, 16, 2, 8, 8), (2, 16, 5, 4, 2)])
def test_clips_and_pictures_decode_as_on_torch(place: Place, decoder: Decoder, shape: tuple[int, ...]) -> None:
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        wanted = place.vae.decode(latents)
    torch.testing.assert_close(decoder.decode(latents).float(), wanted.float(), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("spec", [OnnxRuntimeSpec()], ids=lambda spec: spec.kind)
def test_what_is_outside_the_profile_is_refused_with_the_nearest_size(place: Place, spec: EngineSpec) -> None:
    for network in Network:
        export_network(place.site, network, "fp32", lambda _: None)
    engine, decoder = place.open(spec)
    context = torch.zeros(2, place.site.preset.connector.out_dim)
    with pytest.raises(ProfileExceeded, match=r"504 tokens \(14 latent frames at this size\)"):
        engine.forward([Row(torch.zeros(16, 20, 12, 12), 1.0, context)])
    most = profile_of(place.site.preset, Network.MMDIT).axes["context"].largest
    with pytest.raises(ProfileExceeded, match=f"nearest that it runs is {most} context"):
        engine.forward([Row(torch.zeros(16, 1, 2, 2), 1.0, context.new_zeros(most + 1, context.shape[1]))])
    with pytest.raises(ProfileExceeded, match="nearest that it runs is 5 frames"):
        decoder.decode(torch.zeros(1, 16, 6, 8, 8))


def test_a_folder_of_other_weights_is_not_taken(place: Place, tmp_path: Path) -> None:
    from vogue.schemas.errors import EngineNotBuilt

    for network in Network:
        export_network(place.site, network, "fp32", lambda _: None)
    other = replace(place.site, weights_digest="1" * 64)
    with pytest.raises(EngineNotBuilt, match=r"has weights .* instead of 1111.*vogue engine build --preset mini"):
        open_denoiser(EngineSetting(engine=OnnxRuntimeSpec()), other)
    with pytest.raises(EngineNotBuilt, match="there is no onnx engine"):
        open_denoiser(EngineSetting(engine=OnnxRuntimeSpec()), replace(place.site, engine_dir=tmp_path))
