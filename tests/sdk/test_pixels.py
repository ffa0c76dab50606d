"""Arrays and PIL images become files that the server reads back pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vogue.engines.media import probe, read_image, read_video
from vogue.pixels import Clip, encode_pixels
from vogue.schemas.errors import MediaUnreadable

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 18, 26, 3), dtype=np.uint8)


def test_a_clip_comes_back_as_it_was(tmp_path: Path, ffmpeg_path: Path) -> None:
    name, data = encode_pixels(Clip(PIXELS, fps=12.0))
    path = tmp_path / name
    path.write_bytes(data)
    info = probe(path)
    assert (info.kind, info.num_frames, float(info.fps or 0)) == ("video", 5, 12.0)
    assert np.array_equal(read_video(path, max_frames=5).frames, PIXELS)


@pytest.mark.parametrize("media", [PIXELS[0], PIXELS[:1], Image.fromarray(PIXELS[0]), np.asfortranarray(PIXELS[0])])
def test_a_picture_comes_back_as_it_was(media: object, tmp_path: Path) -> None:
    name, data = encode_pixels(media)  # type: ignore[arg-type]
    path = tmp_path / name
    path.write_bytes(data)
    assert probe(path).kind == "image"
    assert np.array_equal(read_image(path), PIXELS[0])


@pytest.mark.parametrize(
    "media",
    [
        PIXELS.astype(np.float32),
        PIXELS[..., :2],
        PIXELS[0, 0],
        PIXELS[:0],
        Clip(PIXELS, fps=0.0),
        Clip(PIXELS, fps=float("nan")),
        Image.new("F", (3, 3)),
    ],
)
def test_what_is_no_picture(media: object) -> None:
    with pytest.raises(MediaUnreadable):
        encode_pixels(media)  # type: ignore[arg-type]
