"""`python -m vogue.lab.parity --golden DIR`: the engines against vectors recorded from the released code.

Each case is taken apart, so that a difference is found where it arises: token ids; our prepared source against the recorded
one; embeddings from the recorded source; the posterior from the recorded pixels; then the whole loop from the recorded
first latents, with every velocity, the latents that enter every step, and the decoded frames.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vogue.engines.conditioning import codec_pixels, readings, shown
from vogue.engines.guidance import passes_for
from vogue.engines.layout import Conditions
from vogue.engines.models.vae import VAE
from vogue.engines.port import Engine, Row
from vogue.engines.prompting import Reading
from vogue.engines.sampling import denoise, prepare
from vogue.schemas.config import Role
from vogue.schemas.errors import VogueError
from vogue.schemas.references import MediaKind
from vogue.schemas.stages import Pass

from .golden import Case, Golden
from .parity_report import BARS, Report, plain, table

__all__ = ["check_case", "main", "run"]

GREY_LEVELS = 127.5
"""Grey levels to a unit of pixels in [-1, 1]."""


class RecordingEngine:
    """An engine that keeps what goes through it, a list of (latents, velocity) a step."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.steps: list[list[tuple[Tensor, Tensor]]] = []

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """As the inner engine."""
        velocities = self.inner.forward(rows)
        self.steps.append([(row.latents, velocity) for row, velocity in zip(rows, velocities, strict=True)])
        return velocities


@torch.inference_mode()
def check_case(golden: Golden, case: Case) -> Report:
    """Run one case and report its largest differences."""
    report = Report(case.name)
    _check_source(case, golden.mllm(case.variant).config.source_video_frames, report)
    _check_reading(golden, case, report)
    _check_posterior(golden.vae, case, report)
    _check_loop(golden, case, report)
    return report


def _check_source(case: Case, video_frames: int, report: Report) -> None:
    """Our prepared visuals against the recorded ones: what the MLLM was shown, and what the codec was given."""
    guide = [case.guide] if case.guide is not None else []
    images, videos = shown(guide, case.canvas, video_frames)
    if "mllm.source_image" in case.recorded:
        report.add("image", _grey(images, case.recorded["mllm.source_image"]).max().item())
    if "mllm.source_frames" in case.recorded:
        report.add("video", _grey(videos, case.recorded["mllm.source_frames"]).mean().item())
    for number, visual in zip(_encodings(case), case.visuals, strict=True):
        recorded = case.recorded[f"vae.encode{number}.pixels"]
        difference = _distance(codec_pixels(visual, case.canvas), recorded) * GREY_LEVELS
        if visual.kind is MediaKind.VIDEO:
            report.add("video", difference.mean().item())
        else:
            report.add("image", difference.max().item())


def _check_reading(golden: Golden, case: Case, report: Report) -> None:
    """Token ids and embeddings of each pass, from the recorded source."""
    mllm = golden.mllm(case.variant)
    for which, reading in _recorded_readings(golden, case).items():
        ids = mllm.chat(reading)[0].ids
        wanted = case.recorded[f"mllm.{which.value}.input_ids"][0].tolist()
        wrong = abs(len(ids) - len(wanted)) + sum(a != b for a, b in zip(ids, wanted, strict=False))
        report.add("ids", float(wrong))
        if wrong == 0:
            states = mllm.encode([reading])[0][None]
            report.add("embeddings", _distance(states, case.recorded[f"mllm.{which.value}.embeds"]).max().item())


def _recorded_readings(golden: Golden, case: Case) -> dict[Pass, Reading]:
    """Each recorded pass as the MLLM reads it, with the recorded source in place of ours."""
    config = golden.mllm(case.variant).config
    recorded = [which for which in Pass if f"mllm.{which.value}.input_ids" in case.recorded]
    made = readings(
        case.task, case.prompt, case.negative_prompt, case.visuals, case.canvas, recorded, golden.prompts, config
    )
    for which, reading in made.items():
        if "mllm.source_image" in case.recorded and reading.images:
            source = case.recorded["mllm.source_image"].numpy()
            made[which] = replace(reading, images=(*reading.images[: case.references], source))
        if "mllm.source_frames" in case.recorded and reading.videos:
            made[which] = replace(reading, videos=(case.recorded["mllm.source_frames"].numpy(),))
    return made


