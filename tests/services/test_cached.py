"""What was encoded once is looked up: a second turn does not encode its source again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vogue.graph.state import Ports
from vogue.schemas.config import Role, Task
from vogue.schemas.jobs import JobStatus
from vogue.schemas.references import MediaKind, PreparedVisual
from vogue.schemas.sessions import ReplayTurnRequest, SessionRequest, TurnInput, TurnRequest
from vogue.schemas.stages import EncodeInstructionRequest, EncodeVisualRequest, Pass
from vogue.services.config import AppConfig


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


async def test_a_picture_is_looked_at_once_whatever_is_asked_about_it(tmp_path: Path) -> None:
    from vogue.services.understanding import UnderstandingService
    from vogue.services.workplace import Workplace

    place = Workplace(AppConfig(preset="tiny", state_dir=tmp_path))
    service = UnderstandingService.load(place)

    def request(instruction: str, *values: int) -> EncodeInstructionRequest:
        frames = [place.blobs.put_tensor(np.full((1, 32, 32, 3), value, np.uint8)) for value in values]
        visuals = tuple(
            PreparedVisual(tag=f"image{n}", role=Role.SOURCE, kind=MediaKind.IMAGE, frames=one, fps=8.0)
            for n, one in enumerate(frames, 1)
        )
        return EncodeInstructionRequest(
            task=Task.I2I_EDIT,
            instruction=instruction,
            negative_prompt="bad",
            visuals=visuals,
            passes=tuple(Pass),
            height_px=32,
            width_px=32,
        )

    def looks() -> tuple[int, int]:
        counts = {one.operation: one for one in place.counts()}
        return counts["understanding.look"].computed, counts["understanding.look"].reused

    await service.encode(request("make it blue", 7))
    assert looks() == (1, 0)  # two passes show the picture, and it is looked at once
    second = await service.encode(request("now make it red", 7))
    assert looks() == (1, 1)
    await service.encode(request("blend them", 7, 8))
    assert looks() == (2, 2)
    # What comes from the cache is what a fresh pass gives.
    fresh = UnderstandingService.load(Workplace(AppConfig(preset="tiny", state_dir=tmp_path)))
    fresh._mllm.eyes = fresh._mllm.look
    again = fresh._encode(request("now make it red", 7))
    for name, ref in second.states.items():
        assert np.array_equal(place.blobs.get_tensor(ref), place.blobs.get_tensor(again.states[name]))


class _Loaded:
    """All services of the tiny preset over one state directory, without Ray."""

    def __init__(self, state_dir: Path) -> None:
        from vogue.services.codec import CodecService
        from vogue.services.connector import ConnectorService
        from vogue.services.denoiser import DenoiserService
        from vogue.services.stepping import load_loop
        from vogue.services.understanding import UnderstandingService
        from vogue.services.workplace import Workplace

        self.place = Workplace(AppConfig(preset="tiny", state_dir=state_dir))
        self.ports = Ports(
            understanding=UnderstandingService.load(self.place),
            connector=ConnectorService.load(self.place),
            denoiser=DenoiserService(load_loop(self.place), self.place.blobs),
            codec=CodecService.load(self.place),
        )

    def computed(self) -> dict[str, int]:
        return {one.operation: one.computed for one in self.place.counts()}


async def test_the_second_turn_encodes_nothing_again(tmp_path: Path, new_house: Any) -> None:
    loaded = _Loaded(tmp_path)
    house = new_house.build(tmp_path, loaded.ports)
    await house.orchestrator.start()
    sessions = house.orchestrator.sessions
    session = await sessions.create(SessionRequest())
    clip = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    upload = await house.orchestrator.add_upload(house.blobs.put(_gif(clip), "image/gif"), "clip.gif")

    async def say(instruction: str, **fields: Any) -> dict[str, int]:
        before = loaded.computed()
        turn = await sessions.turn(session.id, TurnRequest(instruction=instruction, **fields))
        done = await house.finish(turn.job_id)
        assert done.status is JobStatus.COMPLETED, done.error
        after = loaded.computed()
        return {name: count - before.get(name, 0) for name, count in after.items()}

    first = await say("make it blue", inputs=(TurnInput(upload_id=upload.id),))
    assert first == {name: 1 for name in ("codec.prepare", "codec.encode", "understanding.look")} | {
        "connector.project": 1,
        "understanding.encode": 1,
    }
    # A second edit of the same source: only the new words are read.
    again = {"codec.prepare": 0, "codec.encode": 0, "understanding.look": 0}
    assert await say("make video1 red") == again | {"connector.project": 1, "understanding.encode": 1}
    # An edit of the last result starts from its latents: the VAE encodes nothing, its new pictures are looked at once.
    fresh = {"codec.prepare": 0, "codec.encode": 0, "understanding.look": 1}
    assert await say("now make it green") == fresh | {"connector.project": 1, "understanding.encode": 1}
    # The same words with another seed cost nothing but steps.
    turn = await sessions.replay(session.id, 3, ReplayTurnRequest(seed=99))
    before = loaded.computed()
    assert (await house.finish(turn.job_id)).status is JobStatus.COMPLETED
    assert loaded.computed() == before
    counted = {one.operation: one for one in await house.orchestrator.counts()}
    assert (counted["codec.encode"].computed, counted["understanding.look"].computed) == (1, 2)
    await house.orchestrator.close()


def _gif(frames: np.ndarray) -> bytes:
    pictures = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=125, loop=0)
    return file.getvalue()
