"""Cases of every exercise as the stages train on them, encoded once and stored without padding.

One safetensors file holds cases of one exercise, laid end to end: frames of all visuals in the order of the sequence, and
hidden states. How many of each belong to a case stands in `layout` and `lengths`. A run reads a folder of such files as it is at the
start; its digest is kept with the run, so that a resumed run sees the same cases.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vogue.engines.conditioning import Canvas, readings
from vogue.engines.prompting import Reading
from vogue.lab.labels import right_plan
from vogue.lab.world.cases import Case, Split
from vogue.lab.world.exercises import sample_exercise
from vogue.schemas.config import Task
from vogue.schemas.errors import RequestInvalid
from vogue.schemas.stages import Pass

from .codec import to_pixels
from .labels import label
from .pool import Encoder, shrink_masks, visuals_of, where_it_matters
from .stages import RECONSTRUCTION

__all__ = ["Blindness", "Encoded", "Key", "Layout", "Shelf", "draw_case", "encode_cases", "fill_shelf"]

SHARD: Final = 240
HELD_OUT: Final = 12
_THOUGHT: Final = ("drawn_motion", "drawn_edit", "drawn_canvas")
"""What only a plan makes complete: the generator reads its dense prompt, as in thinking mode."""
log = logging.getLogger("vogue.train")


class Layout(NamedTuple):
    """Frames of latents in a sequence `[references…, target, source]`; of the target's the first `held` are given."""

    references: int
    target: int
    source: int
    held: int

    @property
    def total(self) -> int:
        """Frames of the whole sequence."""
        return self.references + self.target + self.source


class Key(NamedTuple):
    """Where a case comes from."""

    exercise: str
    seed: int
    split: Split


@dataclass(frozen=True)
class Blindness:
    """Who is shown no visual inputs: an ablation."""

    mmdit: bool = False
    mllm: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """One case. frames [total, C, h, w]; states of its prompt, of the negative prompt with its visuals, and of its prompt with none
    (`blind`, empty where not stored), each [L, D]; weight [target, h, w]: the share of a cell that is edited or that subjects
    cover; labels [target, 4, 4, attributes] and places [target, 4, 4, 3] as in `labels`."""

    key: Key
    layout: Layout
    frames: Tensor
    states: Tensor
    negative: Tensor
    blind: Tensor
    weight: Tensor
    labels: Tensor
    places: Tensor

    def size(self, blind: Blindness) -> tuple[int, int]:
        """Frames of the sequence and tokens of the context that training sees."""
        frames = self.layout.target if blind.mmdit else self.layout.total
        return frames, len(self.blind if blind.mllm else self.states)


def draw_case(key: Key) -> tuple[Case, str]:
    """The case of a key and the words that the generator is given for it.

    Raises:
        ValueError: the exercise is zero-shot and the key is one of training.
    """
    name = "t2i" if key.exercise == RECONSTRUCTION else key.exercise
    case = sample_exercise(name, key.seed, key.split)
    if key.exercise == RECONSTRUCTION:
        return case, ""
    return case, right_plan(case).dense_prompt if key.exercise in _THOUGHT else case.prompt


@torch.inference_mode()
def encode_cases(encoder: Encoder, keys: Sequence[Key], *, blind: bool = False) -> dict[str, Tensor]:
    """Encode cases of one exercise; `blind` also stores what the MLLM makes of their words alone."""
    drawn = [draw_case(key) for key in keys]
    visuals: list[np.ndarray] = []
    for case, _ in drawn:
        visuals += [*case.references, case.target, *([case.source] if case.source is not None else [])]
    latents = _latents(encoder, visuals)
    layouts = [_layout(encoder, case) for case, _ in drawn]
    asked = [reading_of(encoder, key, *one) for key, one in zip(keys, drawn, strict=True)]
    labelled = [label(case.target_scene, len(case.target)) for case, _ in drawn]
    out = {
        "layout": torch.tensor(layouts, dtype=torch.int16),
        "seeds": torch.tensor([key.seed for key in keys]),
        "frames": torch.cat(latents),
        "weight": torch.cat([shrink_masks(where_it_matters(case)[None])[0] for case, _ in drawn]),
        "labels": torch.cat([torch.from_numpy(labels) for labels, _ in labelled]),
        "places": torch.cat([torch.from_numpy(places) for _, places in labelled]),
    }
    several = {"states": [one[Pass.CONDITIONAL] for one in asked], "negative": [one[Pass.NEGATIVE] for one in asked]}
    if blind:
        several["blind"] = [Reading(one.text, one.task_instruction) for one in several["states"]]
    for name, some in several.items():
        states = _encode(encoder, some)
        out[name] = torch.cat(states).half()
        out[f"{name}_lengths"] = torch.tensor([len(one) for one in states], dtype=torch.int32)
    return out


