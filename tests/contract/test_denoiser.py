"""The contract of the `Denoiser` port: a job's life hangs on no connection, and a resumed job ends as if never stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vogue.schemas.config import Task, Tier
from vogue.schemas.errors import JobNotFound
from vogue.schemas.stages import DenoiseEvent, DenoiseJob, LatentCheckpoint, Pass

STEPS = 6


@pytest.fixture
def job(implementation: Any, request: pytest.FixtureRequest) -> DenoiseJob:
    rng = np.random.default_rng(0)
    width = implementation.preset.connector.out_dim
    contexts = {
        name: implementation.blobs.put_tensor(rng.standard_normal((rows, width), dtype=np.float32))
        for name, rows in ((Pass.NEGATIVE, 3), (Pass.CONDITIONAL, 5))
    }
    return DenoiseJob(
        job_id=f"job_{request.node.name}",
        task=Task.T2V,
        contexts=contexts,
        latent_shape=(implementation.preset.vae.latent_channels, 2, 4, 4),
        steps=STEPS,
        guidance=4.0,
        image_guidance=1.0,
        seed=5,
        checkpoint_every_steps=2,
    )


async def _all(implementation: Any, job_id: str, after: int = 0) -> list[DenoiseEvent]:
    events = [event async for event in implementation.ports.denoiser.events(job_id, after)]
    assert [event.seq for event in events] == list(range(after + 1, after + 1 + len(events)))
    assert [event.final for event in events] == [False] * (len(events) - 1) + [True]
    return events


async def test_events_count_finished_steps_and_carry_checkpoints(implementation: Any, job: DenoiseJob) -> None:
    await implementation.ports.denoiser.start(job)
    events = await _all(implementation, job.job_id)
    assert [(event.kind, event.steps_done) for event in events] == [
        ("step", 1),
        ("step", 2),
        ("checkpoint", 2),
        ("step", 3),
        ("step", 4),
        ("checkpoint", 4),
        ("step", 5),
        ("step", 6),
        ("completed", 6),
    ]
    assert all(event.steps_total == STEPS for event in events)
    for event in events:
        assert (event.latents is None) is (event.kind == "step")
        assert event.latents is None or event.latents.shape == job.latent_shape


async def test_listeners_come_and_go(implementation: Any, job: DenoiseJob) -> None:
    denoiser = implementation.ports.denoiser
    await denoiser.start(job)
    listener = denoiser.events(job.job_id)
    first = await anext(listener)
    await listener.aclose()
    late = await _all(implementation, job.job_id, after=first.seq)
    assert late[0].seq == first.seq + 1
    whole = await _all(implementation, job.job_id)
    assert whole[1:] == late


async def test_starting_twice_changes_nothing(implementation: Any, job: DenoiseJob) -> None:
    await implementation.ports.denoiser.start(job)
    await implementation.ports.denoiser.start(job)
    events = await _all(implementation, job.job_id)
    await implementation.ports.denoiser.start(job)
    assert await _all(implementation, job.job_id) == events


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_resumed_job_ends_as_if_it_had_never_stopped(implementation: Any, job: DenoiseJob, tier: Tier) -> None:
    job = job.model_copy(update={"tier": tier})
    await implementation.ports.denoiser.start(job)
    whole = await _all(implementation, job.job_id)
    checkpoint = next(event for event in whole if event.kind == "checkpoint" and event.steps_done == 4)
    assert checkpoint.latents is not None
    resumed_job = job.model_copy(update={"job_id": job.job_id + "-resumed"})
    resume_from = LatentCheckpoint(
        job_id=resumed_job.job_id, steps_done=4, latents=checkpoint.latents, memory=checkpoint.memory
    )
    await implementation.ports.denoiser.start(resumed_job, resume_from)
    rest = await _all(implementation, resumed_job.job_id)
    assert [event.steps_done for event in rest] == [5, 6, 6]
    assert rest[-1].latents == whole[-1].latents


async def test_the_seed_decides(implementation: Any, job: DenoiseJob) -> None:
    results = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        one = job.model_copy(update={"job_id": f"{job.job_id}-{name}", "seed": seed})
        await implementation.ports.denoiser.start(one)
        results[name] = (await _all(implementation, one.job_id))[-1].latents
    assert results["a"] == results["b"] != results["c"]


async def test_cancel_stops_within_one_step(implementation: Any, job: DenoiseJob) -> None:
    long = job.model_copy(update={"steps": 200})
    denoiser = implementation.ports.denoiser
    await denoiser.start(long)
    seen = 0
    async for event in denoiser.events(long.job_id):
        seen = event.steps_done
        if seen == 3:
            break
    await denoiser.cancel(long.job_id)
    events = await _all(implementation, long.job_id)
    assert events[-1].kind == "cancelled"
    # One step may be under way when the word arrives, and one more may have ended before it was sent.
    assert events[-1].steps_done < 200
    await denoiser.cancel(long.job_id)
    await denoiser.cancel("job_unknown")


async def test_jobs_that_share_ticks_end_as_they_do_alone(implementation: Any, job: DenoiseJob) -> None:
    denoiser, blobs = implementation.ports.denoiser, implementation.blobs
    rng = np.random.default_rng(1)
    longer = {
        name: blobs.put_tensor(rng.standard_normal((rows, implementation.preset.connector.out_dim), dtype=np.float32))
        for name, rows in ((Pass.UNCONDITIONAL, 2), (Pass.NEGATIVE, 9), (Pass.CONDITIONAL, 13))
    }
    picture = (job.latent_shape[0], 1, *job.latent_shape[2:])
    seen = blobs.put_tensor(rng.standard_normal(picture, dtype=np.float32))
    jobs = [
        job.model_copy(update={"job_id": f"{job.job_id}-{name}", **changes})
        for name, changes in {
            "same": {},
            "seed": {"seed": 7},
            "steps": {"steps": 3, "seed": 8},
            "contexts": {"contexts": longer, "guidance": 2.0, "seed": 9},
            "one-pass": {"guidance": 1.0, "seed": 10},
            "picture": {"latent_shape": picture, "seed": 11},
            "edit": {"contexts": longer, "source": seen, "image_guidance": 1.5, "seed": 12},
        }.items()
    ]
    for one in jobs:
        await denoiser.start(one)
    together = {one.job_id: (await _all(implementation, one.job_id))[-1] for one in jobs}
    for one in jobs:
        alone = one.model_copy(update={"job_id": one.job_id + "-alone"})
        await denoiser.start(alone)
        end = (await _all(implementation, alone.job_id))[-1]
        assert end.kind == together[one.job_id].kind == "completed"
        there, here = (blobs.get_tensor(ref.latents) for ref in (together[one.job_id], end))
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-4)


async def test_a_failure_is_an_event(implementation: Any, job: DenoiseJob) -> None:
    latents = implementation.blobs.put_tensor(np.zeros(job.latent_shape, np.float32))
    gone = latents.model_copy(update={"sha256": "0" * 64})
    await implementation.ports.denoiser.start(job.model_copy(update={"source": gone}))
    (event,) = await _all(implementation, job.job_id)
    assert event.kind == "failed"
    assert event.error is not None
    assert event.error.code == "service_unavailable"
    # After a failure the same job may be tried again.
    await implementation.ports.denoiser.start(job)
    assert (await _all(implementation, job.job_id))[-1].kind == "completed"


async def test_an_unknown_job(implementation: Any) -> None:
    with pytest.raises(JobNotFound, match="job_unknown"):
        await anext(implementation.ports.denoiser.events("job_unknown"))
