"""Who makes what the bench scores: the model, or one of its ceilings (the codec alone, the exact renders)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vogue.schemas.config import Preset, Role, Task
from vogue.schemas.errors import TaskUnsupported, ThinkingUnavailable
from vogue.schemas.plan import Plan
from vogue.schemas.presets import Learnt, get_preset, limited_to
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import JobSpec

from .labels import plan_choices, right_plan, told_roles
from .world.cases import Case
from .world.inquire import Inquiry

if TYPE_CHECKING:
    from vogue.engines.conditioning import Visual
    from vogue.engines.models.vae import VAE
    from vogue.engines.pipeline import Pipeline, Request

Clip = NDArray[np.uint8]
MadeBy = Literal["model", "codec", "render"]
Blinded = Literal["mmdit-visuals", "mllm-visuals"]
"""Which network is shown no visual inputs: an ablation."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Maker:
    """Cases in, clips out; questions in, answers out. `pipeline` is set when a model makes them, `vae` when the codec is needed."""

    made_by: MadeBy
    preset: Preset
    pipeline: Pipeline | None
    vae: VAE | None
    steps: int | None
    batch: int
    without: Blinded | None = None

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
        without: Blinded | None = None,
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
        return cls(made_by, _as_learnt(pipeline.preset, folder), pipeline, pipeline.vae, steps, batch, without)

    def make(self, cases: Sequence[Case], plans: Sequence[Plan] | None = None) -> list[Clip]:
        """What comes out for each case, from its own words or from the dense prompts of `plans`.

        Raises:
            TaskUnsupported: the weights have not learnt a case's task.
        """
        if self.pipeline is None:
            return self.round_trip([case.target for case in cases])
        words = [case.prompt for case in cases] if plans is None else [plan.dense_prompt for plan in plans]
        requests = [self.request(case, text) for case, text in zip(cases, words, strict=True)]
        made: list[Clip] = []
        for start in range(0, len(cases), self.batch):
            made += self._generate(requests[start : start + self.batch])
            log.info("%s: %d of %d made", cases[0].name or cases[0].task, len(made), len(cases))
        return made

    def answer(self, inquiries: Sequence[Inquiry]) -> list[str]:
        """What the MLLM answers; without a model the right answers."""
        if self.pipeline is None:
            return [inquiry.answer for inquiry in inquiries]
        from vogue.engines.conditioning import question

        said: list[str] = []
        for start in range(0, len(inquiries), self.batch):
            some = inquiries[start : start + self.batch]
            given = [[_visual(Role.SOURCE, one.frames)] for one in some]
            asked = [question(one.question, seen, self.preset.mllm) for one, seen in zip(some, given, strict=True)]
            said += self.pipeline.mllm.answers(asked)
        return said

    def plan(self, cases: Sequence[Case]) -> list[Plan]:
        """What the MLLM plans for each case; without a model the right plans.

        Raises:
            ThinkingUnavailable: the weights have not learnt to write plans.
        """
        if self.pipeline is None:
            return [right_plan(case) for case in cases]
        if not self.preset.can_plan:
            raise ThinkingUnavailable(
                "these weights have not learnt to write plans; measure something else with --task"
            )
        from vogue.engines.conditioning import question
        from vogue.engines.thinking import plan_instruction, plan_schema, read_plan

        config = self.preset.mllm
        made: list[Plan] = []
        for start in range(0, len(cases), self.batch):
            some = cases[start : start + self.batch]
            asked = [plan_instruction(self.pipeline.prompts, told_roles(case)) for case in some]
            read = [
                question(case.prompt, _visuals(case, drawn=True), config, task_instruction=before)
                for case, before in zip(some, asked, strict=True)
            ]
            schemas = [plan_schema(plan_choices(case), self.preset.limits.max_instruction_chars) for case in some]
            made += [read_plan(text) for text in self.pipeline.mllm.write(read, schemas, config.max_plan_tokens)]
        return made

    def require(self, task: Task) -> None:
        """Refuse a task that the weights have not learnt.

        Raises:
            TaskUnsupported: they have not; the message lists what they have.
        """
        if self.pipeline is not None and task not in self.preset.tasks:
            known = ", ".join(self.preset.tasks)
            raise TaskUnsupported(f"these weights of {self.preset.name} have not learnt {task}; they can do {known}")

    def require_thinking(self) -> None:
        """Refuse to plan with weights that have not learnt to.

        Raises:
            ThinkingUnavailable: they have not.
        """
        if self.pipeline is not None and not self.preset.can_plan:
            raise ThinkingUnavailable(
                f"these weights of {self.preset.name} have not learnt to write plans; measure something else with --task"
            )

    def _generate(self, requests: Sequence[Request]) -> list[Clip]:
        if self.pipeline is None:
            raise ValueError("no model is loaded")
        if self.without is None:
            return self.pipeline.generate(requests)
        from vogue.engines.sampling import denoise

        # Two ways to begin, one of them blind, and of each what the ablation leaves.
        blind = [replace(request, visuals=()) for request in requests]
        begun, begun_blind = self.pipeline.begin(requests), self.pipeline.begin(blind)
        reads, paints = (begun, begun_blind) if self.without == "mmdit-visuals" else (begun_blind, begun)
        jobs = [replace(paint, contexts=read.contexts) for read, paint in zip(reads, paints, strict=True)]
        return self.pipeline.decode(denoise(self.pipeline.engine, jobs))

    def request(self, case: Case, words: str | None = None) -> Request:
        """The case as a user would ask it, with the preset's defaults; its noise is drawn by the case's own seed.

        Raises:
            TaskUnsupported: the weights have not learnt its task.
        """
        from vogue.engines.pipeline import Request

        task = Task(case.task)
        self.require(task)
        default = self.preset.tasks[task]
        spec = JobSpec(
            task=task,
            instruction=case.prompt if words is None else words,
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
        return Request(spec, tuple(_visuals(case, drawn=False)))

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


def _visuals(case: Case, *, drawn: bool) -> list[Visual]:
    """A case's visual inputs in the order of their tags; `drawn` includes the drawing, which only a planner is shown."""
    given = [(Role.REFERENCE, reference) for reference in case.references]
    given += [(Role.SOURCE, case.source)] if case.source is not None else []
    given += [(Role.FIRST_FRAME, case.first_frame)] if case.first_frame is not None else []
    given += [(Role.VISUAL_PROMPT, case.visual_prompt)] if drawn and case.visual_prompt is not None else []
    return [_visual(role, frames) for role, frames in given]


def _visual(role: Role, frames: Clip) -> Visual:
    from vogue.engines.conditioning import Visual

    return Visual(role, MediaKind.VIDEO if len(frames) > 1 else MediaKind.IMAGE, frames)


def _as_learnt(preset: Preset, folder: Path) -> Preset:
    """The preset as far as these weights have learnt it, where a `preset.json` beside them says."""
    path = folder / "preset.json"
    return limited_to(preset, Learnt.model_validate_json(path.read_bytes())) if path.is_file() else preset


def _packaged(preset: str) -> Path:
    from importlib.resources import files

    return Path(str(files("vogue.weights"))) / preset
