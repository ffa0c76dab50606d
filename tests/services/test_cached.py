"""What was encoded once is looked up: a second turn does not encode its source again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Role
from vogue.schemas.references import MediaKind, PreparedVisual
from vogue.schemas.stages import EncodeVisualRequest


async def test_a_repeated_encode_is_a_lookup(tiny_codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, codec = tiny_codec
    calls = []
    encode = codec._encode
    monkeypatch.setattr(codec, "_encode", lambda request: (calls.append(request), encode(request))[1])

    def request(value: int, tag: str = "image1", width_px: int = 32) -> EncodeVisualRequest:
        frames = blobs.put_tensor(np.full((1, 32, 32, 3), value, np.uint8))
        visual = PreparedVisual(tag=tag, role=Role.SOURCE, kind=MediaKind.IMAGE, frames=frames, fps=8.0)
        return EncodeVisualRequest(visual=visual, height_px=32, width_px=width_px)

    first = await codec.encode(request(7))
    assert await codec.encode(request(7)) == first
    assert await codec.encode(request(7, tag="image2")) == first
    assert len(calls) == 1
    await codec.encode(request(8))
    await codec.encode(request(7, width_px=48))
    assert len(calls) == 3
