"""Arbitrary and damaged bytes: a result or a typed error, never another exception."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vogue.engines.media import (
    Container,
    MediaLimits,
    frames_from_bytes,
    frames_to_bytes,
    load_frames,
    probe,
    read_image,
    read_video,
    save_frames,
    sniff_bytes,
)
from vogue.engines.media.orientation import Orientation
from vogue.engines.media.samples import card, write_sample
from vogue.schemas.errors import LimitExceeded, MediaUnreadable

REFUSALS = (MediaUnreadable, LimitExceeded)
LIMITS = MediaLimits(max_pixels=1_000_000, max_frames=64, wall_time_s=20, memory_bytes=1 << 30)

MAGIC = st.sampled_from(
    [
        *(b"", b"#EXTM3U\n", b"<svg"),
        *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\0\0\0WEBP"),
        *(b"RIFF\x40\0\0\0AVI ", b"\x1aE\xdf\xa3", b"\0\0\0\x18ftypisom", b"\0\0\0\x08moov", b"\0\0\0\0mdat"),
    ]
)
PICTURES = ["still.png", "still.gif", "animation.gif", "still.webp", "animation.webp", "turned.jpg", "animation.png"]
VIDEOS = ["clip.mp4", "odd-size.webm", "camera.avi"]


@pytest.fixture(scope="module")
def bytes_of(tmp_path_factory: pytest.TempPathFactory, ffmpeg_path: Path) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("originals")
    known: dict[str, bytes] = {}

    def get(name: str) -> bytes:
        if name not in known:
            known[name] = write_sample(name, folder).read_bytes()
        return known[name]

    return get


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "upload.bin"


def _read(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        info = probe(path, LIMITS)
        if info.kind == "image":
            assert read_image(path, LIMITS).shape == (info.height_px, info.width_px, 3)
        elif info.kind == "video" and info.container.is_picture:
            read_video(path, LIMITS, max_frames=2)
    except REFUSALS as error:
        assert error.message


@given(magic=MAGIC, body=st.binary(max_size=300))
@example(magic=b"\x89PNG\r\n\x1a\n", body=b"\0\0\0\x0dIHDR" + bytes(4))
@example(magic=b"GIF89a", body=b"\x01\0\x01\0\0\0\0;")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes(target: Path, magic: bytes, body: bytes) -> None:
    _read(target, magic + body)


@pytest.mark.parametrize("name", PICTURES)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_pictures(name: str, bytes_of: Callable[[str], bytes], target: Path, data: st.DataObject) -> None:
    _read(target, _damage(bytes_of(name), data))


@pytest.mark.parametrize("name", VIDEOS)
@given(data=st.data())
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_videos(name: str, bytes_of: Callable[[str], bytes], target: Path, data: st.DataObject) -> None:
    target.write_bytes(_damage(bytes_of(name), data))
    try:
        read_video(target, LIMITS, max_frames=2)
    except REFUSALS as error:
        assert error.message


def _damage(original: bytes, data: st.DataObject) -> bytes:
    edits = data.draw(
        st.lists(st.tuples(st.integers(0, len(original) - 1), st.binary(min_size=1, max_size=4)), max_size=4)
    )
    damaged = bytearray(original)
    for at, piece in edits:
        damaged[at : at + len(piece)] = piece
    return bytes(damaged[: data.draw(st.integers(1, len(damaged)))]) if data.draw(st.booleans()) else bytes(damaged)


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\0\0\0\x20ftypisom", Container.MP4),
        (b"\0\0\0\x14ftypqt  ", Container.MP4),
        (b"\0\0\0\x08wide", Container.MP4),
        (b"\x1a\x45\xdf\xa3", Container.WEBM),
        (b"GIF87a", Container.GIF),
        (b"\xff\xd8\xff\xe0", Container.JPEG),
        (b"RIFF\0\0\0\0WEBPVP8 ", Container.WEBP),
    ],
)
def test_content_names_the_container(head: bytes, container: Container) -> None:
    assert sniff_bytes(head) is container


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "empty"),
        (b"#EXTM3U\nhttp://example.org/a.ts", "playlist"),
        (b"ffconcat version 1.0\nfile a", "playlist"),
        (b"\xef\xbb\xbf<svg/>", "SVG"),
        (b"<!doctype html>", "HTML"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"%PDF-1.7\n", "text"),
        (bytes(64), "unknown data"),
    ],
)
def test_everything_else_is_refused_with_the_reason(head: bytes, reason: str) -> None:
    with pytest.raises(MediaUnreadable, match=reason):
        sniff_bytes(head)


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientations_agree_with_pillow(tag: int) -> None:
    from PIL import Image, ImageOps

    stored = card(1)[0]
    exif = Image.Exif()
    exif[0x0112] = tag
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    assert np.array_equal(Orientation.from_exif(tag).apply(stored), expected)


@given(matrix=st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 9))
def test_any_display_matrix_is_an_orientation(matrix: tuple[int, ...]) -> None:
    assert Orientation.from_display_matrix(matrix).rotation_deg in (0, 90, 180, 270)


def test_frame_files_round_trip_without_a_copy(tmp_path: Path) -> None:
    frames = card(5, 17, 9)
    data = frames_to_bytes(frames)
    assert data == frames_to_bytes(frames.copy())
    assert np.array_equal(frames_from_bytes(data), frames)
    assert not frames_from_bytes(data).flags.owndata
    path = tmp_path / "prepared.npy"
    save_frames(frames, path)
    assert path.read_bytes() == data
    mapped = load_frames(path)
    assert np.array_equal(mapped, frames) and isinstance(mapped, np.memmap) and not mapped.flags.writeable
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 3, 3), np.uint8), np.zeros((1, 2, 2, 3)), np.zeros((0, 2, 2, 3), np.uint8)]
)
def test_frame_files_hold_nothing_else(wrong: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(MediaUnreadable):
        frames_to_bytes(wrong)
    with pytest.raises(MediaUnreadable):
        save_frames(wrong, tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())


def test_frame_files_never_unpickle(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path = tmp_path / "evil.npy"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(MediaUnreadable):
        load_frames(path)
    with pytest.raises(MediaUnreadable):
        frames_from_bytes(buffer.getvalue())


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_frame_files(target: Path, data: st.DataObject) -> None:
    damaged = _damage(frames_to_bytes(card(2, 4, 4)), data)
    target.write_bytes(damaged)
    for read in (lambda: frames_from_bytes(damaged), lambda: load_frames(target)):
        try:
            assert read().shape[3] == 3
        except MediaUnreadable as error:
            assert error.message
