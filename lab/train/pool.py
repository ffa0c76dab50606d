"""Cases as the generator's training sees them: latents of the codec and hidden states of the MLLM, encoded once.

Both networks are frozen by then, and encoding costs as much as a training step. A shard is one safetensors file of cases of
one task, made through the product's own stages, so that training and use cannot drift apart.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from vogue.engines.conditioning import Canvas, Visual, readings
from vogue.engines.mllm import MLLM
from vogue.engines.mllm_loading import load_mllm
from vogue.engines.models.patch_vae import PatchVAE
from vogue.lab.world.cases import Case
from vogue.lab.world.exercises import sample_exercise
from vogue.lab.world.render import render
from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.stages import Pass

from .codec import to_pixels
from .groups import GROUPS, draw_case
from .labels import label

__all__ = [
    "SCORED",
    "Encoder",
    "Rows",
    "TaskPool",
    "fill_pool",
    "open_encoder",
    "shrink_masks",
    "visuals_of",
    "where_it_matters",
]

SHARD = 240
CHUNK = 24
HELD_OUT = 24
NEGATIVE_EVERY = 3
VISIBLE = 8
# Rare groups need cases enough too: what is to be copied from references must be different each time.
LEAST = 960
SCORED: Final = ("t2v", "i2v", "i2i_edit", "v2v_edit", "multiid_one", "ref_v2v_edit")
"""Exercises with a held-out shard, which samples on the way are scored on."""
log = logging.getLogger("vogue.train")


def visuals_of(case: Case) -> list[Visual]:
    """A case's visual inputs with their roles."""
    kind = MediaKind.IMAGE if len(case.target) == 1 else MediaKind.VIDEO
    visuals = [Visual(Role.REFERENCE, MediaKind.IMAGE, one) for one in case.references]
    if case.source is not None:
        visuals.append(Visual(Role.SOURCE, kind, case.source))
    if case.first_frame is not None:
        visuals.append(Visual(Role.FIRST_FRAME, MediaKind.IMAGE, case.first_frame))
    return visuals


