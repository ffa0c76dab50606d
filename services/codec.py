"""The `Codec` port over the VAE and ffmpeg: the only place where files become pixels and pixels files."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vogue.engines.conditioning import Canvas, Visual, codec_pixels
from vogue.engines.loading import load_vae
from vogue.engines.media import (
    DEFAULT_FPS,
    MediaInfo,
    MediaLimits,
    probe,
    read_image,
    read_video,
    write_image,
    write_video,
)
from vogue.engines.models.vae import VAE
from vogue.engines.port import Decoder
from vogue.engines.preprocess import SourceSize, causal_frames, fit_source, frames_of, resize_image, to_bytes
from vogue.engines.registry import open_decoder
from vogue.schemas.config import Preset, Role
from vogue.schemas.errors import LimitExceeded, MediaUnreadable
from vogue.schemas.recipes import RECIPE_KEYWORD, Maker, Recipe, dump_recipe
from vogue.schemas.references import Artifact, Lossless, MediaKind, PreparedVisual, TensorRef
from vogue.schemas.stages import (
    DecodedMedia,
    DecodeRequest,
    EncodeVisualRequest,
    FrameComparison,
    MediaFacts,
    PrepareRequest,
    PreviewRequest,
    ProbeRequest,
)

from .comparing import psnr_db, side_by_side
from .lossless import prepare_lossless
from .metrics import operation
from .sheets import MAX_CELLS, cell_size, grid, stride
from .workplace import Workplace, array_of, tensor_of

__all__ = ["CodecService", "media_limits"]

_PICTURES = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_VIDEOS = {"mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif", "webp": "image/webp"}
_TEMPORARY = "vogue-codec-"


def media_limits(preset: Preset, threads: int) -> MediaLimits:
    """What the preset allows a stranger's file to be."""
    limits = preset.limits
    return MediaLimits(
        max_bytes=limits.max_upload_bytes,
        max_pixels=limits.max_source_pixels,
        max_duration_s=limits.max_source_duration_s,
        threads=threads,
    )


