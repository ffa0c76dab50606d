"""The paper's three training stages as frozen specs, and beside each figure what the mini model does in its place.

Sources of the paper's figures: UniVideo (arXiv:2510.08377), Table 1 (hyperparameters), section 2.4 (what is trained on what) and
appendix B; the mixing shares are those of Tables 1 and 7 (NUMERICS, training). What no source gives stands in
`UNKNOWN`, and is not made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from vogue.schemas.errors import RequestInvalid

__all__ = [
    "NOT_GENERATED",
    "RECONSTRUCTION",
    "STAGES",
    "InContext",
    "Recipe",
    "Stage",
    "as_markdown",
    "exercise_shares",
    "get_stage",
]

Part = Literal["connector", "mmdit"]
InContext = Literal["table-7", "table-1"]
RECONSTRUCTION: Final = "reconstruction"
"""A picture goes to the MLLM only, and the MMDiT rebuilds it (section 2.4, stage 1)."""
STEPS_SHARE: Final = 0.2
"""Mini's steps are the paper's times this: what a machine of two cores makes in a night."""
WIDTHS: Final = 3072 / 192
"""Width of the paper's MMDiT over mini's. Adam's rate for hidden matrices goes with one over the width (muP, arXiv:2203.03466)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Numbers of one stage. Pixels are (min, max) of the frame's sides or areas as the source has them; frames (min, max).

    `ema_decay` None: no average is kept. `dropped`: share of rows that see the negative prompt in place of their own.
    `reading`: weight of the loss that asks the tokens half-way what they show (docs/training.md); the paper has none.
    """

    learning_rate: float
    steps: int
    ema_decay: float | None
    shift: float
    resolution_px: tuple[int, int]
    frames: tuple[int, int]
    frames_seen: tuple[int, int]
    warmup_steps: int = 50
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-15
    weight_decay: float = 0.0
    dropped: float | None = None
    reading: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what is trained, on which families of tasks in which shares, by the paper and here."""

    name: str
    title: str
    trains: tuple[Part, ...]
    mixing: Mapping[str, float]
    paper: Recipe
    mini: Recipe
    follows: str | None


def _mini(paper: Recipe, *, seen: tuple[int, int], frames: tuple[int, int], reading: float) -> Recipe:
    """The paper's recipe at mini's size: fewer steps, an average over the same share of them, a rate for the width."""
    decay = None if paper.ema_decay is None else 1 - (1 - paper.ema_decay) / STEPS_SHARE
    return Recipe(
        learning_rate=paper.learning_rate * WIDTHS,
        steps=round(paper.steps * STEPS_SHARE),
        ema_decay=decay,
        shift=2.0,
        resolution_px=(64, 64),
        frames=frames,
        frames_seen=seen,
        dropped=0.1,
        reading=reading,
    )


_ALIGN = Recipe(1e-4, 15_000, None, 5.0, (240, 480), (1, 1), (1, 1))
_TUNE = Recipe(2e-5, 5_000, 0.9999, 5.0, (480, 854), (1, 129), (1, 8))
_MIX = Recipe(2e-5, 15_000, 0.9999, 5.0, (480, 854), (1, 129), (1, 8))
_CREATE: Final = MappingProxyType({"t2i": 0.7, "t2v": 0.2, RECONSTRUCTION: 0.1})
_MANY: Final = MappingProxyType(
    {
        "t2i": 0.05,
        "t2v": 0.05,
        "i2v": 0.1,
        "image editing": 0.3,
        "image style transfer": 0.1,
        "in-context video editing": 0.1,
        "in-context video generation": 0.2,
        "in-context image style transfer": 0.1,
    }
)

