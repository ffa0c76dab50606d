"""Whether a preset's weights are there and whole, found without loading any: by safetensors' own header.

The layout of a weights folder is the one that the engines read.
"""

from __future__ import annotations

import json
from importlib.resources import files
from math import prod
from pathlib import Path

__all__ = ["inspect_file", "inspect_folder", "weights_folder"]

# Each line is one part of a model: the first of the names that exists counts.
_PARTS = (
    ("mllm",),
    ("connector.safetensors", "model.ckpt"),
    ("mmdit.safetensors", "mmdit", "model.ckpt"),
    ("vae.safetensors", "vae"),
)
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_MAX_HEADER_BYTES = 100_000_000


def weights_folder(preset: str, given: Path | None) -> Path:
    """Where a preset's weights are looked for: the given folder, or the one that came with the installation."""
    return given if given is not None else Path(str(files("vogue.weights"))) / preset


def inspect_folder(folder: Path) -> list[str]:
    """What is wrong with a weights folder; an empty list if nothing is."""
    if not folder.is_dir():
        return [f"there is no folder {folder}"]
    faults = []
    for names in _PARTS:
        part = next((folder / name for name in names if (folder / name).exists()), None)
        if part is None:
            faults.append(f"{' or '.join(names)} is missing")
        elif part.is_dir() and not any(part.glob("*.safetensors")):
            faults.append(f"{part.name}/ holds no safetensors")
        else:
            candidates = sorted(part.glob("*.safetensors")) if part.is_dir() else [part]
            tensors = [path for path in candidates if path.suffix == ".safetensors"]
            faults += [f"{path.relative_to(folder)}: {fault}" for path in tensors if (fault := inspect_file(path))]
    return faults


def inspect_file(path: Path) -> str | None:
    """What is wrong with a safetensors file: its length and every tensor's must be what its header says."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
                return f"not a safetensors file, or cut off ({size} bytes)"
            header = json.loads(file.read(length))
        end = 0
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            begin, stop = tensor["data_offsets"]
            if stop - begin != prod(tensor["shape"]) * _BYTES[tensor["dtype"]]:
                return f"the tensor {name} has {stop - begin} bytes, which does not fit its shape {tensor['shape']}"
            end = max(end, stop)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its header cannot be read ({error})"
    missing = 8 + length + end - size
    return f"{missing} bytes are missing" if missing > 0 else None