def _check_posterior(vae: VAE, case: Case, report: Report) -> None:
    """The posterior of each recorded encoding, from its recorded pixels."""
    for number in _encodings(case):
        posterior = vae.posterior(case.recorded[f"vae.encode{number}.pixels"])
        for name, ours in (("mean", posterior.mean), ("logvar", posterior.logvar)):
            key = f"vae.encode{number}.{name}"
            if key in case.recorded:
                report.add("posterior", _distance(ours, case.recorded[key]).max().item())


def _check_loop(golden: Golden, case: Case, report: Report) -> None:
    """The step loop from the recorded first latents and embeddings: our own latents from there on."""
    passes = passes_for(case.guidance, case.image_guidance)
    contexts = {which: golden.connector(case.recorded[f"mllm.{which.value}.embeds"])[0] for which in passes}
    target, conditions = _first_latents(case)
    job = prepare(
        target, contexts, conditions, case.steps, case.guidance, case.image_guidance, golden.schedule
    )  # fmt: skip
    engine = RecordingEngine(golden.engine)
    [latents] = denoise(engine, [job])
    recorded = {key.removesuffix(".velocity") for key in case.recorded if key.endswith(".velocity")}
    ours = {f"dit.step{step}.{which.value}" for step in range(case.steps) for which in passes}
    if recorded != ours:
        report.add("velocity", float("inf"))
        report.error = f"other passes were recorded: {', '.join(sorted(recorded ^ ours)[:4])}"
        return
    for step, rows in enumerate(engine.steps):
        for which, (entered, velocity) in zip(passes, rows, strict=True):
            prefix = f"dit.step{step}.{which.value}"
            report.add("latents", _distance(entered[None], case.recorded[f"{prefix}.hidden_states"]).max().item())
            report.add("velocity", _distance(velocity[None], case.recorded[f"{prefix}.velocity"]).max().item())
    pixels = golden.vae.decode(latents[None])  # [1, 3, F, H, W]
    frames = (pixels * 0.5 + 0.5).clamp(0.0, 1.0).permute(0, 2, 3, 4, 1)
    report.add("frames", _distance(frames, case.recorded["frames"]).max().item())


def _first_latents(case: Case) -> tuple[Tensor, Conditions]:
    """The recorded latents of step 0, taken apart into target and conditions."""
    sequence = case.recorded[f"dit.step0.{Pass.CONDITIONAL.value}.hidden_states"][0]  # [C, T, h, w]
    start, frames = case.references, (case.num_frames - 1) // 4 + 1
    target = sequence[:, start : start + frames]
    roles = {visual.role for visual in case.visuals}
    return target, Conditions(
        references=tuple(sequence[:, i : i + 1] for i in range(start)),
        source=sequence[:, start + frames :] if Role.SOURCE in roles else None,
        first_frame=target[:, :1] if Role.FIRST_FRAME in roles else None,
    )


def _encodings(case: Case) -> list[int]:
    """Numbers of the recorded encodings, in their order: references, then first frame or source."""
    return sorted(int(key.split(".")[1].removeprefix("encode")) for key in case.recorded if key.endswith(".pixels"))


def _grey(ours: Sequence[NDArray[np.uint8]], recorded: Tensor) -> Tensor:
    """Differences of the only prepared visual of its kind, in grey levels."""
    if len(ours) != 1:
        return torch.tensor([float("inf")])
    return _distance(torch.from_numpy(np.array(ours[0])), recorded)


def _distance(ours: Tensor, recorded: Tensor) -> Tensor:
    """Absolute differences; infinite where the shapes differ."""
    if ours.shape != recorded.shape:
        return torch.tensor([float("inf")])
    return (ours.float() - recorded.float()).abs()


def run(folder: Path) -> Iterator[Report]:
    """One report a case, as they are done. A case that cannot be run is reported, not raised."""
    golden = Golden(folder)
    for entry in golden.cases():
        try:
            yield check_case(golden, golden.read(entry))
        except (VogueError, ValueError, KeyError, OSError, RuntimeError) as error:
            name = f"{entry.get('variant')}/{entry.get('task')}"
            yield Report(name, error=f"{type(error).__name__}: {error}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return 0 when every case agrees, else 1."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.parity", description="Compare with golden vectors.")
    parser.add_argument("--golden", type=Path, required=True, help="folder of golden vectors")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args(arguments)
    try:
        reports = list(run(options.golden))
    except (VogueError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{options.golden} cannot be read: {type(error).__name__}: {error}\n")
        return 1
    passed = bool(reports) and all(report.passed for report in reports)
    if options.json:
        sys.stdout.write(
            json.dumps({"passed": passed, "bars": BARS, "cases": [plain(r) for r in reports]}, indent=1) + "\n"
        )
    else:
        sys.stdout.write(table(reports))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
