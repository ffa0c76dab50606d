"""The MLLM's training: packing equal to the product's processor, exchanges that answer themselves, a loss that falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from vogue.engines.processor import VisionProcessor
from vogue.lab.train.dialogue import KINDS, draw_exchange, inventory
from vogue.lab.train.mllm import IMAGE_MEAN, IMAGE_STD, MLLMTask, pack_frames, world_sentences
from vogue.lab.train.tokenizer import SPECIAL_TOKENS, build_tokenizer
from vogue.lab.world.scene import Scene, Subject
from vogue.schemas.presets import get_preset


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer(world_sentences(20, 0, get_preset("mini").prompts))


def test_packing_is_the_processors() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 64, 64, 3), dtype=np.uint8)
    processor = VisionProcessor(
        patch_size=8, temporal_patch_size=2, merge_size=2, min_pixels=4096, max_pixels=4096,
        image_mean=IMAGE_MEAN, image_std=IMAGE_STD,
    )  # fmt: skip
    values, grids = pack_frames(clips)
    wanted = [processor.video(clip) for clip in clips]
    torch.testing.assert_close(values, torch.cat([one.values for one in wanted]).float(), atol=1e-4, rtol=1e-4)
    assert [tuple(grid) for grid in grids.tolist()] == [one.grid for one in wanted]
    values, _ = pack_frames(clips[:1, :1])
    torch.testing.assert_close(values, processor.image(clips[0, 0]).values.float(), atol=1e-4, rtol=1e-4)


def test_tokenizer_keeps_any_text(tokenizer: Tokenizer) -> None:
    text = "Ein Löwe 🦁 springt\nüber 12 Zäune. "
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    for token in SPECIAL_TOKENS:
        assert len(tokenizer.encode(token).ids) == 1


def test_exchanges_are_drawn_the_same_again() -> None:
    for kind in KINDS:
        first, again = draw_exchange(kind, 3, 0), draw_exchange.__wrapped__(kind, 3, 0)
        assert (first.text, first.answer) == (again.text, again.answer)
        assert first.text
        assert first.answer


def test_inventory_says_what_is_there() -> None:
    scene = Scene("sky", "none", (Subject("star", "red", "plain", "large", 10, 12, "left"),))
    assert (
        inventory(scene, motion=True, detail=True)
        == "red star plain moving left large in the top left corner, sky, none"
    )
    assert inventory(scene, motion=False, detail=False) == "red star plain, sky, none"


def test_mllm_learns(tokenizer: Tokenizer) -> None:
    task = MLLMTask(tokenizer, batch=4, pool=4, width=32, layers=1, vision_width=32)
    losses = []
    for step in range(24):
        loss, _ = task.loss(np.random.default_rng(step % 6), torch.Generator())
        loss.backward()
        task.optimizers.step(1.0)
        losses.append(float(loss.detach()))
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