def reading_of(encoder: Encoder, key: Key, case: Case, words: str) -> Mapping[Pass, Reading]:
    """What the MLLM reads of a case for the prompt and for the negative prompt."""
    preset = encoder.preset
    if key.exercise == RECONSTRUCTION:
        # The picture alone: no words say what to do with it.
        return {Pass.CONDITIONAL: Reading("", "", (case.target[0],)), Pass.NEGATIVE: Reading(_negative(encoder))}
    task = Task(case.task)
    canvas = Canvas(preset.tasks[task].height_px, preset.tasks[task].width_px, preset.area_px)
    passes = (Pass.CONDITIONAL, Pass.NEGATIVE)
    return readings(task, words, _negative(encoder), visuals_of(case), canvas, passes, preset.prompts, preset.mllm)


def fill_shelf(
    encoder: Encoder, folder: Path, shares: Mapping[str, float], cases: int, *, seed: int = 0, blind: bool = False
) -> None:
    """Write shards until every exercise has its share of `cases`, and a small held-out shard of each; goes on where it stopped."""
    (folder / "eval").mkdir(parents=True, exist_ok=True)
    for name, share in shares.items():
        _write(encoder, folder / "eval" / f"{name}.safetensors", [Key(name, n, "eval") for n in range(HELD_OUT)], blind)
        wanted = max(1, round(cases * share))
        for start in range(0, wanted, SHARD):
            keys = [Key(name, seed * 2**20 + n, "train") for n in range(start, min(wanted, start + SHARD))]
            _write(encoder, folder / f"{name}-{start // SHARD:03d}.safetensors", keys, blind)


class Shelf:
    """All encoded cases of a folder, by number.

    Raises:
        RequestInvalid: an exercise of `shares` has no file there.
    """

    def __init__(self, folder: Path, shares: Iterable[str], split: Split = "train") -> None:
        self.cases: list[Encoded] = []
        digest = hashlib.sha256()
        for name in shares:
            place = folder if split == "train" else folder / "eval"
            paths = sorted(place.glob(f"{name}-[0-9]*.safetensors" if split == "train" else f"{name}.safetensors"))
            if not paths:
                raise RequestInvalid(
                    f"no encoded cases of {name} in {place}: run `python -m vogue.lab.train encode` first"
                )
            for path in paths:
                digest.update(path.name.encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
                self.cases += _read(path, name, split)
        self.digest = digest.hexdigest()


def _read(path: Path, name: str, split: Split) -> list[Encoded]:
    shard = load_file(path)
    layouts = [Layout(*row) for row in shard["layout"].tolist()]
    targets = [layout.target for layout in layouts]
    parts = {"frames": shard["frames"].split([layout.total for layout in layouts])}
    parts |= {key: shard[key].split(targets) for key in ("weight", "labels", "places")}
    for key in ("states", "negative", "blind"):
        if key in shard:
            parts[key] = shard[key].split(shard[f"{key}_lengths"].tolist())
    empty = shard["states"][:0]
    return [
        Encoded(
            Key(name, seed, split), layout,
            *(parts[key][row] if key in parts else empty for key in ("frames", "states", "negative", "blind")),
            *(parts[key][row] for key in ("weight", "labels", "places")),
        )
        for row, (seed, layout) in enumerate(zip(shard["seeds"].tolist(), layouts, strict=True))
    ]  # fmt: skip


def _write(encoder: Encoder, path: Path, keys: Sequence[Key], blind: bool) -> None:
    if path.exists():
        return
    part = path.with_suffix(".part")
    save_file({name: value.contiguous() for name, value in encode_cases(encoder, keys, blind=blind).items()}, part)
    part.replace(path)
    log.info("%s: %d cases", path.name, len(keys))


def _layout(encoder: Encoder, case: Case) -> Layout:
    def groups(clip: np.ndarray | None) -> int:
        return 0 if clip is None else 1 + (len(clip) - 1) // encoder.preset.vae.temporal_compression_ratio

    return Layout(len(case.references), groups(case.target), groups(case.source), int(case.first_frame is not None))


def _latents(encoder: Encoder, clips: Sequence[np.ndarray]) -> list[Tensor]:
    """Latents [T, C, h, w] float16 of each clip; those of one length are encoded together."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, clip in enumerate(clips):
        by_length[len(clip)].append(number)
    made: dict[int, Tensor] = {}
    for numbers in by_length.values():
        for start in range(0, len(numbers), 24):
            some = numbers[start : start + 24]
            with torch.autocast("cpu", torch.bfloat16):
                encoded = encoder.vae.encode(to_pixels(np.stack([clips[n] for n in some])))
            made.update(zip(some, encoded.transpose(1, 2).half(), strict=True))
    return [made[number] for number in range(len(clips))]


def _encode(encoder: Encoder, asked: Sequence[Reading]) -> list[Tensor]:
    """Hidden states of each reading; equal ones without visuals are read once."""
    bare = {(one.text, one.task_instruction): number for number, one in enumerate(asked) if not one.images + one.videos}
    seen = [
        bare.get((one.text, one.task_instruction), n) if not one.images + one.videos else n
        for n, one in enumerate(asked)
    ]
    wanted = sorted(set(seen))
    states: dict[int, Tensor] = {}
    for start in range(0, len(wanted), 24):
        some = wanted[start : start + 24]
        states.update(zip(some, encoder.mllm.encode([asked[n] for n in some]), strict=True))
    return [states[number] for number in seen]


def _negative(encoder: Encoder) -> str:
    return encoder.preset.default_negative_prompt
