"""Choosing an engine: by name, with a fallback only where one is named, and never in silence."""

from __future__ import annotations

import logging

import pytest
import torch
from pydantic import ValidationError

from vogue.engines import registry
from vogue.engines.compiled.signatures import Network
from vogue.engines.loading import load_vae
from vogue.engines.registry import Site, identify, open_decoder, open_denoiser
from vogue.engines.tiny import write_tiny
from vogue.engines.torch_engine import TorchEngine
from vogue.schemas.engines import EnginesConfig, EngineSetting, OnnxRuntimeSpec, TensorRTSpec, TorchSpec
from vogue.schemas.errors import EngineNotBuilt
from vogue.schemas.presets import get_preset


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("registry")
    write_tiny(folder / "weights")
    return Site(get_preset("tiny"), folder / "weights", "0" * 64, "cpu", torch.float32, folder / "engines")


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.backend_of

    def without(spec: registry.EngineSpec) -> registry.Backend:
        if spec.kind == "torch":
            return known(spec)
        raise EngineNotBuilt("there is no engine: run `vogue engine build`")

    monkeypatch.setattr(registry, "backend_of", without)


def test_torch_is_the_default(site: Site) -> None:
    opened = open_denoiser(EngineSetting(), site)
    assert isinstance(opened.engine, TorchEngine)
    assert opened.identity == f"torch-{torch.__version__}-cpu"
    assert opened.fell_back is None
    assert identify(EngineSetting(engine=TorchSpec(compiled=True)), site, Network.MMDIT).endswith("-compiled")


def test_the_torch_decoder_is_the_vae_that_is_there(site: Site) -> None:
    vae = load_vae(site.weights, site.preset.vae)
    assert open_decoder(EngineSetting(), site, vae).engine is vae


@pytest.mark.usefixtures("nothing_built")
def test_an_engine_that_cannot_run_is_an_error(site: Site) -> None:
    with pytest.raises(EngineNotBuilt, match="vogue engine build"):
        open_denoiser(EngineSetting(engine=OnnxRuntimeSpec()), site)


@pytest.mark.usefixtures("nothing_built")
def test_a_named_fallback_is_taken_and_reported(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    setting = EngineSetting(engine=OnnxRuntimeSpec(), fallback=TorchSpec())
    with caplog.at_level(logging.WARNING):
        opened = open_denoiser(setting, site)
    assert opened.identity.startswith("torch-")
    assert opened.fell_back is not None
    assert "vogue engine build" in opened.fell_back
    assert "onnxruntime" in caplog.text
    assert identify(setting, site, Network.MMDIT) == opened.identity


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="fallback is the engine itself"):
        EngineSetting(engine=TorchSpec(), fallback=TorchSpec())
    with pytest.raises(ValidationError, match="weight_streaming"):
        TensorRTSpec(weight_budget_bytes=1)
    with pytest.raises(ValidationError):
        EnginesConfig.model_validate({"denoiser": {"engine": {"kind": "magic"}}})
