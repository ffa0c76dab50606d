"""In-memory fakes of the engine ports: the same contracts without networks, ffmpeg or Ray, in microseconds.

They are product code: `fake_ports(blobs)` gives a flow, or your own tests of what is built on one, something to talk to. Media are netpbm
pictures (`P6`), several in a row being a clip. Latents are the pixels' means over each patch, so what goes in can be
recognised in what comes out, and a denoised result depends on its seed and its instruction only.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vogue.graph.shapes import usable_frames
from vogue.graph.state import Ports
from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import LimitExceeded, MediaUnreadable
from vogue.schemas.plan import Plan, PlanStep, Review
from vogue.schemas.recipes import Maker
from vogue.schemas.references import Artifact, MediaKind, PreparedVisual, TensorRef
from vogue.schemas.stages import (
    AnswerRequest,
    DecodedMedia,
    DecodeRequest,
    DenoiseJob,
    EncodeInstructionRequest,
    EncodeVisualRequest,
    FrameComparison,
    LatentCheckpoint,
    MediaFacts,
    Pass,
    PassStates,
    PlanRequest,
    PrepareRequest,
    PreviewRequest,
    ProbeRequest,
    ProjectRequest,
    ReviewRequest,
)

from .blobs import BlobStore
from .comparing import psnr_db, side_by_side
from .denoiser import DenoiserService
from .sheets import grid
from .step_loop import Latents

__all__ = ["FakeCodec", "FakeConnector", "FakeLoop", "FakeUnderstanding", "fake_ports", "netpbm", "read_netpbm"]

_FPS = 8.0
Frames = NDArray[np.uint8]


def netpbm(frames: Frames) -> bytes:
    """Frames [T, H, W, 3] as netpbm pictures, one after the other."""
    head = f"P6 {frames.shape[2]} {frames.shape[1]} 255\n".encode()
    return b"".join(head + frame.tobytes() for frame in frames)


def read_netpbm(data: bytes) -> Frames:
    """The inverse of `netpbm`.

    Raises:
        MediaUnreadable: other bytes, or too few.
    """
    frames: list[Frames] = []
    while data:
        head, _, rest = data.partition(b"\n")
        fields = head.split()
        if len(fields) != 4 or fields[0] != b"P6" or not all(field.isdigit() for field in fields[1:3]):
            raise MediaUnreadable(f"not a netpbm picture: {head[:20]!r}")
        width, height = int(fields[1]), int(fields[2])
        size = width * height * 3
        if size == 0 or len(rest) < size:
            raise MediaUnreadable(f"a {width}×{height} picture needs {size} bytes, {len(rest)} are left")
        frames.append(np.frombuffer(rest[:size], np.uint8).reshape(height, width, 3))
        data = rest[size:]
    if not frames:
        raise MediaUnreadable("the file is empty")
    return np.stack(frames)


def _numbers(shape: tuple[int, ...], *parts: object) -> NDArray[np.float32]:
    """Numbers in [-1, 1) that depend on the parts alone."""
    seed = int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")
    drawn: NDArray[np.float32] = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    return drawn


class FakeUnderstanding:
    """States drawn from the words and the digests of the pictures."""

    def __init__(self, preset: Preset, blobs: BlobStore) -> None:
        self._width = preset.connector.in_dim
        self._blobs = blobs

    async def answer(self, request: AnswerRequest) -> AsyncIterator[str]:
        """Says how many pictures it was shown."""
        for word in (f"{len(request.visuals)} ", "visuals"):
            yield word

    async def plan(self, request: PlanRequest) -> Plan:
        """The first choice, and the instruction in upper case; a question is asked back."""
        if request.instruction.endswith("?"):
            return Plan(clarification=f"what do you mean by {request.instruction[:200]}")
        chosen = request.choices[0]
        steps = (PlanStep(action=request.instruction[:400], inputs=tuple(chosen.roles)),)
        prompt = request.instruction.upper()[: request.max_prompt_chars]
        return Plan(task=chosen.task, roles=chosen.roles, steps=steps, dense_prompt=prompt)

    async def review(self, request: ReviewRequest) -> Review:
        """Scores drawn from the frames' digest."""
        quality, following, restraint = (int(one) % 11 for one in request.frames.sha256[:3].encode())
        return Review(
            quality=quality,
            instruction_following=following,
            over_editing=restraint if request.task.edits else None,
        )

    async def encode(self, request: EncodeInstructionRequest) -> PassStates:
        """One row per word."""
        seen = [visual.frames.sha256 for visual in request.visuals]
        texts = {
            Pass.UNCONDITIONAL: (request.negative_prompt, []),
            Pass.NEGATIVE: (request.negative_prompt, seen),
            Pass.CONDITIONAL: (f"{request.task} {request.instruction}", seen),
        }
        states = {}
        for name in request.passes:
            rows = len(texts[name][0].split()) + len(texts[name][1]) + 1
            states[name] = self._blobs.put_tensor(_numbers((rows, self._width), *texts[name]))
        return PassStates(states=states)


