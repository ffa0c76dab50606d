"""Schedule, guidance, layout and loop: their laws, on any sizes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vogue.engines.guidance import combine, passes_for
from vogue.engines.layout import Conditions, arrange, free_frames
from vogue.engines.port import Row
from vogue.engines.sampling import Denoising, denoise, get_noise, prepare, tick
from vogue.engines.schedule import get_schedule, timesteps_of
from vogue.engines.tiers import is_guided
from vogue.schemas.config import ScheduleConfig, Tier
from vogue.schemas.errors import RequestInvalid, ShapeUnsupported
from vogue.schemas.stages import Pass

SCHEDULE = ScheduleConfig(shift=7.0)
SCALES = st.floats(0.0, 20.0, allow_nan=False, width=32)


class Attraction:
    """An engine whose velocity pulls every frame towards its row's context, and tells what it was given."""

    def __init__(self) -> None:
        self.calls: list[list[Row]] = []

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        self.calls.append(list(rows))
        return [row.latents - row.context.mean() + row.timestep / 1000 for row in rows]


def contexts(*passes: Pass) -> dict[Pass, Tensor]:
    return {which: torch.full((2, 3), float(i)) for i, which in enumerate(passes or tuple(Pass))}


def job(conditions: Conditions | None = None, steps: int = 4, seed: int = 0, **changes: float) -> Denoising:
    scales = {"guidance": 5.0, "image_guidance": 2.0, **changes}
    noise = get_noise((4, 3, 2, 2), seed)
    return prepare(noise, contexts(), conditions or Conditions(), steps, **scales, schedule=SCHEDULE)


@given(steps=st.integers(1, 200), shift=st.floats(0.5, 20.0))
def test_sigmas_fall_from_one_to_zero(steps: int, shift: float) -> None:
    config = ScheduleConfig(shift=shift)
    sigmas = get_schedule(steps, config)
    assert len(sigmas) == steps + 1
    assert sigmas[0].item() == pytest.approx(1.0)
    assert sigmas[-1] == 0.0
    assert (sigmas.diff() < 0).all()
    assert torch.equal(timesteps_of(sigmas, config), sigmas * 1000)


def test_the_schedule_of_the_release() -> None:
    timesteps = timesteps_of(get_schedule(3, SCHEDULE), SCHEDULE)
    torch.testing.assert_close(timesteps, torch.tensor([1000.0, 933.33337, 777.77783, 0.0]), rtol=0, atol=1e-4)


@given(g=SCALES, h=SCALES)
def test_scales_decide_the_passes(g: float, h: float) -> None:
    passes = passes_for(g, h)
    assert passes[-1] is Pass.CONDITIONAL
    assert len(passes) == (1 if g <= 1 else 2 if h <= 1 else 3)


@given(g=SCALES, h=SCALES, value=st.floats(-5, 5, width=32))
def test_agreeing_passes_are_a_fixed_point(g: float, h: float, value: float) -> None:
    same = {which: torch.full((1, 2), value) for which in Pass}
    torch.testing.assert_close(combine(same, g, h), same[Pass.CONDITIONAL])


def test_three_passes_combine_as_written() -> None:
    v = {Pass.UNCONDITIONAL: torch.tensor(1.0), Pass.NEGATIVE: torch.tensor(2.0), Pass.CONDITIONAL: torch.tensor(4.0)}
    assert combine(v, 7.0, 3.0) == 1 + 3 * (2 - 1) + 7 * (4 - 2)
    assert combine(v, 7.0, 1.0) == 2 + 7 * (4 - 2)
    assert combine(v, 1.0, 3.0) == 4
    with pytest.raises(RequestInvalid, match="negtxt"):
        combine({Pass.CONDITIONAL: v[Pass.CONDITIONAL]}, 7.0, 1.0)


@given(references=st.integers(0, 3), frames=st.integers(2, 6), source=st.integers(0, 6), held=st.booleans())
def test_the_sequence_is_references_target_source(references: int, frames: int, source: int, held: bool) -> None:
    def numbered(start: int, count: int) -> Tensor:
        return torch.arange(start, start + count).view(1, count, 1, 1).expand(2, count, 2, 2).float()

    conditions = Conditions(
        references=[numbered(100 + i, 1) for i in range(references)],
        source=numbered(200, source) if source else None,
        first_frame=numbered(0, 1) if held else None,
    )
    target = numbered(0, frames)
    sequence = arrange(target, conditions, Pass.CONDITIONAL)
    order = [100 + i for i in range(references)] + list(range(frames)) + [200 + i for i in range(source)]
    assert sequence[0, :, 0, 0].tolist() == order
    bare = arrange(target, conditions, Pass.UNCONDITIONAL)
    assert torch.equal(bare, target[:, int(held) :])
    for which, whole in ((Pass.CONDITIONAL, sequence), (Pass.NEGATIVE, sequence), (Pass.UNCONDITIONAL, bare)):
        assert torch.equal(free_frames(whole, frames, conditions, which), target[:, int(held) :])


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(references=[torch.zeros(4, 1, 2, 3)]),
        Conditions(references=[torch.zeros(4, 2, 2, 2)]),
        Conditions(source=torch.zeros(3, 3, 2, 2)),
        Conditions(first_frame=torch.zeros(4, 1, 4, 2)),
    ],
)
def test_conditions_that_do_not_fit_are_refused(conditions: Conditions) -> None:
    with pytest.raises(ShapeUnsupported):
        job(conditions)


