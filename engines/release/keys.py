"""The names of the released files' tensors, and ours: one to one, in both directions.

| released file | names there | part, and names here |
| --- | --- | --- |
| `model.ckpt` | `qwen_project_in.…`, perhaps behind `transformer.` | connector, without it |
| `model.ckpt` and, under it, HunyuanVideo's `transformer/` | all others | MMDiT, the same |
| Qwen2.5-VL's folder | `visual.…`, `model.…`, `lm_head.…` (transformers 4.51) | MLLM, transformers 5's |
| `mllm.ckpt` (*queries*), over it | the same behind `mllm_backbone.` | MLLM |
| HunyuanVideo's `vae/` | diffusers' | codec, the same |

Source: NUMERICS, weights a user downloads. Knows nothing of files' contents.
"""

from __future__ import annotations

import re
from enum import StrEnum

from ..loading import POOLED_TEXT
from ..weights import CHECKPOINT_PREFIX, CONNECTOR_PREFIX, MLLM_PREFIX, modern_mllm_key

__all__ = ["Origin", "Part", "our_key", "released_key"]


class Part(StrEnum):
    """A network of VOGUE."""

    MLLM = "mllm"
    CONNECTOR = "connector"
    MMDIT = "mmdit"
    CODEC = "codec"


class Origin(StrEnum):
    """A released file, or a folder of files that belong together."""

    MODEL = "model.ckpt"
    TRANSFORMER = "transformer"
    QWEN = "mllm"
    MLLM = "mllm.ckpt"
    VAE = "vae"


def our_key(origin: Origin, key: str) -> tuple[Part, str] | None:
    """Where a released tensor goes, and its name there; None for the pooled-text embedding of HunyuanVideo's own
    transformer, which this model has not."""
    if origin in (Origin.QWEN, Origin.MLLM):
        return Part.MLLM, modern_mllm_key(key)
    if origin is Origin.VAE:
        return Part.CODEC, key
    key = key.removeprefix(CHECKPOINT_PREFIX)
    if origin is Origin.TRANSFORMER:
        return None if key.startswith(POOLED_TEXT) else (Part.MMDIT, key)
    if key.startswith(CONNECTOR_PREFIX):
        return Part.CONNECTOR, key.removeprefix(CONNECTOR_PREFIX)
    return Part.MMDIT, key


def released_key(part: Part, key: str, origin: Origin) -> str:
    """The name in a released file of a tensor of ours: the inverse of `our_key`."""
    if part is Part.CONNECTOR:
        return CONNECTOR_PREFIX + key
    if part is not Part.MLLM:
        return key
    old = re.sub(r"^model\.(visual|language_model)\.", lambda found: _OLD_STEM[found[1]], key)
    return MLLM_PREFIX + old if origin is Origin.MLLM else old


_OLD_STEM = {"visual": "visual.", "language_model": "model."}
