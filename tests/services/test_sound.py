"""The sound of a clip stays with it when it is edited, for as long as the result lasts, from turn to turn."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from vogue.engines.media import probe
from vogue.schemas.jobs import Asset

TONE_HZ, SILENT_UNTIL_S = 440, 0.5


@pytest.fixture(scope="module")
def humming(tmp_path_factory: pytest.TempPathFactory, ffmpeg_path: Path) -> bytes:
    """Five seconds of 40 frames at 8 per second: silence for half a second, then a tone."""
    path = tmp_path_factory.mktemp("sound") / "humming.mp4"
    picture = "testsrc=size=48x32:rate=8:duration=5"
    tone = f"sine=frequency={TONE_HZ}:sample_rate=44100:duration=5,volume=enable='lt(t,{SILENT_UNTIL_S})':volume=0"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone]
    codecs = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"]
    subprocess.run([ffmpeg_path, "-loglevel", "error", *inputs, *codecs, path], check=True, timeout=120)
    return path.read_bytes()


def _heard(path: Path) -> tuple[np.ndarray[Any, Any], int]:
    """Samples [N] of the first channel and their rate."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].sample_rate


def _check(path: Path, num_frames: int) -> None:
    facts = probe(path)
    assert facts.has_audio and facts.num_frames == num_frames
    samples, rate = _heard(path)
    # A frame of AAC has 1024 samples, and the encoder begins with one of silence.
    assert abs(len(samples) / rate - num_frames / 8) <= 2 * 1024 / rate
    silent, sounding = samples[: int(0.4 * rate)], samples[int(0.65 * rate) : int(1.0 * rate)]
    assert np.abs(silent).max() < 0.02 < np.abs(sounding).max()
    spectrum = np.abs(np.fft.rfft(sounding))
    assert abs(spectrum.argmax() * rate / len(sounding) - TONE_HZ) < 10


async def _edit(house: Any, client: httpx.AsyncClient, source: str, **fields: Any) -> Asset:
    visual = {"tag": "video1", "role": "source", "upload_id": source}
    made = await client.post(
        "/v1/jobs", json={"instruction": "make it blue", "visuals": [visual], "steps": 1, **fields}
    )
    job = await house.finish(made.json()["id"])
    assert job.error is None
    clip: Asset = job.assets[0]
    return clip


async def _file(client: httpx.AsyncClient, asset: Asset, path: Path) -> Path:
    path.write_bytes((await client.get(f"/v1/assets/{asset.id}/content")).content)
    return path


async def test_an_edit_keeps_the_sound_as_long_as_it_lasts_also_the_edit_of_an_edit(
    media_house: Any, media_client: httpx.AsyncClient, humming: bytes, tmp_path: Path
) -> None:
    upload = (await media_client.post("/v1/uploads", files={"file": ("humming.mp4", humming)})).json()
    assert upload["has_audio"] and upload["num_frames"] == 40
    first = await _edit(media_house, media_client, upload["id"])
    assert first.has_audio
    _check(await _file(media_client, first, tmp_path / "first.mp4"), 9)
    second = await _edit(media_house, media_client, first.id)
    assert second.has_audio
    _check(await _file(media_client, second, tmp_path / "second.mp4"), 9)
    short = await _edit(media_house, media_client, upload["id"], num_frames=5)
    assert len(_heard(await _file(media_client, short, tmp_path / "short.mp4"))[0]) <= (5 / 8 + 0.05) * 44100


async def test_what_is_no_edit_of_a_clip_is_silent(
    media_house: Any, media_client: httpx.AsyncClient, humming: bytes, tmp_path: Path
) -> None:
    job = await media_house.make(steps=1)
    assert not job.assets[0].has_audio
    assert not probe(await _file(media_client, job.assets[0], tmp_path / "made.mp4")).has_audio


@pytest.fixture(scope="module")
def mumbling(humming: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same clip, whose packets of sound hold nothing that a decoder knows."""
    path = tmp_path_factory.mktemp("mumbling") / "humming.mp4"
    path.write_bytes(humming)
    content = bytearray(humming)
    with av.open(str(path)) as file:
        for packet in file.demux(audio=0):
            if packet.size and packet.pos is not None:
                content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    return bytes(content)


async def test_a_sound_track_that_cannot_be_read_costs_the_sound_and_not_the_edit(
    media_house: Any, media_client: httpx.AsyncClient, mumbling: bytes, tmp_path: Path
) -> None:
    upload = (await media_client.post("/v1/uploads", files={"file": ("mumbling.mp4", mumbling)})).json()
    assert upload["has_audio"]
    first = await _edit(media_house, media_client, upload["id"])
    assert not first.has_audio
    facts = probe(await _file(media_client, first, tmp_path / "first.mp4"))
    assert not facts.has_audio and facts.num_frames == 9
    (job,) = await media_house.orchestrator.list()
    assert any("sound of the source cannot be read" in notice for notice in job.notices)
    told = [event.message for event in await media_house.events(job.id) if event.kind == "notice"]
    assert any("sound of the source cannot be read" in message for message in told)
    second = await _edit(media_house, media_client, first.id)
    assert not second.has_audio
    newest = (await media_house.orchestrator.list())[0]
    assert not any("sound" in notice for notice in newest.notices)
