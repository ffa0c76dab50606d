"""The contract of the `Codec` port."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role
from vogue.schemas.errors import MediaUnreadable
from vogue.schemas.references import Artifact, DType, Lossless, MediaKind, PreparedVisual
from vogue.schemas.requests import VisualInput
from vogue.schemas.stages import (
    DecodeRequest,
    EncodeVisualRequest,
    PrepareRequest,
    PreviewRequest,
    ProbeRequest,
)

SIDE = 32


def _frames(count: int, height: int = SIDE, width: int = SIDE) -> Any:
    """Frames that differ: a bright column that moves."""
    frames = np.full((count, height, width, 3), 40, np.uint8)
    for index in range(count):
        frames[index, :, 2 * index : 2 * index + 8] = (230, 200, 30)
    return frames


def _original(implementation: Any, frames: Any) -> Artifact:
    artifact: Artifact = implementation.blobs.put(implementation.file_of(frames), "application/octet-stream")
    return artifact


async def _prepared(implementation: Any, frames: Any, role: Role, max_frames: int = 9) -> PreparedVisual:
    kind = "video" if len(frames) > 1 else "image"
    prepared: PreparedVisual = await implementation.ports.codec.prepare(
        PrepareRequest(
            visual=VisualInput(tag=f"{kind}1", role=role, upload_id="upload_0123456789abcdef"),
            original=_original(implementation, frames),
            height_px=SIDE,
            width_px=SIDE,
            max_frames=max_frames,
        )
    )
    return prepared


@pytest.mark.parametrize(("count", "kind"), [(1, MediaKind.IMAGE), (6, MediaKind.VIDEO)])
async def test_probe_tells_what_a_file_is(implementation: Any, count: int, kind: MediaKind) -> None:
    original = _original(implementation, _frames(count, 24, 40))
    facts = await implementation.ports.codec.probe(ProbeRequest(original=original, filename="x"))
    assert (facts.kind, facts.height_px, facts.width_px, facts.num_frames) == (kind, 24, 40, count)
    assert (facts.fps > 0) is (kind is MediaKind.VIDEO)
    assert facts.media_type.partition("/")[0] in ("image", "video")


@pytest.mark.parametrize("content", [b"", b"not a picture at all"])
async def test_probe_refuses_what_holds_no_picture(implementation: Any, content: bytes) -> None:
    original = implementation.blobs.put(content, "image/png")
    with pytest.raises(MediaUnreadable):
        await implementation.ports.codec.probe(ProbeRequest(original=original, filename="x.png"))


async def test_a_picture_is_prepared_at_its_own_size(implementation: Any) -> None:
    frames = _frames(1, 24, 40)
    prepared = await _prepared(implementation, frames, Role.SOURCE)
    assert (prepared.tag, prepared.role, prepared.kind) == ("image1", Role.SOURCE, MediaKind.IMAGE)
    assert prepared.frames.dtype is DType.UINT8
    np.testing.assert_array_equal(implementation.blobs.get_tensor(prepared.frames), frames)


async def test_a_clip_is_prepared_on_the_canvas_and_cut(implementation: Any) -> None:
    prepared = await _prepared(implementation, _frames(8, 48, 48), Role.SOURCE, max_frames=9)
    assert prepared.frames.shape == (5, SIDE, SIDE, 3)
    assert (prepared.kind, prepared.source_frames) == (MediaKind.VIDEO, 8)
    again = await _prepared(implementation, _frames(8, 48, 48), Role.SOURCE, max_frames=9)
    assert again == prepared


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (5, 2), (9, 3)])
async def test_latents_have_the_promised_shape(implementation: Any, count: int, groups: int) -> None:
    prepared = await _prepared(implementation, _frames(count), Role.SOURCE)
    request = EncodeVisualRequest(visual=prepared, height_px=SIDE, width_px=SIDE)
    ref = await implementation.ports.codec.encode(request)
    channels, side = (
        implementation.preset.vae.latent_channels,
        SIDE // implementation.preset.vae.spatial_compression_ratio,
    )
    assert (ref.shape, ref.dtype) == ((channels, groups, side, side), DType.FLOAT32)
    assert await implementation.ports.codec.encode(request) == ref


async def test_a_reference_is_one_latent_frame_whatever_its_shape(implementation: Any) -> None:
    prepared = await _prepared(implementation, _frames(1, 20, 50), Role.REFERENCE)
    ref = await implementation.ports.codec.encode(EncodeVisualRequest(visual=prepared, height_px=SIDE, width_px=48))
    assert ref.shape[1:] == (1, 4, 6)


@pytest.mark.parametrize(("kind", "count"), [(MediaKind.IMAGE, 1), (MediaKind.VIDEO, 5)])
async def test_latents_become_frames_a_file_and_a_poster(implementation: Any, kind: MediaKind, count: int) -> None:
    prepared = await _prepared(implementation, _frames(count), Role.SOURCE)
    latents = await implementation.ports.codec.encode(
        EncodeVisualRequest(visual=prepared, height_px=SIDE, width_px=SIDE)
    )
    decoded = await implementation.ports.codec.decode(DecodeRequest(latents=latents, kind=kind, fps=8.0))
    assert decoded.frames.shape == (count, SIDE, SIDE, 3)
    for artifact, expected in ((decoded.media, kind), (decoded.poster, MediaKind.IMAGE)):
        facts = await implementation.ports.codec.probe(ProbeRequest(original=artifact, filename="result"))
        assert (facts.kind, facts.height_px, facts.width_px) == (expected, SIDE, SIDE)
        assert artifact.media_type.startswith(expected.value)
    preview = await implementation.ports.codec.preview(PreviewRequest(latents=latents))
    assert preview.media_type.startswith("image/")
    small = await implementation.ports.codec.preview(PreviewRequest(latents=latents, height_px=8, width_px=12))
    facts = await implementation.ports.codec.probe(ProbeRequest(original=small, filename="preview"))
    assert (facts.kind, facts.height_px, facts.width_px) == (MediaKind.IMAGE, 8, 12)


@pytest.mark.parametrize(("kind", "count"), [(MediaKind.IMAGE, 1), (MediaKind.VIDEO, 5)])
async def test_a_result_is_prepared_from_what_it_was(implementation: Any, kind: MediaKind, count: int) -> None:
    codec = implementation.ports.codec
    prepared = await _prepared(implementation, _frames(count), Role.SOURCE)
    latents = await codec.encode(EncodeVisualRequest(visual=prepared, height_px=SIDE, width_px=SIDE))
    decoded = await codec.decode(DecodeRequest(latents=latents, kind=kind, fps=8.0))
    again = await codec.prepare(
        PrepareRequest(
            visual=VisualInput(tag=f"{kind}1", role=Role.SOURCE, upload_id="asset_0123456789abcdef"),
            original=decoded.media,
            lossless=Lossless(kind=kind, frames=decoded.frames, latents=latents, fps=8.0),
            height_px=SIDE,
            width_px=SIDE,
            max_frames=9,
        )
    )
    assert (again.frames, again.latents, again.kind, again.fps) == (decoded.frames, latents, kind, 8.0)


async def test_two_results_side_by_side(implementation: Any) -> None:
    codec, blobs = implementation.ports.codec, implementation.blobs
    one, other = blobs.put_tensor(_frames(5)), blobs.put_tensor(255 - _frames(5))
    same = await codec.compare(one, one)
    assert (same.identical, same.psnr_db) == (True, None)
    apart = await codec.compare(one, other)
    assert not apart.identical and apart.psnr_db is not None and apart.psnr_db < 30
    shorter = await codec.compare(one, blobs.put_tensor(_frames(1)))
    assert (shorter.identical, shorter.psnr_db) == (False, None)
    facts = await codec.probe(ProbeRequest(original=apart.picture, filename="both"))
    assert facts.kind is MediaKind.IMAGE and facts.width_px > 2 * SIDE


async def test_who_makes_the_pixels(implementation: Any) -> None:
    maker = await implementation.ports.codec.maker()
    assert maker == await implementation.ports.codec.maker() and maker.preset == implementation.preset.name


@pytest.mark.parametrize(("count", "columns", "rows"), [(2, 2, 1), (5, 3, 2), (9, 3, 3)])
async def test_a_sheet_shows_the_frames_of_a_clip_in_reading_order(
    implementation: Any, count: int, columns: int, rows: int
) -> None:
    codec, side = implementation.ports.codec, SIDE
    original = _original(implementation, _frames(count))
    sheet = await codec.sheet(original)
    assert sheet.media_type.startswith("image/") and await codec.sheet(original) == sheet
    facts = await codec.probe(ProbeRequest(original=sheet, filename="sheet"))
    assert (facts.kind, facts.height_px, facts.width_px) == (MediaKind.IMAGE, rows * side, columns * side)
    visual = VisualInput(tag="image1", role=Role.SOURCE, upload_id="asset_0123456789abcdef")
    request = PrepareRequest(visual=visual, original=sheet, height_px=side, width_px=side, max_frames=1)
    picture = implementation.blobs.get_tensor((await codec.prepare(request)).frames)[0].astype(int)
    shown = picture.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
    # A GIF has a palette, so colours may be a little off.
    np.testing.assert_allclose(shown[:count], _frames(count), atol=24)
    assert not shown[count:].any(), "what is left over is black"


async def test_a_sheet_of_what_is_no_clip_is_a_typed_error(implementation: Any) -> None:
    nothing = implementation.blobs.put(b"no clip at all", "video/mp4")
    for original in (nothing, _original(implementation, _frames(1))):
        with pytest.raises(MediaUnreadable):
            await implementation.ports.codec.sheet(original)
