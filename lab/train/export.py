"""From checkpoints to the weights that ship: bfloat16 safetensors, the preset they belong to, and a model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vogue.schemas.config import Preset
from vogue.schemas.presets import Learnt, get_preset, limited_to

from .curve import read_log
from .dialogue import KINDS
from .groups import learnt_tasks

__all__ = ["LIMIT_BYTES", "export_weights", "split_generator"]

LIMIT_BYTES = 40 * 1024 * 1024
CURVES = ("codec", "mllm", "mmdit")


def export_weights(run: Path, folder: Path, *, seed: int = 0) -> dict[str, int]:
    """Write everything a run has trained so far into a weights folder; returns file sizes in bytes.

    Raises:
        FileNotFoundError: the codec, which every other part rests on, is not trained.
        ValueError: the files would be larger than 40 MB in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A decoder trained further keeps the latents that everything else was trained on.
    codec = run / "decoder-final.pt" if (run / "decoder-final.pt").exists() else run / "codec-final.pt"
    _save(torch.load(codec, weights_only=True), folder / "vae.safetensors")
    if (run / "mllm").is_dir():
        shutil.copytree(run / "mllm", folder / "mllm", dirs_exist_ok=True)
        (folder / "mllm" / "model.safetensors").chmod(0o644)
    checkpoint = run / "mmdit.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        for name, part in split_generator(state["average"] or state["network"]).items():
            _save(part, folder / f"{name}.safetensors")
    (folder / "preset.json").write_text(_learnt().model_dump_json(indent=1) + "\n")
    for name in CURVES:
        if (run / f"loss-{name}.png").exists():
            shutil.copy(run / f"loss-{name}.png", folder / f"loss-{name}.png")
    (folder / "MODEL_CARD.md").write_text(_card(run, seed))
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    if sum(sizes.values()) > LIMIT_BYTES:
        raise ValueError(f"the weights take {sum(sizes.values())} bytes, more than {LIMIT_BYTES}: {sizes}")
    return sizes


def _learnt() -> Preset:
    """The preset, limited to what was trained: a server refuses the rest with these weights."""
    tasks = {task: one for task, one in get_preset("mini").tasks.items() if task in learnt_tasks()}
    learnt = Learnt(tasks=tasks, can_plan="plan" in KINDS, can_review="review_image" in KINDS)
    return limited_to(get_preset("mini"), learnt)


def split_generator(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The connector's and the MMDiT's state dicts of the module that trains them together."""
    return {
        name: {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        for name in ("connector", "mmdit")
    }


def _save(state: dict[str, Tensor], path: Path) -> None:
    halved = {key: value.to(torch.bfloat16).contiguous() for key, value in state.items()}
    save_file(halved, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _card(run: Path, seed: int) -> str:
    lines = CARD_HEAD.splitlines()
    for name in CURVES:
        log = read_log(run, name)
        if not log:
            continue
        scores = {
            k.removeprefix("eval_"): round(v, 3) for entry in log for k, v in entry.items() if k.startswith("eval_")
        }
        command = CARD_COMMANDS[name].format(minutes=log[-1]["minutes"])
        lines += [
            f"## {name}",
            "",
            f"- command: `{command}`, seed {seed}",
            f"- {log[-1]['step']:.0f} steps in {log[-1]['minutes'] / 60:.2f} hours on two cores of a shared machine",
            f"- held-out scores at the end: {json.dumps(scores)}",
            f"- loss curve: `loss-{name}.png`",
            "",
        ]
    bench = run / "bench.md"
    if bench.exists():
        lines += ["## Bench", "", bench.read_text().strip(), ""]
    return "\n".join(lines) + "\n"


CARD_HEAD = """# VOGUE mini

A small VOGUE, trained from nothing on the synthetic world of `vogue.lab.world`: 64×64 px, 17 frames at 8 fps. It makes
pictures and clips from a sentence, animates a picture, edits pictures and clips, follows references, answers questions,
plans and reviews; how well, and what has only begun, is in the bench below. It knows that world and nothing else: real
photographs come out poorly, and it cannot depict people.

- Data: rendered scenes and sentences of a grammar; no photographs, no text from elsewhere. Licence: Apache-2.0.
- Files: bfloat16 safetensors; `preset.json` holds every size and setting. The networks run in float32.
- Evaluation scenes, one in 64 by a hash of their facts, were never drawn in training. Scores of codec and generator are on
  such scenes (96 clips; 24 cases a task, 10 steps); those of the MLLM are on fresh draws of the training distribution.
- History: sittings had different settings, so one unbroken run of the commands gives other weights; docs/training.md of the
  repository tells what changed when.

"""
CARD_COMMANDS = {
    "codec": "python -m vogue.lab.train codec --minutes {minutes:.0f}",
    "mllm": "python -m vogue.lab.train mllm --minutes {minutes:.0f}",
    "mmdit": "python -m vogue.lab.train pool --cases 32000 && python -m vogue.lab.train mmdit --compile --minutes {minutes:.0f}",
}
