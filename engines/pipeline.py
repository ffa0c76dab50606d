"""The whole of VOGUE in one process: requests in, frames out, many at once.

The services wrap each stage of this in a process of its own; benches and notebooks use it as it is. It reads no files but
weights: visuals arrive decoded (`vogue.engines.media`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vogue.schemas.config import Preset, Prompts, Role
from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.requests import JobSpec
from vogue.schemas.stages import Pass

from .conditioning import Canvas, Visual, codec_pixels, readings
from .guidance import passes_for
from .layout import Conditions
from .loading import load_connector, load_mmdit, load_prompts, load_vae
from .mllm import MLLM
from .mllm_loading import load_mllm
from .models.connector import Connector
from .models.vae import VAE, latent_shape
from .port import Engine
from .preprocess import frames_of
from .prompting import Reading
from .sampling import Denoising, KeepGoing, denoise, get_noise, prepare
from .torch_engine import TorchEngine

__all__ = ["Pipeline", "Request", "frames_of"]

T = TypeVar("T")
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Request:
    """A settled job and its decoded visuals, in the order the user gave them."""

    spec: JobSpec
    visuals: tuple[Visual, ...] = ()


@dataclass
class Pipeline:
    """The four networks of a preset and the stages between them."""

    preset: Preset
    prompts: Prompts
    mllm: MLLM
    connector: Connector
    engine: Engine
    vae: VAE
    device: torch.device

    @classmethod
    def load(
        cls,
        preset: Preset,
        weights_dir: Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Pipeline:
        """Load every network of a weights folder (`vogue.engines.loading` says how it is laid out).

        Raises:
            WeightsMismatch: a file is missing, or does not fit the preset.
        """
        device = torch.device(device)
        prompts = load_prompts(weights_dir, preset)
        overlaid = weights_dir / "mllm.ckpt"
        return cls(
            preset=preset,
            prompts=prompts,
            mllm=load_mllm(
                weights_dir / "mllm", preset.mllm, prompts.system, device, dtype,
                overlaid=overlaid if overlaid.is_file() else None,
            ),
            connector=load_connector(weights_dir, preset.connector, device, dtype),
            engine=TorchEngine(
                load_mmdit(weights_dir, preset.mmdit, device, dtype),
                guidance_embedding=preset.schedule.guidance_embedding,
            ),
            vae=load_vae(weights_dir, preset.vae, device, dtype),
            device=device,
        )  # fmt: skip

    def generate(self, requests: Sequence[Request], keep_going: KeepGoing | None = None) -> list[NDArray[np.uint8]]:
        """Frames [F, H, W, 3] of each request. A request's result does not depend on the others.

        `keep_going(index, job)` is called after each step of each request; False leaves its frames as they are then.
        """
        return self.decode(denoise(self.engine, self.begin(requests), keep_going))

    def begin(self, requests: Sequence[Request]) -> list[Denoising]:
        """Everything before the step loop: instructions read, visuals encoded, noise drawn."""
        contexts = self.project(self.encode_instructions(requests))
        conditions = self.encode_visuals(requests)
        return [
            prepare(
                get_noise(self.target_shape(request.spec), request.spec.seed),
                context,
                condition,
                request.spec.steps,
                request.spec.guidance,
                request.spec.image_guidance,
                self.preset.schedule,
                tier=request.spec.tier,
            )
            for request, context, condition in zip(requests, contexts, conditions, strict=True)
        ]

    def encode_instructions(self, requests: Sequence[Request]) -> list[dict[Pass, Tensor]]:
        """Hidden states [L, D] of each pass of each request. Equal readings without visuals are read once."""
        plans: list[dict[Pass, Hashable]] = []
        pending: dict[Hashable, Reading] = {}
        for number, request in enumerate(requests):
            made = self.readings(request)
            keys: dict[Pass, Hashable] = {
                which: (number, which) if reading.images or reading.videos else (reading.task_instruction, reading.text)
                for which, reading in made.items()
            }
            pending.update({keys[which]: reading for which, reading in made.items()})
            plans.append(keys)
        # Rows of like length together: less padding.
        order = sorted(pending, key=lambda key: _weight(pending[key]))
        states: dict[Hashable, Tensor] = {}
        for chunk in _chunks(order):
            states.update(zip(chunk, self.mllm.encode([pending[key] for key in chunk]), strict=True))
        return [{which: states[key] for which, key in keys.items()} for keys in plans]

    def readings(self, request: Request) -> dict[Pass, Reading]:
        """What the MLLM is given for each pass that the request's scales need."""
        spec = request.spec
        return readings(
            spec.task,
            spec.instruction,
            spec.negative_prompt,
            request.visuals,
            self.canvas(spec),
            passes_for(spec.guidance, spec.image_guidance),
            self.prompts,
            self.preset.mllm,
        )

    @torch.inference_mode()
    def project(self, states: Sequence[Mapping[Pass, Tensor]]) -> list[dict[Pass, Tensor]]:
        """Hidden states to context [L, D'] of each pass."""
        return [{which: self.connector(rows.to(self.device)) for which, rows in one.items()} for one in states]

    @torch.inference_mode()
    def encode_visuals(self, requests: Sequence[Request]) -> list[Conditions]:
        """Normalised latents of each request's visuals, by role. Pixels of one shape are encoded together."""
        pixels = [
            [codec_pixels(visual, self.canvas(request.spec)) for visual in request.visuals] for request in requests
        ]
        flat = [one for row in pixels for one in row]
        latents: dict[int, Tensor] = {}
        for chunk in _alike([(tuple(one.shape), i) for i, one in enumerate(flat)]):
            encoded = self.vae.encode(torch.cat([flat[i] for i in chunk]).to(self.device))
            latents.update(zip(chunk, encoded.float().cpu(), strict=True))
        ordered = iter(latents[i] for i in range(len(flat)))
        return [_conditions(request.visuals, [next(ordered) for _ in request.visuals]) for request in requests]

    @torch.inference_mode()
    def decode(self, latents: Sequence[Tensor]) -> list[NDArray[np.uint8]]:
        """Frames uint8 [F, H, W, 3] of latents [C, T, h, w]; latents of one shape are decoded together."""
        frames: dict[int, NDArray[np.uint8]] = {}
        for chunk in _alike([(tuple(one.shape), i) for i, one in enumerate(latents)]):
            decoded = self.vae.decode(torch.stack([latents[i] for i in chunk]).to(self.device))
            frames.update(zip(chunk, (frames_of(clip) for clip in decoded), strict=True))
        return [frames[i] for i in range(len(latents))]

    def canvas(self, spec: JobSpec) -> Canvas:
        """The request's canvas."""
        return Canvas(spec.height_px, spec.width_px, self.preset.area_px)

    def target_shape(self, spec: JobSpec) -> tuple[int, int, int, int]:
        """(C, T, h, w) of the target's latents.

        Raises:
            ShapeUnsupported: a size or number of frames that the networks cannot make.
        """
        vae = self.preset.vae
        side = vae.spatial_compression_ratio * self.preset.mmdit.patch_size
        if spec.height_px % side or spec.width_px % side or (spec.num_frames - 1) % vae.temporal_compression_ratio:
            raise ShapeUnsupported(
                f"{spec.num_frames} frames of {spec.width_px}×{spec.height_px} px: sides must be multiples of {side}, "
                f"frames {vae.temporal_compression_ratio}k + 1"
            )
        return latent_shape(vae, spec.num_frames, spec.height_px, spec.width_px)


def _conditions(visuals: Sequence[Visual], latents: Sequence[Tensor]) -> Conditions:
    by_role: dict[Role, list[Tensor]] = defaultdict(list)
    for visual, encoded in zip(visuals, latents, strict=True):
        by_role[visual.role].append(encoded)
    return Conditions(
        references=tuple(by_role[Role.REFERENCE]),
        source=next(iter(by_role[Role.SOURCE]), None),
        first_frame=next(iter(by_role[Role.FIRST_FRAME]), None),
    )


def _weight(reading: Reading) -> tuple[int, int]:
    pixels = sum(frames.size for frames in (*reading.images, *reading.videos))
    return pixels, len(reading.text)


def _alike(shaped: Sequence[tuple[Hashable, int]]) -> list[list[int]]:
    """Indices grouped by shape, in groups small enough to run at once."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for shape, index in shaped:
        groups[shape].append(index)
    return [chunk for indices in groups.values() for chunk in _chunks(indices)]


def _chunks(items: Sequence[T], size: int = ROWS_AT_ONCE) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
