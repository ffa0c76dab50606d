"""From a network to an ONNX graph that is checked and kept: `torch.onnx.export(dynamo=True)`, every open axis named.

The graph is one fact of every engine that is compiled from it. Weights over 1.5 GB go to a file of their own, since one ONNX
file ends at 2 GB.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vogue.schemas.engines import Precision
from vogue.schemas.errors import EngineNotBuilt

from ..loading import LoadedVAE, load_mmdit, load_vae
from ..models.embeddings import sinusoid
from ..models.mmdit import MMDiT
from .modules import example_inputs, graph_of, traceable
from .profiles import profile_of
from .signatures import Network, Signature, signature_of
from .store import Build, find_build, new_build

if TYPE_CHECKING:
    from ..registry import Site

__all__ = ["DTYPES", "OPSET", "export_facts", "export_network", "find_export", "write_onnx"]

OPSET = 18
"""What both TensorRT libraries and ONNX Runtime read, and what torch's exporter writes without conversion."""

EXTERNAL_ABOVE_BYTES = 1_500_000_000
MODEL = "model.onnx"

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

Say = Callable[[str], None]


def export_facts(site: Site, network: Network, precision: Precision) -> dict[str, str]:
    """Everything that decides the graph: sizes, weights, and the code of the networks."""
    preset = site.preset
    config = preset.mmdit if network is Network.MMDIT else preset.vae
    return {
        "network": network.value,
        "sizes": config.model_dump_json(),
        "weights": site.weights_digest,
        "code": _code_digest(),
        "precision": precision,
        "opset": str(OPSET),
    }


def find_export(site: Site, network: Network, precision: Precision) -> Build:
    """The graph of the weights at hand.

    Raises:
        EngineNotBuilt: it was not exported yet, or of other weights or code.
    """
    return _find(site, network, export_facts(site, network, precision))


def export_network(
    site: Site, network: Network, precision: Precision, say: Say, *, module: MMDiT | LoadedVAE | None = None
) -> Build:
    """Load, export, check, and keep a network. A graph that is there is taken as it is.

    Args:
        module: the network itself, where it does not come from the weights folder.
    Raises:
        EngineNotBuilt: the exporter's packages are missing.
        WeightsMismatch: the weights do not fit the preset.
    """
    require_onnx()
    facts = export_facts(site, network, precision)
    try:
        return _find(site, network, facts)
    except EngineNotBuilt:
        pass
    if module is None:
        say(f"loading {network.value}")
        module = _load(site, network, DTYPES[precision])
    with new_build(site.engine_dir, site.preset.name, network, "onnx", facts) as (folder, notes):
        say(f"exporting {network.value} at opset {OPSET}")
        signature = signature_of(site.preset, network)
        axes = profile_of(site.preset, network).axes
        sizes = {name: max(axis.usual, 3 if name == "frames" else 2) for name, axis in axes.items()}
        graph = graph_of(network, module)
        write_onnx(graph, signature, example_inputs(site.preset, network, sizes), folder / MODEL)
        say(f"checking {network.value}")
        notes["nodes"] = str(check_onnx(folder / MODEL, signature))
        notes["parameters"] = str(sum(one.numel() for one in graph.parameters()))
        notes["torch"] = torch.__version__
    return _find(site, network, facts)


def write_onnx(
    graph: nn.Module,
    signature: Signature,
    inputs: dict[str, torch.Tensor],
    path: Path,
    *,
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES,
) -> None:
    """Trace a module and write it, with the signature's names on tensors and open axes."""
    # Kept between calls by its module; made while tracing, it would be a tensor of the trace.
    sinusoid(torch.zeros(1))
    # One latent frame is a network of its own, and after the first of two frames one is left: that is special to the tracer,
    # so it must see three. The graph runs two as well.
    dims = {name: torch.export.Dim(name, min=3 if name == "frames" else 1) for name in signature.open_axes}
    dynamic = {
        one.name: {i: dims[axis] for i, axis in enumerate(one.shape) if isinstance(axis, str)}
        for one in signature.inputs
    }
    names: Any = {"input_names": [one.name for one in signature.inputs]}
    names["output_names"] = [one.name for one in signature.outputs]
    with warnings.catch_warnings(), torch.no_grad(), _quiet_exporter(), traceable():
        warnings.simplefilter("ignore")  # of the exporter itself, about its own insides
        program = torch.export.export(graph, (), kwargs=inputs, dynamic_shapes=dynamic, strict=False)
        onnx_program = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)
        if onnx_program is None:
            raise RuntimeError("torch's exporter returned nothing")
        _name_axes(onnx_program.model, signature)
        size = sum(one.numel() * one.element_size() for one in (*graph.parameters(), *graph.buffers()))
        onnx_program.save(str(path), external_data=size > external_above_bytes)


def check_onnx(path: Path, signature: Signature) -> int:
    """Check a graph against the standard, with shape inference, and against its signature. Returns its number of nodes.

    Raises:
        ValueError: it takes or gives something else than the signature says.
        onnx.checker.ValidationError: it is no valid graph.
    """
    import onnx

    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path), load_external_data=False)
    for wanted, given in ((signature.inputs, model.graph.input), (signature.outputs, model.graph.output)):
        found = [(one.name, len(one.type.tensor_type.shape.dim)) for one in given]
        if found != [(one.name, len(one.shape)) for one in wanted]:
            raise ValueError(f"{path} has {found} where {[one.name for one in wanted]} belong")
    return len(model.graph.node)


def require_onnx() -> None:
    """Refuse to go on without the exporter's packages."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineNotBuilt(
            f"exporting needs the packages onnx and onnxscript ({error}); install them: pip install 'vogue-video[engines]'"
        ) from error


def _find(site: Site, network: Network, facts: dict[str, str]) -> Build:
    command = f"vogue engine build --preset {site.preset.name} --engine onnxruntime --precision {facts['precision']}"
    return find_build(site.engine_dir, site.preset.name, network, "onnx", facts, command)


def _name_axes(model: Any, signature: Signature) -> None:
    """The tracer calls open axes s28 or s77; say what they are."""
    import onnx_ir

    wanted = {one.name: one.shape for one in (*signature.inputs, *signature.outputs)}
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = onnx_ir.Shape(wanted[value.name])
    for node in model.graph.all_nodes():
        for value in node.outputs:
            # Shapes on the way in the tracer's symbols would contradict the names; shape inference finds them anew.
            if value.name not in wanted:
                value.shape = None


def _load(site: Site, network: Network, dtype: torch.dtype) -> MMDiT | LoadedVAE:
    if network is Network.MMDIT:
        return load_mmdit(site.weights, site.preset.mmdit, "cpu", dtype)
    return load_vae(site.weights, site.preset.vae, "cpu", dtype)


_SHAPING = (
    "models/blocks.py",
    "models/embeddings.py",
    "models/hunyuan_vae.py",
    "models/mmdit.py",
    "models/patch_vae.py",
    "models/refiner.py",
    "models/rope.py",
    "compiled/exporting.py",
    "compiled/modules.py",
    "compiled/signatures.py",
)


def _code_digest() -> str:
    """Of the code that shapes the graph: the networks, and how they are exported."""
    total = hashlib.sha256()
    engines = Path(str(resources.files("vogue.engines")))
    for name in _SHAPING:
        total.update(name.encode() + b"\0" + (engines / name).read_bytes())
    return total.hexdigest()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter logs at warning level what it skips."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
