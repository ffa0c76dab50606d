"""Exported graphs: valid by the standard, with every open axis named, and the same numbers as torch on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from vogue.engines.backends.on_onnxruntime import OnnxRuntimeRunner
from vogue.engines.compiled.decoding import compiled_decoder
from vogue.engines.compiled.exporting import (
    EXTERNAL_ABOVE_BYTES,
    MODEL,
    check_onnx,
    export_facts,
    export_network,
    write_onnx,
)
from vogue.engines.compiled.modules import example_inputs, graph_of
from vogue.engines.compiled.profiles import profile_of
from vogue.engines.compiled.signatures import Network, Signature, TensorSpec, signature_of
from vogue.engines.compiled.store import Build
from vogue.engines.loading import load_mmdit, load_vae
from vogue.engines.models.vae import build_vae, weights_of
from vogue.engines.registry import Site
from vogue.engines.tiny import randomise
from vogue.schemas.config import HunyuanVAEConfig
from vogue.schemas.presets import get_preset

CLOSE = 1e-4


@pytest.fixture(params=list(Network), ids=lambda network: network.value)
def network(request: pytest.FixtureRequest) -> Network:
    chosen: Network = request.param
    return chosen


@pytest.fixture
def build(mini_site: Site, network: Network) -> Build:
    return export_network(mini_site, network, "fp32", lambda _: None)


def test_a_graph_is_valid_and_its_shapes_are_inferred(mini_site: Site, network: Network, build: Build) -> None:
    path = build.folder / MODEL
    signature = signature_of(mini_site.preset, network)
    assert check_onnx(path, signature) == int(build.manifest.notes["nodes"])
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True, data_prop=True)
    for specs, values in ((signature.inputs, model.graph.input), (signature.outputs, model.graph.output)):
        for spec, value in zip(specs, values, strict=True):
            dims = value.type.tensor_type.shape.dim
            assert tuple(dim.dim_param or dim.dim_value for dim in dims) == spec.shape
    known = {value.name for value in model.graph.value_info if value.type.tensor_type.HasField("shape")}
    outputs = [name for node in model.graph.node for name in node.output if name]
    assert len(known) > 0.9 * len(outputs)


@pytest.mark.parametrize("size", ["smallest", "usual", "largest"])
def test_onnxruntime_gives_what_torch_gives(mini_site: Site, network: Network, build: Build, size: str) -> None:
    sizes = {name: getattr(axis, size) for name, axis in profile_of(mini_site.preset, network).axes.items()}
    inputs = example_inputs(mini_site.preset, network, sizes)
    preset = mini_site.preset
    module = (
        load_mmdit(mini_site.weights, preset.mmdit)
        if network is Network.MMDIT
        else load_vae(mini_site.weights, preset.vae)
    )
    with torch.inference_mode():
        wanted = graph_of(network, module)(**inputs)
    (found,) = OnnxRuntimeRunner(build.folder / MODEL, threads=2).run(inputs).values()
    torch.testing.assert_close(found, wanted, rtol=0, atol=CLOSE)


def test_an_export_is_made_once(mini_site: Site, network: Network, build: Build) -> None:
    written = (build.folder / MODEL).stat().st_mtime_ns
    again = export_network(mini_site, network, "fp32", lambda _: None)
    assert (again.folder / MODEL).stat().st_mtime_ns == written
    assert export_facts(mini_site, network, "fp32") == again.manifest.facts
    assert export_facts(mini_site, network, "bf16") != again.manifest.facts


class _Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(64, 64)

    def forward(self, values: Tensor) -> Tensor:
        return self.line(values)


LINE = Signature(
    inputs=(TensorSpec("values", "float32", ("batch", 64)),), outputs=(TensorSpec("sums", "float32", ("batch", 64)),)
)


def test_large_weights_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    assert EXTERNAL_ABOVE_BYTES < 2**31
    line, path = _Line().eval().requires_grad_(False), tmp_path / MODEL
    write_onnx(line, LINE, {"values": torch.zeros(2, 64)}, path, external_above_bytes=1000)
    assert (tmp_path / "model.onnx.data").stat().st_size >= 64 * 64 * 4
    assert path.stat().st_size < 64 * 64 * 4
    check_onnx(path, LINE)
    values = torch.randn(5, 64)
    torch.testing.assert_close(OnnxRuntimeRunner(path).run({"values": values})["sums"], line(values), rtol=0, atol=1e-5)


def test_a_graph_with_another_signature_is_refused(tmp_path: Path) -> None:
    write_onnx(_Line().eval().requires_grad_(False), LINE, {"values": torch.zeros(2, 64)}, tmp_path / MODEL)
    other = Signature(inputs=LINE.inputs, outputs=(TensorSpec("pixels", "float32", ("batch", 64)),))
    with pytest.raises(ValueError, match="sums"):
        check_onnx(tmp_path / MODEL, other)


def test_the_large_vae_decodes_tiles_on_a_graph_as_on_torch(tmp_path: Path) -> None:
    """Narrow, but with all stages: any number of frames from two, and tiles blended by what blends them on torch."""
    config = HunyuanVAEConfig(block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=2)
    preset = get_preset("univideo-hidden").model_copy(update={"vae": config})
    vae = build_vae(config, tiling=True)
    randomise(weights_of(vae), 0)
    vae.eval().requires_grad_(False)
    signature = signature_of(preset, Network.DECODER)
    inputs = example_inputs(preset, Network.DECODER, {"frames": 3, "height": 6, "width": 5})
    write_onnx(graph_of(Network.DECODER, vae), signature, inputs, tmp_path / MODEL)
    check_onnx(tmp_path / MODEL, signature)
    runner = OnnxRuntimeRunner(tmp_path / MODEL)
    decoder = compiled_decoder(lambda _: runner, preset, vae)
    for shape in ((1, 16, 2, 4, 4), (1, 16, 5, 1, 3), (2, 16, 8, 2, 2), (1, 16, 2, 34, 2)):
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.testing.assert_close(decoder.decode(latents), vae.decode(latents), rtol=0, atol=CLOSE)
