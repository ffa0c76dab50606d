"""Training: loops that learn, resume to the bit and end on time; batched shortcuts that change no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vogue.engines.models.blocks import Attention
from vogue.engines.models.mmdit import MMDiT
from vogue.engines.models.rope import rope_grid
from vogue.lab.train.adopt import adopt_frozen, start_from
from vogue.lab.train.budget import Budget, learning_rate_factor
from vogue.lab.train.codec import CodecTask, DecoderTask, clip_pool, measure_latents, reshape_canvas, to_pixels
from vogue.lab.train.curve import read_log
from vogue.lab.train.export import split_generator
from vogue.lab.train.generator import Generator
from vogue.lab.train.labels import ATTRIBUTES, label
from vogue.lab.train.mmdit import flow_loss, sample_sigmas
from vogue.lab.train.optim import Optimizers
from vogue.lab.train.plain_attention import attend_plainly, use_plain_attention
from vogue.lab.train.pool import Rows
from vogue.lab.train.reading import CLASSES, reading_loss, reading_right
from vogue.lab.train.trainer import Settings, Trainer
from vogue.lab.world.scene import Scene, Subject
from vogue.schemas.config import PatchVAEConfig
from vogue.schemas.presets import get_preset

TINY = PatchVAEConfig(width=32, heads=2, encoder_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return clip_pool(tmp_path_factory.mktemp("pool") / "clips.u8", 12, seed=0)


def trainer(pool: np.ndarray, folder: Path, steps: int = 12) -> Trainer:
    return Trainer(
        CodecTask(pool, TINY, batch=4),
        Budget(steps=steps),
        Settings(folder=folder, ema_decay=0.9, warmup_steps=2, report_every_steps=3),
    )


def test_budget_counts_time_of_earlier_sittings_only() -> None:
    now = [0.0]
    budget = Budget(minutes=1, clock=lambda: now[0], used_s=30)
    budget.tick()
    now[0] = 15
    budget.tick()
    assert budget.fraction == 0.75
    assert not budget.done
    now[0] = 40
    budget.tick()
    assert budget.done


def test_budget_needs_one_measure() -> None:
    with pytest.raises(ValueError, match="minutes or steps"):
        Budget()


def test_rate_warms_up_holds_and_ends_low() -> None:
    assert learning_rate_factor(0.0, 0, warmup_steps=10) == pytest.approx(0.1)
    assert learning_rate_factor(0.2, 100) == 1.0
    assert learning_rate_factor(0.65, 100, hold=0.3) == pytest.approx(0.5)
    assert learning_rate_factor(1.0, 100) == pytest.approx(0.02)


def test_codec_learns(pool: np.ndarray, tmp_path: Path) -> None:
    run = trainer(pool, tmp_path, steps=40)
    losses = [run.step()["loss"] for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_resumed_run_is_the_unbroken_run(pool: np.ndarray, tmp_path: Path) -> None:
    whole = trainer(pool, tmp_path / "whole")
    for _ in range(6):
        whole.step()
    broken = trainer(pool, tmp_path / "broken")
    for _ in range(3):
        broken.step()
    broken.save()
    resumed = trainer(pool, tmp_path / "broken")
    resumed.restore()
    for _ in range(3):
        resumed.step()
    for key, value in whole.task.network.state_dict().items():
        assert torch.equal(value, resumed.task.network.state_dict()[key]), key
    assert whole.average is not None
    assert resumed.average is not None
    assert all(torch.equal(whole.average[key], resumed.average[key]) for key in whole.average)


def test_run_writes_log_curve_and_checkpoint(pool: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vogue.lab.train.codec.HELD_OUT", 6)
    run = trainer(pool, tmp_path, steps=6)
    run.run()
    assert [line["step"] for line in read_log(tmp_path, "codec")] == [3, 6, 6]
    assert {path.name for path in tmp_path.iterdir()} == {
        "codec.jsonl", "codec.pt", "codec-samples.png", "loss-codec.png",
    }  # fmt: skip


def test_decoder_training_leaves_latents_alone(pool: np.ndarray) -> None:
    first = CodecTask(pool, batch=2)
    measure_latents(first.network, pool, count=12)
    task = DecoderTask(pool, first.network.state_dict(), batch=2)
    pixels = to_pixels(pool[:1])
    before = task.network.encode(pixels)
    loss, _ = task.loss(np.random.default_rng(0), torch.Generator().manual_seed(0))
    loss.backward()
    task.optimizers.step(1.0)
    assert torch.equal(before, task.network.encode(pixels))
    assert before.mean().abs() < 1
    assert not torch.equal(first.network.head_group.weight, task.network.head_group.weight)


def test_other_canvases_are_whole_patches() -> None:
    pixels = torch.zeros(1, 3, 1, 64, 64)
    sizes = {tuple(reshape_canvas(pixels, np.random.default_rng(seed)).shape[-2:]) for seed in range(240)}
    assert sizes == {(64, 64), (48, 80), (80, 48), (48, 64), (64, 96)}


@pytest.mark.parametrize("masked", [False, True])
def test_plain_attention_is_the_same_attention(masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 20, 16, generator=generator)
    rope = rope_grid((5, 2, 2), (4, 6, 6), 256.0)
    mask = torch.arange(20) < torch.tensor([[20], [13]]) if masked else None
    wanted = Attention.attend(q, k, v, rope, mask)
    torch.testing.assert_close(attend_plainly(q, k, v, rope, mask), wanted, atol=1e-5, rtol=1e-4)


def test_plain_attention_replaces_every_attention() -> None:
    torch.manual_seed(0)
    network = MMDiT(get_preset("tiny").mmdit)
    inputs = (torch.randn(2, 16, 2, 4, 4), torch.tensor([10.0, 900.0]), torch.randn(2, 7, 48))
    wanted = network(*inputs)
    use_plain_attention(network)
    torch.testing.assert_close(network(*inputs), wanted, atol=1e-4, rtol=1e-3)


def test_sigmas_cover_both_ends() -> None:
    sigmas = sample_sigmas(4000, torch.Generator().manual_seed(0))
    assert ((sigmas > 0) & (sigmas <= 1)).all()
    assert 0.02 < (sigmas < 0.2).float().mean() < 0.2
    assert 0.5 < sigmas.median() < 0.8


@pytest.mark.parametrize(("held", "edit", "references"), [(0, False, 0), (1, False, 0), (0, True, 0), (0, True, 2)])
def test_generator_learns(held: int, edit: bool, references: int) -> None:
    torch.manual_seed(0)
    network = Generator(get_preset("tiny"))
    optimizers = Optimizers(network.named_parameters(), muon_lr=5e-3, adam_lr=5e-3)
    data = torch.Generator().manual_seed(1)
    rows = Rows(
        target=torch.randn(8, 16, 2, 4, 4, generator=data),
        source=torch.randn(8, 16, 2, 4, 4, generator=data) if edit else None,
        references=torch.randn(8, 16, references, 4, 4, generator=data) if references else None,
        states=torch.randn(8, 5, 32, generator=data),
        mask=torch.ones(8, 5, dtype=torch.bool),
        weight=torch.rand(8, 2, 4, 4, generator=data),
        labels=torch.randint(0, 3, (8, 8, 4), generator=data),
        places=torch.randn(8, 8, 3, generator=data),
    )
    losses, readings = [], []
    for step in range(30):
        loss = flow_loss(network, rows, held, torch.Generator().manual_seed(step % 3))
        before = 4 * references
        reading = network.reading()[:, before : before + rows.labels.shape[1]]
        readings.append(reading_loss(reading, rows.labels, rows.places))
        loss = loss + 0.2 * readings[-1]
        loss.backward()
        optimizers.step(1.0)
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])
    assert readings[-1] < readings[0]


def test_labels_say_what_each_patch_shows() -> None:
    star = Subject("star", "red", "plain", "large", 24.0, 24.0, "right")
    labels, places = label(Scene("navy", "none", (star,)), 17)
    assert labels.shape == (5, 4, 4, len(ATTRIBUTES)) and places.shape == (5, 4, 4, 3)
    named = [1 + values.index(getattr(star, name)) for name, values in ATTRIBUTES.items()]
    assert labels[0, 1, 1].tolist() == named and labels[-1, 1, 3].tolist() == named
    assert not labels[0, :, 3].any() and not labels[-1, :, 0].any()
    assert places[0, 1, 1].tolist() == [0.0, 0.0, 0.75]


def test_a_right_reading_is_told_from_a_wrong_one() -> None:
    labels, _ = label(Scene("navy", "none", (Subject("star", "red", "plain", "large", 24.0, 24.0, "right"),)), 17)
    facts = torch.from_numpy(labels).flatten(0, 2)[None].long()  # [1, N, attributes]
    exact = [torch.nn.functional.one_hot(facts[..., index], count) for index, count in enumerate(CLASSES)]
    reading = torch.cat([*exact, torch.zeros(*facts.shape[:2], 3)], dim=-1).float()
    assert set(reading_right(reading, facts).values()) == {1.0}
    reading[..., : CLASSES[0]] = reading[..., : CLASSES[0]].roll(1, dims=-1)
    assert reading_right(reading, facts) == {"shape": 0.0, "color": 1.0, "material": 1.0, "motion": 1.0}


def test_nobody_is_in_an_empty_scene() -> None:
    labels, places = label(Scene("navy", "none", ()), 1)
    assert labels.shape == (1, 4, 4, len(ATTRIBUTES)) and not labels.any() and not places.any()


def test_export_parts_the_generator() -> None:
    network = Generator(get_preset("tiny"))
    parts = split_generator(network.state_dict())
    assert parts["connector"].keys() == network.connector.state_dict().keys()
    assert parts["mmdit"].keys() == network.mmdit.state_dict().keys()


def test_shipped_weights_can_be_trained_on(tmp_path: Path) -> None:
    shipped = Generator(get_preset("tiny"))
    weights = tmp_path / "weights"
    weights.mkdir()
    for name, part in split_generator(shipped.state_dict()).items():
        save_file({key: value.clone() for key, value in part.items()}, weights / f"{name}.safetensors")
    fresh = Generator(get_preset("tiny"))
    start_from(weights, fresh)
    torch.testing.assert_close(split_generator(fresh.state_dict()), split_generator(shipped.state_dict()))


def test_adopting_never_overwrites_a_run(tmp_path: Path) -> None:
    (tmp_path / "mllm").mkdir()
    with pytest.raises(FileExistsError, match="new run folder"):
        adopt_frozen(tmp_path, tmp_path)
