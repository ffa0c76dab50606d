"""The arms of the ablations: what each changes, and the two that need another network.

All start from one checkpoint and train the same number of steps on the same encoded cases (docs/ablations.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from vogue.engines.mllm import MLLM
from vogue.engines.mllm_loading import EMBEDDING, QUERY_MARKS, build_mllm
from vogue.engines.models.mmdit import MMDiT
from vogue.engines.models.rope import Rope
from vogue.engines.processor import Patches
from vogue.engines.prompting import Reading
from vogue.schemas.config import MLLMConfig, Preset, Variant

from .encoded import Blindness, Layout
from .generator import Generator

__all__ = ["ARMS", "MEASURED", "Arm", "QueryGenerator", "ShiftedGenerator", "shifted_rope", "with_queries"]

MEASURED: Final = ("multiid_one", "multiid", "ref_v2v_edit", "v2v_edit", "i2i_edit")
"""Exercises that arms are scored on: in-context generation and editing, as in the paper's Table 5, and edits that must be located."""
NUM_QUERIES: Final = 32
"""The paper has 512 for hundreds to thousands of hidden states; mini's contexts have 16 to 136."""


_SIGHTED: Final = Blindness()


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train. `only`: exercises of a single-task model; None for the mixing of stage 3."""

    name: str
    title: str
    blind: Blindness = _SIGHTED
    only: tuple[str, ...] | None = None
    queries: int = 0
    positions: Literal["time", "all-axes"] = "time"

    @property
    def measured(self) -> tuple[str, ...]:
        """Exercises that the arm can be scored on."""
        return MEASURED if self.only is None else self.only


_ALL: Final = (
    Arm("baseline", "multi-task, visuals into both, hidden states, positions shifted in time only"),
    *(Arm(f"single-{name}", f"one model for {name} alone", only=(name,)) for name in MEASURED),
    Arm("no-mmdit-visuals", "no visuals into the MMDiT", blind=Blindness(mmdit=True)),
    Arm("no-mllm-visuals", "no visuals into the MLLM", blind=Blindness(mllm=True)),
    Arm("queries", f"{NUM_QUERIES} learnable queries in place of the visuals' hidden states", queries=NUM_QUERIES),
    Arm("all-axes", "every visual shifts the positions on all axes", positions="all-axes"),
)
ARMS: Final = {arm.name: arm for arm in _ALL}


def shifted_rope(
    layout: Layout, height: int, width: int, axes_dim: Sequence[int], theta: float, device: torch.device | None = None
) -> Rope:
    """Rope table in which every visual begins, on all three axes, after all positions of the one before (Qwen2-VL's MRoPE).

    height, width: in patches. Returns cosines and sines, [total·height·width, sum(axes_dim) / 2].
    """
    grids, start = [], 0
    for frames in (*[1] * layout.references, layout.target, layout.source):
        if frames:
            axes = (torch.arange(n, dtype=torch.float32, device=device) + start for n in (frames, height, width))
            grids.append(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2))
            start += max(frames, height, width)
    positions = torch.cat(grids)  # [N, 3]
    angles = [
        torch.outer(
            positions[:, axis], 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim)
        )
        for axis, dim in enumerate(axes_dim)
    ]
    table = torch.cat(angles, dim=-1)
    return table.cos(), table.sin()


class ShiftedMMDiT(MMDiT):
    """An MMDiT that is told where one visual ends and the next begins.

    layouts: of the rows of the next batch, or one for all of them. Latents of another length are one visual.
    """

    layouts: Sequence[Layout] = ()

    def rope(self, shape: tuple[int, int, int], device: torch.device) -> Rope:
        """As in `MMDiT`, from `layouts`: [N, d / 2], or [B, N, d / 2] of several layouts."""
        frames, height, width = shape
        patch, config = self.config.patch_size, self.config
        told = [layout if layout.total == frames else Layout(0, frames, 0, 0) for layout in self.layouts]
        tables = [
            shifted_rope(one, height // patch, width // patch, config.rope_axes_dim, config.rope_theta, device)
            for one in told or [Layout(0, frames, 0, 0)]
        ]
        if len(tables) == 1:
            return tables[0]
        return torch.stack([cos for cos, _ in tables]), torch.stack([sin for _, sin in tables])


class ShiftedGenerator(Generator):
    """A generator whose MMDiT shifts positions on all axes; its parameters are those of any other."""

    mmdit: ShiftedMMDiT

    def __init__(self, preset: Preset) -> None:
        super().__init__(preset)
        self.mmdit = ShiftedMMDiT(preset.mmdit)
        self.mmdit.init_weights()
        self.mmdit.transformer_blocks[-1].register_forward_hook(self._keep)


class QueryGenerator(Generator):
    """A generator behind learnable queries: the MLLM stays frozen, gradients go through it to the queries.

    Args:
        mllm: of `with_queries`; it is not one of the module's parts and not saved with it.
    """

    def __init__(self, preset: Preset, mllm: MLLM) -> None:
        super().__init__(preset)
        table = mllm.model.get_input_embeddings().weight
        self.first = mllm.tokenizer.first_query_row
        appended = mllm.config.num_queries + QUERY_MARKS
        self.queries = nn.Parameter(torch.randn(appended, table.shape[1]) * float(table[: self.first].std()))
        self.frozen = (mllm,)
        self._looked: dict[str, Tensor] = {}
        mllm.eyes = self._look
        self._hook = mllm.model.get_input_embeddings().register_forward_hook(self._embed)

    def read(self, readings: Sequence[Reading]) -> tuple[Tensor, Tensor]:
        """States [B, L, D] and mask [B, L] of readings, through which gradients reach the queries."""
        (mllm,) = self.frozen
        chats, patches = zip(*(mllm.chat(reading) for reading in readings), strict=True)
        batch = mllm._batch([chat.ids for chat in chats], [one for row in patches for one in row], "right")
        states = mllm._forward(batch, mllm._positions(batch))
        kept = [states[row, torch.tensor(chat.context)] for row, chat in enumerate(chats)]
        lengths = torch.tensor([len(one) for one in kept])
        padded = nn.utils.rnn.pad_sequence(kept, batch_first=True)
        return padded, torch.arange(padded.shape[1]) < lengths[:, None]

    def settle(self) -> MLLM:
        """The MLLM with these queries in its embedding, ready to encode without this module."""
        (mllm,) = self.frozen
        self._hook.remove()
        with torch.no_grad():
            mllm.model.get_input_embeddings().weight[self.first : self.first + len(self.queries)] = self.queries
        return mllm

    def _embed(self, embedding: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        ids = given[0] - self.first
        asked = (ids >= 0) & (ids < len(self.queries))
        return torch.where(asked[..., None], self.queries[ids.clamp(0, len(self.queries) - 1)], out)

    def _look(self, patches: Patches) -> Tensor:
        """What the frozen eyes see, remembered. Their tensors are of inference mode, which gradients may not touch: a copy may."""
        (mllm,) = self.frozen
        if patches.digest not in self._looked:
            self._looked[patches.digest] = mllm.look(patches).clone()
        return self._looked[patches.digest]

    def __deepcopy__(self, memo: dict[int, Any]) -> QueryGenerator:
        raise TypeError("a generator with queries shares its MLLM: load an average into it instead of copying it")


def with_queries(mllm: MLLM, num_queries: int) -> MLLM:
    """The same MLLM in the *queries* variant: rows for marks and queries appended to its vocabulary, not yet learnt."""
    state = dict(mllm.model.state_dict())
    rows = state[EMBEDDING].shape[0]
    config: MLLMConfig = mllm.config.model_copy(update={"variant": Variant.QUERIES, "num_queries": num_queries})
    for name in (EMBEDDING, "lm_head.weight"):
        if name in state:
            state[name] = torch.cat(
                [state[name], state[name].new_zeros(num_queries + QUERY_MARKS, state[name].shape[1])]
            )
    architecture = type(mllm.model.config).from_dict(mllm.model.config.to_dict())
    made = build_mllm(
        architecture, state, mllm.tokenizer.tokenizer, config, mllm.system_prompt, original_rows=rows
    )  # fmt: skip
    made.processor = mllm.processor
    return made