class FakeConnector:
    """Repeats the states to the context's width."""

    def __init__(self, preset: Preset, blobs: BlobStore) -> None:
        self._width = preset.connector.out_dim
        self._blobs = blobs

    async def project(self, request: ProjectRequest) -> PassStates:
        """Context of the same length."""
        states = {}
        for name, ref in request.states.items():
            rows = self._blobs.get_tensor(ref)
            states[name] = self._blobs.put_tensor(np.resize(rows, (rows.shape[0], self._width)))
        return PassStates(states=states)


@dataclass
class _FakeStepping:
    """A job on its straight way."""

    latents: Latents
    goal: Latents
    steps: int
    steps_done: int
    memory: Latents | None = None
    rows: int = 1
    num_bytes: int = 0

    @property
    def shape_class(self) -> tuple[int, ...]:
        """Its latents' shape."""
        return self.latents.shape


class FakeLoop:
    """A step loop that walks straight from noise to numbers drawn from the instruction's context.

    A source or first frame shines through: the result is the mean of both.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def open(self, job: DenoiseJob, resume_from: LatentCheckpoint | None) -> _FakeStepping:
        """See `StepLoop.open`."""
        latents: Latents = _numbers(job.latent_shape, job.seed)
        goal: Latents = _numbers(job.latent_shape, job.contexts[Pass.CONDITIONAL].sha256)
        for ref in (job.source, job.first_frame):
            if ref is not None:
                goal = ((goal + np.resize(self._blobs.get_tensor(ref), job.latent_shape)) / 2).astype(np.float32)
        done = 0
        if resume_from is not None:
            done, latents = resume_from.steps_done, self._blobs.get_tensor(resume_from.latents)
        return _FakeStepping(latents, goal, job.steps, done)

    def tick(self, jobs: Sequence[_FakeStepping]) -> None:
        """See `StepLoop.tick`. Only what enters a step decides what leaves it, as in the real loop."""
        for job in jobs:
            left = np.float32(job.steps - job.steps_done)
            job.latents = (job.latents + (job.goal - job.latents) / left).astype(np.float32)
            job.steps_done += 1


class FakeCodec:
    """Netpbm in, netpbm out; a latent is the mean of its patch, over all channels alike."""

    def __init__(self, preset: Preset, blobs: BlobStore) -> None:
        self._preset = preset
        self._vae = preset.vae
        self._blobs = blobs

    def _frames(self, original: Artifact) -> Frames:
        frames = read_netpbm(bytes(self._blobs.get(original)))
        if frames.shape[1] * frames.shape[2] > self._preset.limits.max_source_pixels:
            raise LimitExceeded(
                f"{frames.shape[2]}×{frames.shape[1]} pixels; at most {self._preset.limits.max_source_pixels} are accepted"
            )
        return frames

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """One picture is an image, several are a video."""
        frames = self._frames(request.original)
        is_video = len(frames) > 1
        return MediaFacts(
            kind=MediaKind.VIDEO if is_video else MediaKind.IMAGE,
            media_type="video/x-portable-pixmap" if is_video else "image/x-portable-pixmap",
            height_px=frames.shape[1],
            width_px=frames.shape[2],
            num_frames=len(frames),
            fps=_FPS if is_video else 0.0,
        )

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """A video is sized to the canvas by taking the nearest pixels. A result's frames and latents are taken as they are."""
        if (known := request.lossless) is not None:
            return PreparedVisual(
                tag=request.visual.tag,
                role=request.visual.role or Role.SOURCE,
                kind=known.kind,
                frames=known.frames,
                fps=known.fps,
                source_frames=known.frames.shape[0],
                original=request.original,
                latents=known.latents,
            )
        frames = self._frames(request.original)
        is_video, source_frames = len(frames) > 1, len(frames)
        if is_video:
            frames = _nearest(
                frames[: usable_frames(source_frames, request.max_frames)], request.height_px, request.width_px
            )
        return PreparedVisual(
            tag=request.visual.tag,
            role=request.visual.role or Role.SOURCE,
            kind=MediaKind.VIDEO if is_video else MediaKind.IMAGE,
            frames=self._blobs.put_tensor(frames),
            fps=_FPS,
            source_frames=source_frames,
            original=request.original,
        )

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """Means of patches of the first frame and of each group after it."""
        vae, side = self._vae, self._vae.spatial_compression_ratio
        frames = _nearest(self._blobs.get_tensor(request.visual.frames), request.height_px, request.width_px)
        kept = np.concatenate([frames[:1], frames[1 :: vae.temporal_compression_ratio]])
        pixels = kept.astype(np.float32).mean(axis=3) / 127.5 - 1.0
        means = pixels.reshape(len(kept), request.height_px // side, side, request.width_px // side, side).mean((2, 4))
        latents = np.broadcast_to(means, (vae.latent_channels, *means.shape))  # [C, T, h, w]
        return self._blobs.put_tensor(np.ascontiguousarray(latents))

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """Grey frames from the mean over the channels."""
        frames = self._grey(request.latents)
        if request.kind is MediaKind.IMAGE:
            frames = frames[:1]
        return DecodedMedia(
            frames=self._blobs.put_tensor(frames),
            media=self._blobs.put(netpbm(frames), f"{request.kind}/x-portable-pixmap"),
            poster=self._blobs.put(netpbm(frames[:1]), "image/x-portable-pixmap"),
            has_audio=request.audio_from is not None and request.kind is MediaKind.VIDEO,
        )

    async def preview(self, request: PreviewRequest) -> Artifact:
        """The first frame."""
        frame = self._grey(request.latents)[:1]
        if request.height_px is not None and request.width_px is not None:
            frame = _nearest(frame, request.height_px, request.width_px)
        return self._blobs.put(netpbm(frame), "image/x-portable-pixmap")

    async def sheet(self, original: Artifact) -> Artifact:
        """All frames in a grid, at their own size."""
        frames = self._frames(original)
        if len(frames) == 1:
            raise MediaUnreadable("the file is a still picture, not a video")
        return self._blobs.put(netpbm(grid(frames)[None]), "image/x-portable-pixmap")

    async def maker(self) -> Maker:
        """A fake."""
        nothing = "0" * 64
        return Maker(vogue="0", preset=self._preset.name, weights=nothing, engine="fake", dtype="float32", code=nothing)

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """As the real one, in netpbm."""
        one, other = self._blobs.get_tensor(a), self._blobs.get_tensor(b)
        picture = self._blobs.put(netpbm(side_by_side(one, other)[None]), "image/x-portable-pixmap")
        return FrameComparison(identical=np.array_equal(one, other), psnr_db=psnr_db(one, other), picture=picture)

    def _grey(self, ref: TensorRef) -> Frames:
        grey = self._blobs.get_tensor(ref).mean(axis=0)  # [T, h, w]
        grey = np.concatenate([grey[:1], np.repeat(grey[1:], self._vae.temporal_compression_ratio, axis=0)])
        for axis in (1, 2):
            grey = np.repeat(grey, self._vae.spatial_compression_ratio, axis=axis)
        pixels: Frames = ((grey + 1.0) * 127.5).clip(0, 255).round().astype(np.uint8)
        return np.ascontiguousarray(np.repeat(pixels[..., None], 3, axis=3))


def _nearest(frames: Frames, height_px: int, width_px: int) -> Frames:
    """Frames [T, H, W, 3] at another size."""
    rows = np.arange(height_px) * frames.shape[1] // height_px
    columns = np.arange(width_px) * frames.shape[2] // width_px
    return np.ascontiguousarray(frames[:, rows][:, :, columns])


def fake_ports(preset: Preset, blobs: BlobStore) -> Ports:
    """All engine ports, in memory. Call it inside a running event loop."""
    return Ports(
        understanding=FakeUnderstanding(preset, blobs),
        connector=FakeConnector(preset, blobs),
        denoiser=DenoiserService(FakeLoop(blobs), blobs),
        codec=FakeCodec(preset, blobs),
    )
