"""The engine on a Triton server: what it says of a server that is away, late, of other weights or of another network.

That it computes what torch does is the contract's business: tests/contract/test_engines.py.
"""

from __future__ import annotations

import json
import socket
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vogue.cli import build_app
from vogue.engines.compiled.signatures import Network
from vogue.engines.compiled.triton_memory import offsets_of
from vogue.engines.compiled.triton_repository import load_served, model_name, write_repository
from vogue.engines.compiled.triton_server import Ports, run_server, unpack_server
from vogue.engines.port import Row
from vogue.engines.registry import Site, identify, open_denoiser
from vogue.engines.tiny import write_tiny
from vogue.schemas.engines import EngineSetting, TorchSpec, TritonSpec
from vogue.schemas.errors import EngineNotBuilt, ServiceError, ServiceTimeout, WeightsMismatch
from vogue.schemas.presets import get_preset

PROTOCOLS = ("grpc", "http")


@pytest.fixture(scope="module")
def tiny_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("triton")
    write_tiny(folder / "weights")
    return Site(get_preset("tiny"), folder / "weights", "a" * 64, "cpu", torch.float32, folder / "engines")


def spec_of(ports: Ports, protocol: str, **changes: object) -> TritonSpec:
    url = f"127.0.0.1:{getattr(ports, protocol)}"
    return TritonSpec.model_validate({"url": url, "protocol": protocol, **changes})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_is_away_is_said_to_be(tiny_site: Site, protocol: str) -> None:
    setting = EngineSetting(engine=spec_of(Ports.free(), protocol))
    with pytest.raises(ServiceError, match=r"no Triton server answers .* start one"):
        open_denoiser(setting, tiny_site)
    opened = open_denoiser(setting.model_copy(update={"fallback": TorchSpec()}), tiny_site)
    assert opened.fell_back is not None
    assert "no Triton server answers" in opened.fell_back


def test_a_server_that_never_answers_is_given_up(tiny_site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        spec = TritonSpec(url=f"127.0.0.1:{deaf.getsockname()[1]}", protocol="http", timeout_s=0.2)
        with pytest.raises(ServiceTimeout, match=r"took over 0\.2 s"):
            identify(EngineSetting(engine=spec), tiny_site, Network.MMDIT)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_wrong_weights_and_unknown_models_are_refused(
    mini_site: Site, tiny_site: Site, triton_ports: Ports, protocol: str
) -> None:
    setting = EngineSetting(engine=spec_of(triton_ports, protocol))
    assert identify(setting, mini_site, Network.MMDIT).endswith(f"vogue_mini_mmdit-float32-{'0' * 12}")
    with pytest.raises(WeightsMismatch, match="serves weights 000000000000, but this deployment has 111111111111"):
        open_denoiser(setting, replace(mini_site, weights_digest="1" * 64))
    with pytest.raises(EngineNotBuilt, match="serves no model vogue_tiny_mmdit"):
        open_denoiser(setting, tiny_site)
    other = EngineSetting(engine=spec_of(triton_ports, protocol, model=model_name("mini", Network.DECODER)))
    with pytest.raises(EngineNotBuilt, match=r"needs .*tokens"):
        open_denoiser(other, mini_site)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_thread_may_call_and_shared_memory_grows(mini_site: Site, triton_ports: Ports, protocol: str) -> None:
    engine = open_denoiser(EngineSetting(engine=spec_of(triton_ports, protocol, shared_memory=True)), mini_site).engine
    torch_engine = open_denoiser(EngineSetting(), mini_site).engine
    width = mini_site.preset.connector.out_dim
    rows = [Row(torch.randn(16, 1 + 2 * i, 4, 4), 500.0, torch.randn(1 + 40 * i, width)) for i in range(3)]
    found: list[torch.Tensor] = []

    def call() -> None:
        for row in rows:
            found.extend(engine.forward([row]))

    call()
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    for one, row in zip(found, rows + rows, strict=True):
        torch.testing.assert_close(one, torch_engine.forward([row])[0], rtol=0, atol=1e-4)


def test_a_repository_says_what_is_served(tiny_site: Site, tmp_path: Path) -> None:
    names = write_repository(tmp_path, tiny_site)
    assert names == ["vogue_tiny_mmdit", "vogue_tiny_decoder", "vogue_tiny_decoder_still"]
    config = (tmp_path / names[0] / "config.pbtxt").read_text()
    assert f'key: "weights_digest" value {{ string_value: "{"a" * 64}" }}' in config
    assert 'name: "latent_mask" data_type: TYPE_BOOL dims: [ -1, -1 ]' in config
    assert (tmp_path / names[0] / "1" / "model.py").is_file()


def test_the_served_network_is_that_of_the_weights(tiny_site: Site) -> None:
    said = {
        "preset": "tiny", "network": "decoder_still", "weights": str(tiny_site.weights), "device": "cpu",
        "dtype": "float32", "threads": str(torch.get_num_threads()),
    }  # fmt: skip
    latents = torch.randn(1, tiny_site.preset.vae.latent_channels, 1, 2, 2)
    with torch.inference_mode():
        assert load_served(said)({"latents": latents}).shape[:3] == (1, 3, 1)


def test_a_wheel_without_a_server_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("other/__init__.py", "")
    with pytest.raises(EngineNotBuilt, match="holds no Triton server"):
        unpack_server(wheel, tmp_path / "out")
    with (
        pytest.raises(EngineNotBuilt, match="make triton"),
        run_server(tmp_path / "out", tmp_path, Ports.free(), tmp_path / "log"),
    ):
        pass


def test_tensors_in_a_region_do_not_overlap() -> None:
    offsets, total = offsets_of({"a": 1, "b": 64, "c": 65})
    assert offsets == {"a": 0, "b": 64, "c": 128}
    assert total == 256


def test_the_command_writes_a_repository(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    write_tiny(weights)
    arguments = ["--json", "engine", "serve", "--preset", "tiny", "--write-only"]
    arguments += ["--state-dir", str(tmp_path), "--weights-dir", str(weights)]
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (Path(said["repository"]) / said["models"][0] / "config.pbtxt").is_file()
