"""A later turn starts from what a result was before it became a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role, Task
from vogue.schemas.jobs import JobStatus
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import VisualInput
from vogue.schemas.stages import EncodeVisualRequest, PreparedVisual, PrepareRequest


class Watch:
    """A codec that notes what it prepares and encodes."""

    def __init__(self, codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prepared: list[PreparedVisual] = []
        self.encoded: list[EncodeVisualRequest] = []
        self.read: list[PrepareRequest] = []
        prepare, encode, read = codec.prepare, codec._encode, codec._prepare

        async def preparing(request: PrepareRequest) -> PreparedVisual:
            self.prepared.append(await prepare(request))
            return self.prepared[-1]

        monkeypatch.setattr(codec, "prepare", preparing)
        monkeypatch.setattr(codec, "_encode", lambda request: (self.encoded.append(request), encode(request))[1])
        monkeypatch.setattr(codec, "_prepare", lambda request: (self.read.append(request), read(request))[1])


@pytest.mark.parametrize(("frames", "task"), [(5, Task.V2V_EDIT), (1, Task.I2I_EDIT)])
async def test_a_result_is_edited_without_reading_its_file(
    media_house: Any, monkeypatch: pytest.MonkeyPatch, frames: int, task: Task
) -> None:
    # 48×16 is not the size that an upload of this shape would be edited at.
    first = await media_house.make(num_frames=frames, width_px=48, height_px=16, seed=1)
    stored = await media_house.orchestrator.asset(first.assets[0].id)
    assert stored.lossless is not None
    watch = Watch(media_house.ports.codec, monkeypatch)
    tag = "image1" if frames == 1 else "video1"
    source = VisualInput(tag=tag, role=Role.SOURCE, upload_id=first.assets[0].id)
    second = await media_house.make(visuals=(source,), seed=2)
    assert (second.status, second.spec.task) == (JobStatus.COMPLETED, task)
    assert (second.spec.width_px, second.spec.height_px, second.spec.num_frames) == (48, 16, frames)
    assert watch.read == [] and watch.encoded == []
    assert watch.prepared[0].frames == stored.lossless.frames
    assert watch.prepared[0].latents == stored.lossless.latents


async def test_swept_frames_are_decoded_again(media_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await media_house.make(seed=3)
    lossless = (await media_house.orchestrator.asset(first.assets[0].id)).lossless
    before = np.array(media_house.blobs.get_tensor(lossless.frames))
    kept = media_house.orchestrator._jobs.kept_digests()
    assert lossless.latents.sha256 in kept
    media_house.blobs.path_of(lossless.frames.sha256).unlink()
    watch = Watch(media_house.ports.codec, monkeypatch)
    source = VisualInput(tag="video1", role=Role.SOURCE, upload_id=first.assets[0].id)
    assert (await media_house.make(visuals=(source,))).status is JobStatus.COMPLETED
    assert np.array_equal(media_house.blobs.get_tensor(watch.prepared[0].frames), before)


async def test_a_cut_or_resized_result_is_encoded_from_its_frames(
    media_house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await media_house.make(num_frames=9, seed=4)
    stored = await media_house.orchestrator.asset(first.assets[0].id)
    watch = Watch(media_house.ports.codec, monkeypatch)
    visual = VisualInput(tag="video1", role=Role.SOURCE, upload_id=first.assets[0].id)
    assert (await media_house.make(visuals=(visual,), num_frames=5)).status is JobStatus.COMPLETED
    assert watch.read == [] and len(watch.encoded) == 1
    cut = media_house.blobs.get_tensor(watch.prepared[0].frames)
    assert np.array_equal(cut, media_house.blobs.get_tensor(stored.lossless.frames)[:5])
    request = PrepareRequest(
        visual=visual, original=stored.artifact, lossless=stored.lossless, height_px=16, width_px=48, max_frames=9
    )
    other = await media_house.ports.codec.prepare(request)
    assert other.frames.shape == (9, 16, 48, 3) and other.latents is None and other.kind is MediaKind.VIDEO
