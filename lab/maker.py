"""Who makes what the bench scores: the model, or one of its ceilings (the codec alone, the exact renders)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import JobSpec

from .world.cases import Case

if TYPE_CHECKING:
    from vogue.engines.models.vae import VAE
    from vogue.engines.pipeline import Pipeline, Request

Clip = NDArray[np.uint8]
MadeBy = Literal["model", "codec", "render"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Maker:
    """Cases in, clips out. `pipeline` is set when a model makes them, `vae` when the codec is needed."""

    made_by: MadeBy
    preset: Preset
    pipeline: Pipeline | None
    vae: VAE | None
    steps: int | None
    batch: int

    @classmethod
    def load(
        cls,
        made_by: MadeBy,
        *,
        preset: str = "mini",
        weights: Path | None = None,
        steps: int | None = None,
        batch: int = 16,
        threads: int = 0,
    ) -> Maker:
        """Load what is needed and no more: "render" loads nothing.

        Raises:
            RequestInvalid: no such preset.
            WeightsMismatch: weights are missing or do not fit.
        """
        chosen = get_preset(preset)
        if made_by == "render":
            return cls(made_by, chosen, None, None, steps, batch)
        import torch

        from vogue.engines.loading import load_vae
        from vogue.engines.pipeline import Pipeline

        if threads:
            torch.set_num_threads(threads)
        folder = weights or _packaged(preset)
        if made_by == "codec":
            return cls(made_by, chosen, None, load_vae(folder, chosen.vae), steps, batch)
        pipeline = Pipeline.load(chosen, folder)
        return cls(made_by, pipeline.preset, pipeline, pipeline.vae, steps, batch)

    def make(self, cases: Sequence[Case]) -> list[Clip]:
        """What comes out for each case."""
        if self.pipeline is None:
            return self.round_trip([case.target for case in cases])
        made: list[Clip] = []
        for start in range(0, len(cases), self.batch):
            made += self.pipeline.generate([self.request(case) for case in cases[start : start + self.batch]])
            log.info("%s: %d of %d made", cases[0].task, len(made), len(cases))
        return made

    def request(self, case: Case) -> Request:
        """The case as a user would ask it, with the preset's defaults; its noise is drawn by the case's own seed."""
        from vogue.engines.conditioning import Visual
        from vogue.engines.pipeline import Request

        task = Task(case.task)
        default = self.preset.tasks[task]
        spec = JobSpec(
            task=task,
            instruction=case.prompt,
            negative_prompt=self.preset.default_negative_prompt,
            height_px=case.target.shape[1],
            width_px=case.target.shape[2],
            num_frames=len(case.target),
            fps=self.preset.fps,
            steps=self.steps or default.steps,
            guidance=default.guidance,
            image_guidance=default.image_guidance,
            seed=case.seed,
        )
        given = [(Role.SOURCE, case.source), (Role.FIRST_FRAME, case.first_frame)]
        given += [(Role.REFERENCE, reference) for reference in case.references]
        visuals = tuple(
            Visual(role, MediaKind.VIDEO if len(frames) > 1 else MediaKind.IMAGE, frames)
            for role, frames in given
            if frames is not None
        )
        return Request(spec, visuals)

    def round_trip(self, clips: Sequence[Clip]) -> list[Clip]:
        """Clips through the codec and back; unchanged where no codec is loaded."""
        if self.vae is None:
            return list(clips)
        import torch

        from vogue.engines.preprocess import frames_of, pixels_of

        made: list[Clip] = []
        with torch.inference_mode():
            for start in range(0, len(clips), self.batch):
                for clip in clips[start : start + self.batch]:
                    made.append(frames_of(self.vae.decode(self.vae.encode(pixels_of(clip)))[0]))
        return made


def _packaged(preset: str) -> Path:
    from importlib.resources import files

    return Path(str(files("vogue.weights"))) / preset
