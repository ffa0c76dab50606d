"""What fits where: the stages of a preset on so many cards of one kind, and what to move out first where they do not fit.

All of it is computed from the networks' construction, nothing is measured. Each service is a process of its own: it has a CUDA context,
and its allocator keeps what its largest job took, so stages that share a card add up even though they take turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from transformers import Qwen2_5_VLConfig

from vogue.schemas.config import HunyuanVAEConfig, Preset, Variant

from ..mllm_loading import QUERY_MARKS
from ..release.blueprint import Blueprint, blueprint
from ..release.keys import Part
from .activations import Shape, codec_bytes, denoiser_bytes, mllm_bytes, shapes_of
from .gpus import Gpu

__all__ = ["Capacity", "Card", "Precision", "Rung", "Stage", "StageNeed", "capacity_of", "weight_bytes"]

CONTEXT_BYTES = 3 * 2**28
"""Of a process on a card: CUDA's own memory and the libraries' workspaces; 0.75 GiB, assumed."""

SLACK = 1.1
"""Activations are multiplied by it: what an allocator cannot use of what it holds; assumed."""

ROWS = 2
"""Guidance passes of equal length run together; the pass without visuals runs alone (TorchEngine)."""

_BF16, _FP8, _SCALE = 2, 1, 4


class Stage(StrEnum):
    """A service with networks."""

    UNDERSTANDING = "understanding"
    CONNECTOR = "connector"
    DENOISER = "denoiser"
    CODEC = "codec"


PART_OF = {
    Stage.UNDERSTANDING: Part.MLLM,
    Stage.CONNECTOR: Part.CONNECTOR,
    Stage.DENOISER: Part.MMDIT,
    Stage.CODEC: Part.CODEC,
}
_BESIDE = (Stage.UNDERSTANDING, Stage.CONNECTOR, Stage.CODEC)


class Precision(StrEnum):
    """Of the matrices in the blocks of MLLM and MMDiT; all else is bfloat16."""

    BF16 = "bf16"
    FP8 = "fp8"


@dataclass(frozen=True)
class StageNeed:
    """Memory of a service at a shape, in bytes."""

    stage: Stage
    parameters: int
    weights: int
    activations: int
    context: int = CONTEXT_BYTES

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.activations + self.context


@dataclass(frozen=True)
class Card:
    """What shares one card at a shape."""

    shape: str
    stages: tuple[Stage, ...]
    needed: int
    fits: bool


@dataclass(frozen=True)
class Rung:
    """A way to make room on a single card, on top of those before it.

    `cost_s` is what it adds to a job, by the nominal host link; `today` says whether this version's configuration can do it.
    """

    what: str
    freed: int
    needed: int
    fits: bool
    cost_s: float
    today: bool
    note: str


@dataclass(frozen=True)
class Capacity:
    """The answer. `queries` are bytes inside the MLLM's weights."""

    preset: str
    gpu: Gpu
    count: int
    precision: Precision
    shapes: tuple[Shape, ...]
    stages: dict[str, tuple[StageNeed, ...]]
    queries: int
    codec_whole_pictures: dict[str, int]
    cards: tuple[Card, ...]
    together: tuple[Card, ...]
    ladder: dict[str, tuple[Rung, ...]]


def weight_bytes(plan: Blueprint, part: Part, precision: Precision = Precision.BF16) -> int:
    """Bytes of a part's weights. fp8 has one byte a value and one float32 scale an output channel, in matrices of blocks."""
    shared = plan.tied if part is Part.MLLM else frozenset()
    total = 0
    for key, shape in plan.parts[part].items():
        if key in shared:
            continue
        count = 1
        for side in shape:
            count *= side
        in_blocks = len(shape) == 2 and ("blocks." in key or "layers." in key) and part in (Part.MLLM, Part.MMDIT)
        total += count * _FP8 + shape[0] * _SCALE if in_blocks and precision is Precision.FP8 else count * _BF16
    return total


