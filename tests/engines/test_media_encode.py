"""Files we deliver: playable in browsers, repeatable to the byte, whole or absent."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vogue.engines.media import MediaLimits, probe, read_image, read_video, write_image, write_video
from vogue.engines.media.samples import card, write_sample
from vogue.schemas.errors import JobCancelled, LimitExceeded, MediaUnreadable, RequestInvalid

pytestmark = pytest.mark.usefixtures("ffmpeg_path")


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.gif"])
def test_videos_come_back_with_their_frames_and_rate(name: str, tmp_path: Path) -> None:
    frames = card(12)
    write_video(frames, 24, tmp_path / name)
    video = read_video(tmp_path / name, max_frames=100)
    assert video.frames.shape == frames.shape
    assert float(video.fps) == pytest.approx(24, rel=0.02)
    assert np.abs(video.frames.astype(int) - frames.astype(int)).mean() < 2


def test_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write_video(card(), Fraction(30000, 1001), path, comment="a fox, red")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.profile == "High"
        assert stream.average_rate == Fraction(30000, 1001)
        assert file.metadata["comment"] == "a fox, red"
        assert "creation_time" not in file.metadata


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.gif"])
def test_equal_frames_give_equal_bytes(name: str, tmp_path: Path) -> None:
    sound = write_sample("sound.mp4", tmp_path)
    written = []
    for turn in ("first", "second"):
        path = tmp_path / f"{turn}-{name}"
        write_video(card(), 24, path, audio_from=sound)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_odd_sides_gain_a_repeated_row_and_column(tmp_path: Path) -> None:
    write_video(card(2, 47, 81), 24, tmp_path / "odd.mp4")
    frames = read_video(tmp_path / "odd.mp4", max_frames=2).frames
    assert frames.shape == (2, 48, 82, 3)
    assert np.abs(frames[:, 47].astype(int) - frames[:, 46]).max() <= 3
    write_video(card(1, 1, 1), 24, tmp_path / "dot.mp4")
    assert probe(tmp_path / "dot.mp4").num_frames == 1


@pytest.mark.parametrize("name", ["out.mp4", "out.webm"])
def test_sound_is_kept_and_cut_to_the_clip(name: str, tmp_path: Path) -> None:
    sound = write_sample("sound.mp4", tmp_path)
    path = tmp_path / name
    write_video(card(12), 24, path, audio_from=sound)
    assert probe(path).has_audio and probe(path).num_frames == 12
    with av.open(str(path)) as file:
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds == pytest.approx(0.5, abs=0.06)


def test_a_silent_source_lends_no_sound(tmp_path: Path) -> None:
    for source in ("clip.mp4", "animation.gif", "still.png"):
        write_video(card(), 24, tmp_path / "out.mp4", audio_from=write_sample(source, tmp_path))
        assert not probe(tmp_path / "out.mp4").has_audio


def test_short_sound_does_not_cut_the_picture(tmp_path: Path) -> None:
    write_video(card(60), 24, tmp_path / "out.mp4", audio_from=write_sample("sound.mp4", tmp_path))
    assert probe(tmp_path / "out.mp4").num_frames == 60


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.webp", 0), ("a.jpg", 2), ("A.PNG", 0)])
def test_pictures_come_back(name: str, tolerance: int, tmp_path: Path) -> None:
    frames = card(1)
    write_image(frames, tmp_path / name)
    assert np.abs(read_image(tmp_path / name).astype(int) - frames[0]).max() <= tolerance
    write_image(frames[0], tmp_path / f"b-{name}")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"b-{name}").read_bytes()


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match=r"\.exe"):
        write_video(card(), 24, tmp_path / "out.exe")
    with pytest.raises(RequestInvalid, match="frames per second"):
        write_video(card(), 0, tmp_path / "out.mp4")
    with pytest.raises(RequestInvalid, match="frames per second"):
        write_video(card(), float("nan"), tmp_path / "out.mp4")
    with pytest.raises(RequestInvalid, match=r"\.mp4"):
        write_image(card(1), tmp_path / "out.mp4")
    with pytest.raises(MediaUnreadable, match="float64"):
        write_video(card() / 255, 24, tmp_path / "out.mp4")
    with pytest.raises(MediaUnreadable, match="one frame"):
        write_image(card(2), tmp_path / "out.png")
    with pytest.raises(MediaUnreadable):
        write_video(card(), 24, tmp_path / "out.mp4", audio_from=write_sample("text.mp4", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def test_a_failed_or_cancelled_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with pytest.raises(LimitExceeded, match="bytes"):
        noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
        write_video(noise, 24, path, limits=MediaLimits(max_output_bytes=20_000))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(JobCancelled):
        write_video(card(), 24, path, cancel=cancel)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
