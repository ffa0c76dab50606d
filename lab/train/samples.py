"""Samples on the way: what the generator makes of held-out cases, scored by the bench's oracles, and a contact sheet.

Cases are encoded once, beside the training pool; sampling goes through the product's own loop.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from vogue.engines.layout import Conditions
from vogue.engines.models.patch_vae import PatchVAE
from vogue.engines.pipeline import frames_of
from vogue.engines.sampling import denoise, get_noise, prepare
from vogue.engines.torch_engine import TorchEngine
from vogue.lab.scoring import merge, score_case
from vogue.lab.world.exercises import sample_exercise
from vogue.schemas.config import Preset
from vogue.schemas.stages import Pass

from .generator import Generator
from .pictures import write_sheet
from .pool import SCORED

__all__ = ["sample_shard", "score_samples"]

STEPS = 10
SHOWN = 6
REPORTED = ("colour", "shape", "background", "motion", "first frame dB", "done", "identity", "outside dB")


def score_samples(network: Generator, preset: Preset, folder: Path, step: int) -> dict[str, float]:
    """Scores of every task whose held-out shard is there; writes samples-STEP.png."""
    vae = PatchVAE(preset.vae)  # type: ignore[arg-type]
    vae.load_state_dict(torch.load(folder / "codec-final.pt", weights_only=True))
    vae.eval()
    scores: dict[str, float] = {}
    sheet = []
    for name in SCORED:
        path = folder / "pool" / f"eval-{name}.safetensors"
        if not path.exists():
            continue
        shard, task = load_file(path), sample_exercise(name, 0, "eval").task
        made = sample_shard(
            network, vae, preset, task, shard, torch.load(folder / "pool" / "negative.pt", weights_only=True)
        )
        cases = [sample_exercise(name, seed, "eval") for seed in range(len(made))]
        estimates = merge(score_case(case, clip) for case, clip in zip(cases, made, strict=True))
        scores |= {f"{name} {one}": estimates[one].value for one in REPORTED if one in estimates}
        for case, clip in list(zip(cases, made, strict=True))[:SHOWN]:
            sheet.append(np.concatenate([_strip(case.source), _strip(case.target), _strip(clip)]))
    rows = np.stack(sheet).astype(np.float32) / 127.5 - 1
    half = len(rows) // 2
    write_sheet(folder / f"samples-{step:05d}.png", np.concatenate([rows[:half], rows[half:]], axis=1), scale=1)
    return scores


def _strip(clip: np.ndarray | None) -> np.ndarray:
    """Four frames [4, 64, 64, 3] of a clip or picture, white where there is none."""
    if clip is None:
        return np.full((4, 64, 64, 3), 255, np.uint8)
    return clip[np.linspace(0, len(clip) - 1, 4).round().astype(int)]


@torch.inference_mode()
def sample_shard(
    network: Generator,
    vae: PatchVAE,
    preset: Preset,
    task: str,
    shard: dict[str, Tensor],
    negative: Tensor,
    steps: int = STEPS,
) -> list[np.ndarray]:
    """Frames uint8 [F, H, W, 3] of every case of a shard, with the preset's guidance."""
    defaults = preset.tasks[task]  # type: ignore[index]
    engine = TorchEngine(network.mmdit, max_rows=32)
    jobs = []
    with torch.autocast("cpu", torch.bfloat16):
        for row in range(len(shard["target"])):
            states = {
                Pass.CONDITIONAL: shard["states"][row, : int(shard["lengths"][row])],
                Pass.UNCONDITIONAL: negative,
            }
            states[Pass.NEGATIVE] = negative
            if "negative" in shard:
                states[Pass.NEGATIVE] = shard["negative"][row, : int(shard["negative_lengths"][row])]
            target = shard["target"][row].float()
            jobs.append(
                prepare(
                    get_noise(tuple(target.shape), row),  # type: ignore[arg-type]
                    {which: network.connector(one.float()).float() for which, one in states.items()},
                    Conditions(
                        references=shard["references"][row].float().split(1, dim=1) if "references" in shard else (),
                        source=shard["source"][row].float() if "source" in shard else None,
                        first_frame=target[:, :1] if task == "i2v" else None,
                    ),
                    steps,
                    defaults.guidance,
                    defaults.image_guidance,
                    preset.schedule,
                )
            )
        latents = torch.stack(denoise(engine, jobs))
        decoded = torch.cat([vae.decode(part) for part in latents.split(16)])
    return [frames_of(clip) for clip in decoded.float()]
