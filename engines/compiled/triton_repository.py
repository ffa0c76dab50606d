"""A model repository for Triton: one folder a network, with its configuration and the file that runs it.

What a network takes and gives is its `Signature`, as for every other engine; the configuration also says which weights are
served, so that a client with others is told so.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vogue.schemas.presets import get_preset

from ..loading import load_mmdit, load_vae
from ..registry import Site
from .modules import graph_of
from .signatures import Network, Signature, TensorSpec, signature_of

__all__ = ["load_served", "model_name", "write_repository"]

_TYPES = {"float32": "TYPE_FP32", "bool": "TYPE_BOOL"}


def model_name(preset: str, network: Network) -> str:
    """What a network of a preset is called on a server."""
    return f"vogue_{preset}_{network.value}"


def write_repository(folder: Path, site: Site, networks: Sequence[Network] = tuple(Network)) -> list[str]:
    """Write what a server needs to serve `networks` of a site; returns the models' names.

    Weights are named, not copied: write the repository again after they were changed.
    """
    names = []
    for network in networks:
        name = model_name(site.preset.name, network)
        version = folder / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (folder / name / "config.pbtxt").write_text(_configuration(name, site, network))
        shutil.copyfile(Path(__file__).with_name("triton_model.py"), version / "model.py")
        names.append(name)
    return names


def load_served(said: Mapping[str, str]) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """The network that a configuration's parameters name: tensors by name in, its one output out. Runs in the server.

    Raises:
        WeightsMismatch: the weights do not fit the preset.
    """
    torch.set_num_threads(int(said["threads"]))
    preset, network = get_preset(said["preset"]), Network(said["network"])
    weights, device, dtype = Path(said["weights"]), torch.device(said["device"]), getattr(torch, said["dtype"])
    if network is Network.MMDIT:
        graph = graph_of(network, load_mmdit(weights, preset.mmdit, device, dtype))
    else:
        graph = graph_of(network, load_vae(weights, preset.vae, device, dtype))

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = graph(**{name: tensor.to(device) for name, tensor in inputs.items()})
        return out.cpu()

    return run


def _configuration(name: str, site: Site, network: Network) -> str:
    """A model's config.pbtxt. JSON strings are strings of protobuf's text form too."""
    signature: Signature = signature_of(site.preset, network)
    parameters = {
        "preset": site.preset.name,
        "network": network.value,
        "weights": str(site.weights.resolve()),
        "weights_digest": site.weights_digest,
        "device": site.device,
        "dtype": str(site.dtype).removeprefix("torch."),
        "threads": str(site.threads),
        "site_packages": json.dumps([sysconfig.get_path("purelib")]),
    }
    kind = "KIND_GPU" if site.device.startswith("cuda") else "KIND_CPU"
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "python"',
        "max_batch_size: 0",
        *(f"input [ {_tensor(one)} ]" for one in signature.inputs),
        *(f"output [ {_tensor(one)} ]" for one in signature.outputs),
        f"instance_group [ {{ count: 1 kind: {kind} }} ]",
        *(
            f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _tensor(spec: TensorSpec) -> str:
    dims = ", ".join(str(axis) if isinstance(axis, int) else "-1" for axis in spec.shape)
    return f"{{ name: {json.dumps(spec.name)} data_type: {_TYPES[spec.dtype]} dims: [ {dims} ] }}"