def test_conditions_stay_clean_and_a_first_frame_stays_to_the_bit() -> None:
    conditions = Conditions(
        references=[torch.randn(4, 1, 2, 2)], source=torch.randn(4, 2, 2, 2), first_frame=torch.randn(4, 1, 2, 2)
    )
    engine = Attraction()
    [latents] = denoise(engine, [job(conditions)])
    assert torch.equal(latents[:, :1], conditions.first_frame)
    for rows in engine.calls:
        bare, negative, full = rows
        assert bare.latents.shape[1] == 2  # the target without its held frame
        assert torch.equal(negative.latents, full.latents)
        assert torch.equal(full.latents[:, :1], conditions.references[0])
        assert torch.equal(full.latents[:, -2:], conditions.source)


def test_jobs_of_different_lengths_share_ticks_and_end_as_alone() -> None:
    def make() -> list[Denoising]:
        return [job(steps=5, seed=1), job(steps=2, seed=2, guidance=1.0), job(steps=3, seed=3, image_guidance=1.0)]

    engine = Attraction()
    together = denoise(engine, make())
    assert [len(rows) for rows in engine.calls] == [6, 6, 5, 3, 3]
    for alone, shared in zip(make(), together, strict=True):
        assert torch.equal(denoise(Attraction(), [alone])[0], shared)


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_a_resumed_job_of_the_fast_tier_ends_as_if_it_had_never_stopped(stop: int) -> None:
    conditions = Conditions(first_frame=torch.randn(4, 1, 2, 2))

    def fast(latents: Tensor, done: int = 0, memory: Tensor | None = None) -> Denoising:
        return prepare(
            latents, contexts(), conditions, 4, 5.0, 2.0, SCHEDULE, steps_done=done, tier=Tier.FAST, memory=memory
        )

    [whole] = denoise(Attraction(), [fast(get_noise((4, 3, 2, 2), 0))])
    first = fast(get_noise((4, 3, 2, 2), 0))
    for _ in range(stop):
        tick(Attraction(), [first])
    assert torch.equal(denoise(Attraction(), [fast(first.target, stop, first.memory)])[0], whole)
    assert not torch.allclose(denoise(Attraction(), [job(conditions)])[0], whole)


class Curve:
    """An engine whose flow is known: from noise to a normal distribution of deviation 0.6."""

    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        velocities = []
        for row in rows:
            sigma = row.timestep / 1000
            clean = row.latents * (0.36 * (1 - sigma)) / (0.36 * (1 - sigma) ** 2 + sigma**2)
            velocities.append((row.latents - clean) / sigma)
        return velocities


def test_the_fast_tier_comes_nearer_in_as_many_steps() -> None:
    noise, schedule = get_noise((4, 3, 2, 2), 0), ScheduleConfig(shift=3.0)

    def error(steps: int, tier: Tier) -> float:
        one = prepare(noise, contexts(), Conditions(), steps, 1.0, 1.0, schedule, tier=tier)
        return float((denoise(Curve(), [one])[0] - 0.6 * noise).abs().max())

    for steps in (6, 8, 12):
        assert error(steps, Tier.FAST) < 0.9 * error(steps, Tier.EXACT)
    assert error(20, Tier.FAST) < 0.2 * error(20, Tier.EXACT)


def test_the_fast_tier_leaves_guidance_out_of_every_other_late_step() -> None:
    engine = Attraction()
    one = prepare(get_noise((4, 3, 2, 2), 0), contexts(), Conditions(), 8, 5.0, 2.0, SCHEDULE, tier=Tier.FAST)
    denoise(engine, [one])
    assert [len(rows) for rows in engine.calls] == [3, 3, 3, 3, 1, 3, 1, 3]
    assert [is_guided(step, 8, Tier.EXACT) for step in range(8)] == [True] * 8


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_a_resumed_job_ends_as_if_it_had_never_stopped(stop: int) -> None:
    conditions = Conditions(first_frame=torch.randn(4, 1, 2, 2))
    [whole] = denoise(Attraction(), [job(conditions)])
    first = job(conditions)
    for _ in range(stop):
        tick(Attraction(), [first])
    again = prepare(first.target, contexts(), conditions, 4, 5.0, 2.0, SCHEDULE, steps_done=stop)
    assert torch.equal(denoise(Attraction(), [again])[0], whole)


def test_a_cancelled_job_stops_within_a_step_and_leaves_the_others_running() -> None:
    jobs = [job(steps=6, seed=1), job(steps=6, seed=2)]
    denoise(Attraction(), jobs, lambda index, one: not (index == 0 and one.steps_done == 2))
    assert [one.steps_done for one in jobs] == [2, 6]
    assert jobs[0].cancelled


def test_noise_depends_on_shape_and_seed_only() -> None:
    assert torch.equal(get_noise((1, 2, 3, 4), 7), get_noise((1, 2, 3, 4), 7))
    assert not torch.equal(get_noise((1, 2, 3, 4), 7), get_noise((1, 2, 3, 4), 8))


def test_a_job_that_cannot_be_stepped_is_refused() -> None:
    noise = get_noise((4, 3, 2, 2), 0)
    with pytest.raises(RequestInvalid, match="uncond"):
        prepare(noise, contexts(Pass.CONDITIONAL, Pass.NEGATIVE), Conditions(), 3, 5.0, 2.0, SCHEDULE)
    with pytest.raises(RequestInvalid, match="checkpoint"):
        prepare(noise, contexts(), Conditions(), 3, 5.0, 2.0, SCHEDULE, steps_done=4)
    with pytest.raises(ShapeUnsupported, match="at least 5"):
        prepare(noise[:, :1], contexts(), Conditions(first_frame=noise[:, :1]), 3, 5.0, 2.0, SCHEDULE)