STAGES: Final[Mapping[str, Stage]] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            Stage(
                "stage1", "connector alignment", ("connector",), _CREATE, _ALIGN,
                _mini(_ALIGN, seen=(1, 1), frames=(1, 17), reading=0.0), None,
            ),
            Stage(
                "stage2", "fine-tuning", ("connector", "mmdit"), _CREATE, _TUNE,
                _mini(_TUNE, seen=(1, 2), frames=(1, 17), reading=0.2), "stage1",
            ),
            Stage(
                "stage3", "multi-task", ("connector", "mmdit"), _MANY, _MIX,
                _mini(_MIX, seen=(1, 2), frames=(1, 17), reading=0.2), "stage2",
            ),
        )
    }
)  # fmt: skip

_FAMILIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "t2i": ("t2i", "t2i_related"),
        "t2v": ("t2v", "t2v_related"),
        RECONSTRUCTION: (RECONSTRUCTION,),
        "i2v": ("i2v", "drawn_motion"),
        "image editing": ("i2i_edit", "i2i_wide", "drawn_edit", "ref_i2i_edit"),
        "image style transfer": ("i2i_style",),
        "in-context video editing": ("v2v_edit", "v2v_wide", "v2v_style", "ref_v2v_edit"),
        "in-context video generation": ("ref2i", "multiid_one", "multiid", "multiid_views", "drawn_canvas"),
        "in-context image style transfer": ("ref_i2i_style",),
    }
)
NOT_GENERATED: Final = ("unmeetable",)
"""Trained exercises that have nothing to generate: the MLLM alone learns to ask back."""


def get_stage(name: str) -> Stage:
    """The stage of that name.

    Raises:
        RequestInvalid: there is none.
    """
    if name not in STAGES:
        raise RequestInvalid(f"no stage {name!r}; there are {', '.join(STAGES)}", param="stage")
    return STAGES[name]


def exercise_shares(stage: Stage, in_context: InContext = "table-7") -> dict[str, float]:
    """Share of rows of every exercise that a stage draws; sums to one.

    `in_context`: the paper's Tables 1 and 7 have the shares of in-context video editing and generation the other way round.
    """
    mixing = dict(stage.mixing)
    editing, generation = "in-context video editing", "in-context video generation"
    if in_context == "table-1" and editing in mixing:
        mixing[editing], mixing[generation] = mixing[generation], mixing[editing]
    return {name: share / len(_FAMILIES[family]) for family, share in mixing.items() for name in _FAMILIES[family]}


def as_markdown() -> str:
    """The table of docs/stages.md: for each figure the paper's and mini's."""
    head = ["", *(f"{stage.name}, {stage.title}" for stage in STAGES.values())]
    rows = [head, ["---"] * len(head), ["trains", *(" + ".join(stage.trains) for stage in STAGES.values())]]
    for title, told in (
        ("learning rate (constant)", lambda one: f"{one.learning_rate:.2g}"),
        ("warm-up steps", lambda one: str(one.warmup_steps)),
        ("steps", lambda one: f"{one.steps:,}"),
        ("EMA", lambda one: "–" if one.ema_decay is None else f"{one.ema_decay:.4f}"),
        ("timestep shift", lambda one: f"{one.shift:g}"),
        ("resolution of generation, px", lambda one: "–".join(map(str, one.resolution_px))),
        ("frames generated", lambda one: "–".join(map(str, one.frames))),
        ("frames seen by the MLLM", lambda one: "–".join(map(str, one.frames_seen))),
        ("AdamW betas, eps", lambda one: f"{one.betas[0]:g}, {one.betas[1]:g}, {one.eps:g}"),
        ("weight decay; gradient clip", lambda one: f"{one.weight_decay:g}; {one.clip:g}"),
        ("conditions dropped", lambda one: "unknown" if one.dropped is None else f"{one.dropped:g}"),
        ("weight of reading", lambda one: f"{one.reading:g}"),
    ):  # fmt: skip
        rows.append([title, *(f"{told(stage.paper)} → {told(stage.mini)}" for stage in STAGES.values())])
    mixes = [", ".join(f"{family} {share:g}" for family, share in stage.mixing.items()) for stage in STAGES.values()]
    rows.append(["mixing", *mixes])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
