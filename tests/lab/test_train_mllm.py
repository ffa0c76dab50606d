"""The MLLM's training: packing equal to the product's processor, exchanges that answer themselves, a loss that falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from vogue.engines.processor import VisionProcessor
from vogue.lab.train.__main__ import main
from vogue.lab.train.budget import Budget
from vogue.lab.train.dialogue import KINDS, draw_exchange, inventory
from vogue.lab.train.eyes import EyesTask, give_eyes
from vogue.lab.train.mllm import MLLMTask, world_sentences
from vogue.lab.train.phrases import NAMED, Phrases
from vogue.lab.train.pupil import IMAGE_MEAN, IMAGE_STD, open_pupil, pack_frames
from vogue.lab.train.sights import SEEN, draw_sight
from vogue.lab.train.tokenizer import SPECIAL_TOKENS, build_tokenizer
from vogue.lab.train.trainer import Settings, Trainer
from vogue.lab.world.exercises import sample_exercise
from vogue.lab.world.scene import CANVAS_PX, Scene, Subject
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


@pytest.mark.parametrize("kind", ["picture", "clip", "drawing"])
def test_sights_are_drawn_the_same_again(kind: str) -> None:
    first, again = draw_sight(kind, 5, 0), draw_sight(kind, 5, 0)  # type: ignore[arg-type]
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.labels, again.labels)
    tokens = (len(first.frames) + 1) // 2
    assert first.labels.shape == (tokens, 4, 4, len(SEEN))
    assert first.places.shape == (tokens, 4, 4, 5)
    for index, values in enumerate(SEEN.values()):
        assert 0 <= first.labels[..., index].min() <= first.labels[..., index].max() <= len(values)


def test_sight_of_a_drawing_tells_what_is_asked_of_whom() -> None:
    orders = list(SEEN["asked"])
    found = set()
    for index in range(24):
        sight = draw_sight("drawing", index, 0)
        rng = np.random.default_rng((0, 557, 2, index))
        case = sample_exercise(("drawn_edit", "drawn_motion")[int(rng.integers(2))], index)
        assert case.edit is not None
        assert case.edit.before is not None
        asked = sight.labels[0, ..., list(SEEN).index("asked")]
        told = {orders[value - 1] for value in np.unique(asked[asked > 0])}
        assert told == {"delete" if case.edit.kind == "delete" else case.edit.value}
        row, column = int(case.edit.before.y) // 16, int(case.edit.before.x) // 16
        assert asked[row, column] > 0
        x, y = sight.places[0, row, column, 3:]
        assert abs(x * CANVAS_PX - case.edit.before.x) < 1
        assert abs(y * CANVAS_PX - case.edit.before.y) < 1
        found |= told
    assert len(found) > 4


def test_mllm_run_looks_averages_and_goes_on(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vogue.lab.train.mllm.HELD_OUT", 4)
    monkeypatch.setattr("vogue.lab.train.mllm.KINDS", {"t2i": 0.5, "see_image": 0.5})
    monkeypatch.setattr("vogue.lab.train.mllm.SIGHTS", {"picture": (0.3, 4), "clip": (0.3, 2), "drawing": (0.2, 4)})

    def run(steps: int) -> Trainer:
        task = MLLMTask(tokenizer, batch=4, pool=4, width=32, layers=1, vision_width=32)
        settings = Settings(folder=tmp_path, ema_decay=0.9, report_every_steps=4, evaluate_every_s=0.0)
        return Trainer(task, Budget(steps=steps), settings)

    first = run(8)
    first.run()
    again = run(12)
    again.restore()
    assert again.budget.step == 8
    again.run()
    assert {"eval_picture shape", "eval_clip motion", "eval_drawing asked"} <= set(
        (tmp_path / "mllm.jsonl").read_text().split('"')
    )


def test_words_tell_who_is_spoken_of(tokenizer: Tokenizer) -> None:
    text = "a red star and a striped blue ring moving left"
    ids = tokenizer.encode(text).ids
    names = list(NAMED.values())
    told = {
        tokenizer.decode([token]).strip(): tuple(
            values[at - 1] if at else "" for values, at in zip(names, row, strict=True)
        )
        for token, row in zip(ids, Phrases(tokenizer).read(ids), strict=True)
    }
    nobody = ("", "", "")
    assert told["red"] == told["striped"] == told["blue"] == nobody
    assert told["star"] == told["and"] == ("star", "red", "plain")
    assert told["ring"] == told["left"] == ("ring", "blue", "striped")


def test_cover_of_a_sight_is_its_subjects_outline() -> None:
    sight = draw_sight("picture", 3, 0)
    cells = sight.cover[0].reshape(4, 4, 8, 8).swapaxes(1, 2).reshape(32, 32)
    seen = sight.labels[0, ..., 0] > 0
    assert cells.max() == 1
    assert cells.min() == 0
    assert (cells.reshape(4, 8, 4, 8).mean((1, 3))[seen] > 0).all()


def test_eyes_learn_and_go_into_the_mllm(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vogue.lab.train.eyes.HELD_OUT", 4)
    task = EyesTask(tokenizer, batch=8, width=32, layers=1, vision_width=32)
    run = Trainer(task, Budget(steps=80), Settings(folder=tmp_path, ema_decay=0.9, warmup_steps=5))

    def asked() -> float:
        return sum(float(task.loss(np.random.default_rng(seed), torch.Generator())[0]) for seed in range(4))

    with torch.no_grad():
        before = asked()
    for _ in range(80):
        run.step()
    with torch.no_grad():
        assert asked() < 0.8 * before
    assert set(task.evaluate(run.averaged(), tmp_path, 80)) == {
        "picture shape", "picture color", "picture material", "drawing asked",
    }  # fmt: skip
    run.save()
    state = torch.load(tmp_path / "eyes.pt", weights_only=True)["average"]
    pupil = open_pupil(tokenizer, width=32, layers=1, vision_width=32)
    given = pupil.state_dict()
    give_eyes(state, given)
    pupil.load_state_dict(given)
    frames = draw_sight("picture", 1, 0).frames[None]
    with torch.no_grad():
        seen = pupil.mllm.model.visual(*pack_frames(frames)).pooler_output
        averaged = run.averaged()
        assert averaged is not None
        torch.testing.assert_close(averaged(frames)[0], seen, atol=0.05, rtol=0.05)


def test_looking_leaves_nothing_behind(tokenizer: Tokenizer) -> None:
    eyes, whole = (kind(tokenizer, batch=4, width=32, layers=1, vision_width=32) for kind in (EyesTask, MLLMTask))
    eyes.loss(np.random.default_rng(0), torch.Generator())
    whole._look("picture", np.arange(2))
    for merger in (eyes.network.visual.merger, whole.network.mllm.model.visual.merger):
        assert not merger._forward_hooks


def test_eyes_are_handed_over_once(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    Trainer(EyesTask(tokenizer, batch=2), Budget(steps=1), Settings(folder=tmp_path, ema_decay=0.9)).save()
    assert main(["give-eyes", "--run", str(tmp_path)]) == 0
    eyes = torch.load(tmp_path / "eyes.pt", weights_only=True)["average"]
    kept = torch.load(tmp_path / "mllm.pt", weights_only=True)
    for state in (kept["network"], kept["average"]):
        assert torch.equal(state["mllm.model.visual.merger.ln_q.weight"], eyes["visual.merger.ln_q.weight"])
        assert torch.equal(state["mllm.model.visual.blocks.0.attn.qkv.weight"], eyes["visual.blocks.0.attn.qkv.weight"])
        assert torch.equal(state["eyes.1.weight"], eyes["eyes.1.weight"])
    assert kept["step"] == 0