@dataclass(frozen=True)
class Encoder:
    """The frozen networks, and the preset whose wording they are given."""

    vae: PatchVAE
    mllm: MLLM
    preset: Preset

    def negative_states(self) -> Tensor:
        """Hidden states [L, D] of the negative prompt alone, the same for every case."""
        made = self._readings(Task.T2V, "", [], (Pass.UNCONDITIONAL,))
        return self.mllm.encode([made[Pass.UNCONDITIONAL]])[0]

    def shard(self, drawn: Sequence[tuple[Case, str]], negative_every: int = NEGATIVE_EVERY) -> dict[str, Tensor]:
        """Encode cases of one group with their prompts.

        Returns:
            target, source (edits), references (one a frame): [N, C, T, h, w] float16. states [N, L, D] float16, padded with
            zeros, and lengths [N]; with visuals also negative and negative_lengths, of every `negative_every`-th case.
            mask: [N, T, h, w], the share of a cell that is edited or, without an edit, that subjects cover. labels, places: see `labels`.
        """
        parts = []
        for start in range(0, len(drawn), CHUNK):
            cases, prompts = zip(*drawn[start : start + CHUNK], strict=True)
            parts.append(self._encode(list(cases), list(prompts), negative_every))
        names = parts[0].keys()
        return {name: torch.cat(_even([part[name] for part in parts])).contiguous() for name in names}

    @torch.inference_mode()
    def _encode(self, cases: list[Case], prompts: list[str], negative_every: int) -> dict[str, Tensor]:
        task = Task(cases[0].task)
        out = {"target": self._latents([case.target for case in cases])}
        passes: tuple[Pass, ...] = (Pass.CONDITIONAL,)
        if visuals_of(cases[0]):
            passes = (Pass.CONDITIONAL, Pass.NEGATIVE)
        if cases[0].source is not None:
            out["source"] = self._latents([case.source for case in cases])  # type: ignore[misc]
        if cases[0].references:
            pictures = [self._latents(list(one)) for one in zip(*(case.references for case in cases), strict=True)]
            out["references"] = torch.cat(pictures, dim=2)
        out["mask"] = shrink_masks(np.stack([where_it_matters(case) for case in cases]))
        labelled = [label(case.target_scene, len(case.target)) for case in cases]
        out["labels"] = torch.from_numpy(np.stack([labels for labels, _ in labelled]))
        out["places"] = torch.from_numpy(np.stack([places for _, places in labelled]))
        made = [
            self._readings(task, prompt, visuals_of(case), passes) for case, prompt in zip(cases, prompts, strict=True)
        ]
        for which, name, lengths, every in (
            (Pass.CONDITIONAL, "states", "lengths", 1),
            (Pass.NEGATIVE, "negative", "negative_lengths", negative_every),
        ):
            if which in passes:
                rows = self.mllm.encode([one[which] for one in made[::every]])
                out[lengths] = torch.tensor([len(row) for row in rows])
                out[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).half()
        return out

    def _latents(self, clips: list[np.ndarray]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.vae.encode(to_pixels(np.stack(clips))).half()

    def _readings(self, task: Task, prompt: str, visuals: list[Visual], passes: tuple[Pass, ...]):  # type: ignore[no-untyped-def]
        defaults = self.preset.tasks[task]
        canvas = Canvas(defaults.height_px, defaults.width_px, self.preset.area_px)
        negative = self.preset.default_negative_prompt
        return readings(task, prompt, negative, visuals, canvas, passes, self.preset.prompts, self.preset.mllm)


def open_encoder(run: Path, preset: Preset) -> Encoder:
    """The encoder of a run's trained codec and MLLM."""
    vae = PatchVAE(preset.vae)  # type: ignore[arg-type]
    vae.load_state_dict(torch.load(run / "codec-final.pt", weights_only=True))
    return Encoder(
        vae.eval().requires_grad_(False), load_mllm(run / "mllm", preset.mllm, preset.prompts.system), preset
    )


def fill_pool(run: Path, count: int, part: int = 0, parts: int = 1) -> None:
    """Write shards until `count` cases are there, the groups in proportion; held-out shards and the negative prompt first.

    Of `parts` processes that fill a pool together, this is number `part`, from 0.
    """
    folder = run / "pool"
    folder.mkdir(parents=True, exist_ok=True)
    encoder = open_encoder(run, get_preset("mini"))
    if part == 0:
        torch.save(encoder.negative_states().clone(), folder / "negative.pt")
    for name in SCORED[part::parts]:
        held_out = folder / f"eval-{name}.safetensors"
        if not held_out.exists():
            cases = [sample_exercise(name, seed, "eval") for seed in range(HELD_OUT)]
            save_file(encoder.shard([(case, case.prompt) for case in cases], negative_every=1), held_out)
    shards = {name: round(max(count * group.mixing, min(count, LEAST)) / SHARD) or 1 for name, group in GROUPS.items()}
    # Whichever group is furthest behind its share comes next, so that an unfinished pool is a balanced one.
    order = sorted((index / needed, name, index) for name, needed in shards.items() for index in range(needed))
    for _, name, index in order[part::parts]:
        path = folder / f"{name}-{index:03d}.safetensors"
        if path.exists():
            continue
        drawn = [draw_case(GROUPS[name], seed) for seed in range(index * SHARD, (index + 1) * SHARD)]
        unfinished = path.with_suffix(".part")
        save_file(encoder.shard(drawn), unfinished)
        unfinished.rename(path)
        log.info("%s", path.name)


def where_it_matters(case: Case) -> np.ndarray:
    """The edited region of an edit, else where the subjects are, bool [F, H, W]."""
    if case.mask is not None:
        return case.mask
    empty = render(dataclasses.replace(case.target_scene, subjects=()), len(case.target))
    return np.abs(case.target.astype(np.int16) - empty).max(axis=-1) > VISIBLE


def shrink_masks(masks: np.ndarray) -> Tensor:
    """Regions bool [N, F, 64, 64] to shares of latent cells [N, T, 8, 8], float16."""
    share = F.avg_pool2d(torch.from_numpy(masks).float(), 8)  # [N, F, 8, 8]
    first, rest = share[:, :1], share[:, 1:]
    if rest.shape[1] == 0:
        return first.half()
    return torch.cat([first, rest.unflatten(1, (-1, 4)).amax(dim=2)], dim=1).half()


def _even(parts: list[Tensor]) -> list[Tensor]:
    """Pad states [n, L, D] of different lengths to the longest."""
    if parts[0].dim() != 3:
        return parts
    width = max(part.shape[1] for part in parts)
    return [F.pad(part, (0, 0, 0, width - part.shape[1])) for part in parts]


@dataclass
class Rows:
    """A batch of one group: latents [B, C, T, h, w] of target, source and references, MLLM states [B, L, D] and their mask
    [B, L], and where the loss counts more, [B, T, h, w]. What each token shows: labels [B, N, attributes] and places [B, N, 3]."""

    target: Tensor
    source: Tensor | None
    references: Tensor | None
    states: Tensor
    mask: Tensor
    weight: Tensor
    labels: Tensor
    places: Tensor


@dataclass
class TaskPool:
    """All shards of a group that have been written so far."""

    folder: Path
    name: str
    _shards: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def refresh(self) -> int:
        """Open shards that were written since; returns how many cases there are."""
        paths = sorted(self.folder.glob(f"{self.name}-*.safetensors"))
        for path in paths:
            if path.name not in self._shards:
                self._shards[path.name] = load_file(path)
        return sum(len(shard["target"]) for shard in self._shards.values())

    def draw(self, rng: np.random.Generator, count: int, unconditional: Tensor, dropped: float) -> Rows:
        """`count` random cases; a share `dropped` of them with the negative prompt in place of their own."""
        picks, states = [], []
        names = sorted(self._shards)
        for index in rng.integers(0, len(names), count):
            shard = self._shards[names[index]]
            row, drop = int(rng.integers(len(shard["target"]))), bool(rng.random() < dropped)
            if drop:
                row = row // NEGATIVE_EVERY * NEGATIVE_EVERY
            picks.append((shard, row))
            states.append(_states_of(shard, row, unconditional, drop=drop))
        return _rows(picks, states)

    def draw_known(self, rng: np.random.Generator, count: int, unconditional: Tensor) -> tuple[Rows, list[int]]:
        """`count` random cases with their own prompts, and the seeds that `draw_case` makes them from."""
        picks, states, seeds = [], [], []
        names = sorted(self._shards)
        for index in rng.integers(0, len(names), count):
            shard = self._shards[names[index]]
            row = int(rng.integers(len(shard["target"])))
            picks.append((shard, row))
            states.append(_states_of(shard, row, unconditional, drop=False))
            number = int(Path(names[index]).stem.rpartition("-")[2])
            seeds.append(number * SHARD + row)
        return _rows(picks, states), seeds


def _rows(picks: list[tuple[dict[str, Tensor], int]], states: list[Tensor]) -> Rows:
    """Cases picked from shards, with their states, as a batch."""

    def stacked(part: str) -> Tensor:
        return torch.stack([shard[part][row] for shard, row in picks])

    lengths = torch.tensor([len(row) for row in states])
    parts = picks[0][0]
    return Rows(
        target=stacked("target").float(),
        source=stacked("source").float() if "source" in parts else None,
        references=stacked("references").float() if "references" in parts else None,
        states=torch.nn.utils.rnn.pad_sequence(states, batch_first=True).float(),
        mask=torch.arange(int(lengths.max())) < lengths[:, None],
        weight=stacked("mask").float(),
        labels=stacked("labels").flatten(1, 3).long(),
        places=stacked("places").flatten(1, 3).float(),
    )


def _states_of(shard: dict[str, Tensor], row: int, unconditional: Tensor, *, drop: bool) -> Tensor:
    if not drop:
        return shard["states"][row, : int(shard["lengths"][row])]
    if "negative" in shard:
        negative = row // NEGATIVE_EVERY
        return shard["negative"][negative, : int(shard["negative_lengths"][negative])]
    return unconditional