class CodecService:
    """Files ↔ frames ↔ latents. Media work runs in processes of its own, networks on one thread."""

    def __init__(self, vae: VAE, place: Workplace, decoder: Decoder | None = None) -> None:
        self._vae = vae
        self._decoder: Decoder = decoder if decoder is not None else vae
        self._place = place
        self._blobs = place.blobs
        self._limits = media_limits(place.preset, place.config.codec.threads)
        self._thread = place.torch

    @classmethod
    def load(cls, place: Workplace) -> CodecService:
        """Load the preset's VAE, and what decodes for it."""
        tiling = place.preset.limits.max_area_px > 512 * 512
        vae = load_vae(place.weights, place.preset.vae, place.device, place.dtype, tiling=tiling)
        return cls(vae, place, open_decoder(place.config.engines.decoder, place.site, vae).engine)

    async def probe(self, request: ProbeRequest) -> MediaFacts:
        """Look at an upload before anything is made of it."""
        with operation("codec.probe"):
            info = await asyncio.to_thread(probe, self._blobs.path(request.original), self._limits, param="file")
        if info.kind == "audio":
            raise MediaUnreadable(f"{request.filename!r} holds sound, but no picture", param="file")
        kind = MediaKind(info.kind)
        return MediaFacts(
            kind=kind,
            media_type=_media_type(info, kind),
            height_px=info.height_px,
            width_px=info.width_px,
            num_frames=info.num_frames or 1,
            fps=float(info.fps or DEFAULT_FPS) if kind is MediaKind.VIDEO else 0.0,
            has_audio=info.has_audio,
        )

    async def prepare(self, request: PrepareRequest) -> PreparedVisual:
        """Decode an upload once into lossless frames; a result has them already."""
        if request.lossless is not None:
            return await self._prepare_result(request, request.lossless)
        parameters = request.model_dump(
            mode="json", exclude={"original": True, "visual": {"upload_id"}, "lossless": True}
        )

        async def compute() -> PreparedVisual:
            return await asyncio.to_thread(self._prepare, request)

        return await self._place.cached(
            "codec.prepare", PreparedVisual, parameters, (request.original.sha256,), compute
        )

    async def _prepare_result(self, request: PrepareRequest, lossless: Lossless) -> PreparedVisual:
        frames = lossless.frames
        if not self._blobs.has(frames.sha256):
            # Frames are large and may have been swept. Latents are kept, and give them again.
            decoded = await self._thread.run(self._decode, lossless.latents)
            frames = await asyncio.to_thread(self._blobs.put_tensor, decoded)
        return await asyncio.to_thread(
            prepare_lossless, request, lossless, frames, self._blobs, self._place.preset.area_px
        )

    def _prepare(self, request: PrepareRequest) -> PreparedVisual:
        path = self._blobs.path(request.original)
        info = probe(path, self._limits, param=request.visual.tag)
        fields: dict[str, Any]
        if info.kind == "video":
            fields = self._read_clip(path, info, request)
        else:
            frame = read_image(path, self._limits, param=request.visual.tag)
            fields = {"frames": self._blobs.put_tensor(frame[None]), "fps": self._place.preset.fps}
        return PreparedVisual(
            tag=request.visual.tag,
            role=request.visual.role or Role.SOURCE,
            kind=MediaKind(info.kind),
            has_audio=info.has_audio,
            source_frames=info.num_frames or 1,
            original=request.original,
            **fields,
        )

    def _read_clip(self, path: Path, info: MediaInfo, request: PrepareRequest) -> dict[str, Any]:
        """A clip at the canvas, its frames and rate, and what was changed."""
        size = fit_source(
            info.height_px, info.width_px, request.height_px, request.width_px, self._place.preset.area_px
        )
        clip = read_video(
            path,
            self._limits,
            max_frames=request.max_frames,
            size=(size.resized_height, size.resized_width),
            param=request.visual.tag,
        )
        used = causal_frames(len(clip.frames), request.max_frames)
        notices = []
        expected = causal_frames(info.num_frames or 1, request.max_frames)
        if used < expected:
            notices.append(
                f"{request.visual.tag}: only {len(clip.frames)} of {info.num_frames} frames could be decoded; the first {used} are used"
            )
        if info.variable_frame_rate:
            notices.append(
                f"{request.visual.tag} has a varying frame rate; its average, {float(clip.fps):.2f} fps, is used"
            )
        frames = clip.frames[:used, : size.height, : size.width]
        return {"frames": self._blobs.put_tensor(frames), "fps": float(clip.fps), "notices": tuple(notices)}

    async def encode(self, request: EncodeVisualRequest) -> TensorRef:
        """Normalised latents [C, T, h, w] of a prepared visual."""
        visual = request.visual
        parameters = {
            "role": visual.role,
            "kind": visual.kind,
            "height_px": request.height_px,
            "width_px": request.width_px,
        }

        async def compute() -> TensorRef:
            return await self._thread.run(self._encode, request)

        return await self._place.cached("codec.encode", TensorRef, parameters, (visual.frames.sha256,), compute)

    @torch.inference_mode()
    def _encode(self, request: EncodeVisualRequest) -> TensorRef:
        visual = Visual(request.visual.role, request.visual.kind, self._blobs.get_tensor(request.visual.frames))
        canvas = Canvas(request.height_px, request.width_px, self._place.preset.area_px)
        pixels = codec_pixels(visual, canvas).to(self._place.device, self._place.dtype)
        return self._blobs.put_tensor(array_of(self._vae.encode(pixels)[0]))

    async def decode(self, request: DecodeRequest) -> DecodedMedia:
        """Frames, file and poster of latents."""
        with operation("codec.decode"):
            frames = await self._thread.run(self._decode, request.latents)
            recipe = await asyncio.to_thread(self._told, request.recipe)
            # ffmpeg is a process of its own, beside which the rest is written.
            (kept, poster), film = await asyncio.gather(
                asyncio.to_thread(self._keep, frames, recipe), asyncio.to_thread(self._film, frames, request, recipe)
            )
            return DecodedMedia.model_validate({"frames": kept, "poster": poster, "media": poster} | film)

    @torch.inference_mode()
    def _decode(self, latents: TensorRef, first: int | None = None) -> NDArray[np.uint8]:
        """All frames, or those of the first so many latents, which know nothing of what comes after them."""
        stored = tensor_of(self._blobs.get_tensor(latents)[:, :first]).to(self._place.device, self._place.dtype)
        return frames_of(self._decoder.decode(stored[None])[0])

    def _told(self, recipe: Recipe | None) -> str | None:
        """A recipe as it is written into files, with what makes the pixels here."""
        if recipe is None:
            return None
        return dump_recipe(recipe.model_copy(update={"maker": self._place.maker})) or None

    def _keep(self, frames: NDArray[np.uint8], recipe: str | None) -> tuple[TensorRef, Artifact]:
        """The frames without loss, and the first as a picture."""
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._blobs.scratch) as folder:
            return self._blobs.put_tensor(frames), self._picture(frames[0], Path(folder) / "poster.png", recipe)

    def _film(self, frames: NDArray[np.uint8], request: DecodeRequest, recipe: str | None) -> dict[str, Any]:
        """What a clip has beside its frames and poster; a picture has nothing."""
        if request.kind is not MediaKind.VIDEO:
            return {}
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._blobs.scratch) as folder:
            path = Path(folder) / "clip.mp4"
            notices = self._write_clip(frames, request, path, recipe)
            has_audio = request.audio_from is not None and not notices
            return {"media": self._blobs.put_file(path, "video/mp4"), "has_audio": has_audio, "notices": notices}

    def _write_clip(
        self, frames: NDArray[np.uint8], request: DecodeRequest, path: Path, recipe: str | None
    ) -> tuple[str, ...]:
        """Write a clip with the sound it shall have; a notice if that cannot be read."""
        sound = self._blobs.path(request.audio_from) if request.audio_from is not None else None
        try:
            write_video(frames, request.fps, path, audio_from=sound, comment=recipe, limits=self._limits)
        except (MediaUnreadable, LimitExceeded) as error:
            if sound is None:
                raise
            # The frames are ours and the sound a stranger's: a picture that took minutes is not thrown away for it.
            write_video(frames, request.fps, path, comment=recipe, limits=self._limits)
            return (f"the sound of the source cannot be read, so the result has none ({error.message})",)
        return ()

    def _picture(self, frame: NDArray[np.uint8], path: Path, recipe: str | None = None) -> Artifact:
        write_image(frame, path, texts={RECIPE_KEYWORD: recipe} if recipe is not None else None)
        return self._blobs.put_file(path, "image/png")

    async def preview(self, request: PreviewRequest) -> Artifact:
        """The first frame of latents on the way."""

        def write(frame: NDArray[np.uint8]) -> Artifact:
            if request.height_px is not None and request.width_px is not None:
                shape = (request.height_px, request.width_px)
                frame = to_bytes(resize_image(frame, SourceSize(*shape, *shape)))
            with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._blobs.scratch) as folder:
                return self._picture(frame, Path(folder) / "preview.png")

        with operation("codec.preview"):
            frames = await self._thread.run(self._decode, request.latents, 1)
            return await asyncio.to_thread(write, frames[0])

    async def sheet(self, original: Artifact) -> Artifact:
        """A grid of a clip's frames as one picture."""

        async def compute() -> Artifact:
            return await asyncio.to_thread(self._sheet, original)

        return await self._place.cached("codec.sheet", Artifact, {}, (original.sha256,), compute)

    def _sheet(self, original: Artifact) -> Artifact:
        path = self._blobs.path(original)
        info = probe(path, self._limits)
        size = cell_size(info.height_px, info.width_px)
        every = stride(info.num_frames or 1)
        clip = read_video(path, self._limits, max_frames=MAX_CELLS, stride=every, size=size)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._blobs.scratch) as folder:
            return self._picture(grid(clip.frames), Path(folder) / "sheet.png")

    async def maker(self) -> Maker:
        """What makes the pixels here."""
        return self._place.maker

    async def compare(self, a: TensorRef, b: TensorRef) -> FrameComparison:
        """Hold two results' frames against each other."""

        def work() -> FrameComparison:
            one, other = self._blobs.get_tensor(a), self._blobs.get_tensor(b)
            with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=self._blobs.scratch) as folder:
                picture = self._picture(side_by_side(one, other), Path(folder) / "both.png")
            return FrameComparison(identical=np.array_equal(one, other), psnr_db=psnr_db(one, other), picture=picture)

        with operation("codec.compare"):
            return await asyncio.to_thread(work)


def _media_type(info: MediaInfo, kind: MediaKind) -> str:
    known = _VIDEOS if kind is MediaKind.VIDEO else _PICTURES
    return known.get(info.container.value, f"{kind.value}/{info.container.value}")