def capacity_of(
    preset: Preset,
    gpu: Gpu,
    count: int = 1,
    precision: Precision = Precision.BF16,
    architecture: Qwen2_5_VLConfig | None = None,
) -> Capacity:
    """Compute everything for `count` cards: the denoiser has one to itself where there are two."""
    plan = blueprint(preset, architecture)
    shapes = shapes_of(preset, plan.architecture)
    needs = {shape.name: _needs(preset, plan, shape, precision, ROWS) for shape in shapes}
    whole = {
        shape.name: codec_bytes(preset, shape, tiled=False)
        for shape in shapes
        if isinstance(preset.vae, HunyuanVAEConfig)
    }
    groups = [tuple(Stage)] if count == 1 else [(Stage.DENOISER,), _BESIDE]
    return Capacity(
        preset=preset.name,
        gpu=gpu,
        count=count,
        precision=precision,
        shapes=shapes,
        stages=needs,
        queries=_query_bytes(preset),
        codec_whole_pictures=whole,
        cards=tuple(_card(name, group, need, gpu) for name, need in needs.items() for group in groups),
        together=tuple(
            _card(name, (Stage.UNDERSTANDING, Stage.CODEC), need, gpu) for name, need in needs.items()
        ),
        ladder={shape.name: tuple(_ladder(preset, plan, shape, precision, gpu)) for shape in shapes},
    )  # fmt: skip


def _needs(
    preset: Preset, plan: Blueprint, shape: Shape, precision: Precision, rows: int
) -> tuple[StageNeed, ...]:  # fmt: skip
    peaks = {
        Stage.UNDERSTANDING: mllm_bytes(preset, plan.architecture, shape, rows + 1),
        # Input, inner layer and output of the longest context, all passes together.
        Stage.CONNECTOR: 2
        * (rows + 1)
        * shape.context_tokens
        * (10 * preset.connector.in_dim + preset.connector.out_dim),
        Stage.DENOISER: denoiser_bytes(preset, shape, rows),
        Stage.CODEC: codec_bytes(preset, shape, tiled=True),
    }
    return tuple(
        StageNeed(
            stage, plan.parameters(PART_OF[stage]), weight_bytes(plan, PART_OF[stage], precision), int(peak * SLACK)
        )
        for stage, peak in peaks.items()
    )


def _query_bytes(preset: Preset) -> int:
    """The queries and their two marks, in the embedding and in the head."""
    if preset.mllm.variant is not Variant.QUERIES:
        return 0
    return 2 * (preset.mllm.num_queries + QUERY_MARKS) * preset.connector.in_dim * _BF16


def _card(shape: str, group: Iterable[Stage], needs: Iterable[StageNeed], gpu: Gpu) -> Card:
    stages = tuple(group)
    needed = sum(need.total for need in needs if need.stage in stages)
    return Card(shape, stages, needed, needed <= gpu.memory_bytes)


def _ladder(preset: Preset, plan: Blueprint, shape: Shape, precision: Precision, gpu: Gpu) -> Iterable[Rung]:
    """Everything on one card, then one measure after another, the cheapest first."""
    needs = {need.stage: need for need in _needs(preset, plan, shape, precision, ROWS)}
    link = gpu.host_link_gb_s * 1e9
    total = sum(need.total for need in needs.values())

    def rung(what: str, freed: int, cost_s: float, today: bool, note: str) -> Rung:
        nonlocal total
        total -= freed
        return Rung(what, freed, total, total <= gpu.memory_bytes, cost_s, today, note)

    yield rung("everything on one card", 0, 0.0, True, "deploy/h100.yaml with num_gpus that add up to 1")

    alone = int(denoiser_bytes(preset, shape, 1) * SLACK)
    freed = needs[Stage.DENOISER].activations - alone
    yield rung("guidance passes one after another", freed, 0.0, False, "the same work, in smaller pieces")

    for stage in (Stage.UNDERSTANDING, Stage.CODEC):
        need = needs[stage]
        moved = need.weights + need.activations
        cost = 2 * need.weights / link
        yield rung(f"{stage} in host memory while the denoiser works", moved, cost, False, "there and back once a job")

    lean = weight_bytes(plan, Part.MMDIT, Precision.FP8)
    here = needs[Stage.DENOISER].weights
    if gpu.has_fp8 and lean < here:
        yield rung(
            "the denoiser's matrices in fp8", here - lean, 0.0, False, "less exact; to be compared with bf16 first"
        )
        here = lean

    blocks = preset.mmdit.num_layers + preset.mmdit.num_single_layers
    steps = max(task.steps for task in preset.tasks.values())
    if blocks > 2:
        streamed = here - 2 * here // blocks
        # Passes one after another stream the weights for each of them.
        cost = steps * 3 * streamed / link
        yield rung(
            "the denoiser's blocks streamed from host memory", streamed, cost, False, f"{steps} steps of three passes"
        )
