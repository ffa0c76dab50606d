"""What a stage of the released model takes on an H100, from published figures and the cost model; each with its source.

Only the two rates of the MMDiT and the decoder's are measured by somebody; docs/scaling.md lists what is assumed. Nothing here was
measured by this project: it has seen no H100.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vogue.engines.costs import RowSize, row_flops
from vogue.engines.guidance import passes_for
from vogue.schemas.config import Preset, Task
from vogue.schemas.stages import Pass

from .simulation import Job, Visit

__all__ = ["MIX", "Clip", "Seconds", "job_of", "seconds_of"]

_REFERENCE_TOKENS: Final = 30 * 48 * 80
_REFERENCE_STEPS: Final = 50
_ATTENTION_S: Final = 800.0
_REST_S: Final = 145.0
"""HunyuanVideo, 117 frames of 1280×768 with FlashAttention-3: Sliding Tile Attention, arXiv:2502.04507, abstract and section 4."""
_DECODE_S_A_MEGAPIXEL: Final = 2.5 / (61 * 512 * 320 / 1e6)
"""TAEHV's README, on a GH200. The encoder is assumed to take as long a pixel."""
_PEAK_FLOPS: Final = 989e12
"""Dense, in bfloat16: NVIDIA's data sheet of the H100 SXM."""
_MLLM_PARAMETERS: Final = 7.6e9
_MLLM_SHARE: Final = 0.4
"""Of the peak; assumed."""
_TEXT_TOKENS: Final = 256
_PATCH_PX: Final = 28
_WRITE_S_A_MEGAPIXEL: Final = 0.02
"""Of an mp4, by a CPU core; assumed."""

MIX: Final[dict[Task, float]] = {
    Task.T2I: 0.15,
    Task.T2V: 0.35,
    Task.I2V: 0.2,
    Task.I2I_EDIT: 0.1,
    Task.V2V_EDIT: 0.15,
    Task.MULTIID: 0.05,
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A request's shape as the stages see it; `references` pictures, two for in-context generation."""

    task: Task
    frames: int
    height_px: int
    width_px: int
    steps: int
    guidance: float
    image_guidance: float
    references: int

    @classmethod
    def of(cls, preset: Preset, task: Task) -> Clip:
        """The preset's default of a task."""
        one = preset.tasks[task]
        references = 2 if task is Task.MULTIID else int(task in (Task.REF_I2I_EDIT, Task.REF_V2V_EDIT))
        return cls(
            task, one.num_frames, one.height_px, one.width_px, one.steps, one.guidance, one.image_guidance, references
        )

    @property
    def megapixels(self) -> float:
        """Of the result, over all frames."""
        return self.frames * self.height_px * self.width_px / 1e6


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of an otherwise idle replica: H100s of MLLM, codec and denoiser, and a CPU core that writes the mp4."""

    understand: float
    encode: float
    denoise: float
    decode: float
    write: float

    @property
    def gpu(self) -> float:
        """GPU-seconds of the whole request."""
        return self.understand + self.encode + self.denoise + self.decode


def seconds_of(clip: Clip, preset: Preset, speed_up: float = 1.0) -> Seconds:
    """What a request takes; `speed_up` divides the denoiser's."""
    side = preset.vae.spatial_compression_ratio
    height, width = clip.height_px // side // 2 * 2, clip.width_px // side // 2 * 2
    target = 1 + (clip.frames - 1) // preset.vae.temporal_compression_ratio
    source = target if clip.task.edits else 0
    seen = (
        0
        if not (source or clip.references or clip.task is Task.I2V)
        else clip.references + (1 if clip.frames == 1 else 2)
    )
    context = _TEXT_TOKENS + seen * preset.mllm.max_pixels // _PATCH_PX**2
    flops = {Pass.UNCONDITIONAL: _rate_s(preset, target, height, width, _TEXT_TOKENS)}
    whole = _rate_s(preset, clip.references + target + source, height, width, context)
    flops |= {Pass.NEGATIVE: whole, Pass.CONDITIONAL: whole}
    passes = passes_for(clip.guidance, clip.image_guidance)
    conditions = (
        clip.megapixels * bool(source) + (clip.references + (clip.task is Task.I2V)) * clip.megapixels / clip.frames
    )
    return Seconds(
        understand=len(passes) * 2 * _MLLM_PARAMETERS * context / (_PEAK_FLOPS * _MLLM_SHARE),
        encode=conditions * _DECODE_S_A_MEGAPIXEL,
        denoise=clip.steps * sum(flops[which] for which in passes) / speed_up,
        decode=clip.megapixels * _DECODE_S_A_MEGAPIXEL,
        write=clip.megapixels * _WRITE_S_A_MEGAPIXEL,
    )


def job_of(arrival_s: float, one: Seconds) -> Job:
    """The request as a job of the simulation: instruction and visuals beside each other, then denoise, decode, write."""
    read = (Visit("understanding", one.understand), *((Visit("codec", one.encode),) if one.encode else ()))
    return Job(
        arrival_s,
        (read, (Visit("denoiser", one.denoise),), (Visit("codec", one.decode),), (Visit("delivery", one.write),)),
    )


def _rate_s(preset: Preset, frames: int, height: int, width: int, context: int) -> float:
    """Seconds of one forward, at the two published rates."""
    size = RowSize.of(preset.mmdit, frames, height, width, context)
    attention = _attention(preset, size.latent_tokens + size.context_tokens)
    return attention * _attention_s_a_flop(preset) + (row_flops(preset.mmdit, size) - attention) * _rest_s_a_flop(
        preset
    )


def _attention(preset: Preset, tokens: int) -> float:
    blocks = preset.mmdit.num_layers + preset.mmdit.num_single_layers
    return 4.0 * tokens * tokens * preset.mmdit.hidden_size * blocks


def _attention_s_a_flop(preset: Preset) -> float:
    return _ATTENTION_S / (_REFERENCE_STEPS * _attention(preset, _REFERENCE_TOKENS + _TEXT_TOKENS))


def _rest_s_a_flop(preset: Preset) -> float:
    whole = row_flops(preset.mmdit, RowSize(_REFERENCE_TOKENS, _TEXT_TOKENS))
    return _REST_S / (_REFERENCE_STEPS * (whole - _attention(preset, _REFERENCE_TOKENS + _TEXT_TOKENS)))
