"""References through the whole flow on the tiny networks: each task gives what the pipeline in one process gives."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vogue.engines.conditioning import Visual
from vogue.engines.pipeline import Pipeline, Request
from vogue.graph.state import Ports
from vogue.schemas.config import Role, Task
from vogue.schemas.jobs import Job, JobStatus
from vogue.schemas.references import PreparedVisual
from vogue.schemas.requests import GenerationRequest, SelfReview, Thinking, VisualInput
from vogue.schemas.stages import PrepareRequest
from vogue.services.config import AppConfig
from vogue.services.connector import ConnectorService
from vogue.services.database import Database
from vogue.services.denoiser import DenoiserService
from vogue.services.orchestrator import OrchestratorService
from vogue.services.stepping import load_loop
from vogue.services.understanding import UnderstandingService
from vogue.services.workplace import Workplace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """The tiny networks' weights, store and cache."""
    return Workplace(AppConfig(preset="tiny", state_dir=tmp_path_factory.mktemp("state")))


@pytest.fixture
async def house(tmp_path: Path, place: Workplace, new_house: Any) -> AsyncIterator[Any]:
    """An orchestrator before the tiny networks."""
    from vogue.services.codec import CodecService

    ports = Ports(
        understanding=UnderstandingService.load(place),
        connector=ConnectorService.load(place),
        denoiser=DenoiserService(load_loop(place), place.blobs),
        codec=CodecService.load(place),
    )
    built = new_house.build(tmp_path)
    orchestrator = OrchestratorService(
        Database(tmp_path / "jobs.sqlite"), place.blobs, ports, place.preset, built.config
    )
    built = replace(built, blobs=place.blobs, ports=ports, preset=place.preset, orchestrator=orchestrator)
    await built.orchestrator.start()
    yield built
    await built.orchestrator.close()


def _file(frames: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 4, 6, 3), dtype=np.uint8)
    pictures = [Image.fromarray(one).resize((48, 32), Image.Resampling.NEAREST) for one in pixels]
    file = io.BytesIO()
    if frames == 1:
        pictures[0].save(file, "PNG")
    else:
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=125, loop=0)
    return file.getvalue()


async def _inputs(house: Any, roles: list[Role | None], frames: list[int]) -> tuple[VisualInput, ...]:
    counts = {"image": 0, "video": 0}
    visuals = []
    for number, (role, count) in enumerate(zip(roles, frames, strict=True)):
        kind = "video" if count > 1 else "image"
        counts[kind] += 1
        original = house.blobs.put(_file(count, number), "application/octet-stream")
        asset = await house.orchestrator.add_upload(original, f"{kind}{counts[kind]}")
        visuals.append(VisualInput(tag=f"{kind}{counts[kind]}", role=role, upload_id=asset.id))
    return tuple(visuals)


async def _alone(house: Any, place: Workplace, job: Job) -> Any:
    """The same request through the pipeline in one process: frames uint8 [T, H, W, 3]."""
    prepared: list[PreparedVisual] = []
    for visual in job.request.visuals:
        stored = await house.orchestrator.asset(visual.upload_id)
        prepared.append(
            await house.ports.codec.prepare(
                PrepareRequest(
                    visual=visual,
                    original=stored.artifact,
                    height_px=job.spec.height_px,
                    width_px=job.spec.width_px,
                    max_frames=job.spec.num_frames,
                )
            )
        )
    visuals = tuple(Visual(one.role, one.kind, house.blobs.get_tensor(one.frames)) for one in prepared)
    pipeline = Pipeline.load(place.preset, place.weights)
    return pipeline.generate([Request(job.spec, visuals)])[0]


SOURCE, REFERENCE = Role.SOURCE, Role.REFERENCE


@pytest.mark.parametrize(
    ("roles", "frames", "task", "made"),
    [
        ([REFERENCE], [1], Task.MULTIID, 5),
        ([REFERENCE] * 4, [1] * 4, Task.MULTIID, 5),
        ([REFERENCE, SOURCE], [1, 1], Task.REF_I2I_EDIT, 1),
        ([SOURCE, REFERENCE, REFERENCE], [5, 1, 1], Task.REF_V2V_EDIT, 5),
    ],
)
async def test_references_through_the_flow(
    house: Any, place: Workplace, roles: list[Role | None], frames: list[int], task: Task, made: int
) -> None:
    job = await house.make(instruction="put image1 on it", visuals=await _inputs(house, roles, frames), seed=5)
    assert (job.status, job.error) == (JobStatus.COMPLETED, None)
    assert (job.spec.task, job.spec.num_frames) == (task, made)
    stored = await house.orchestrator.asset(job.assets[0].id)
    flow = house.blobs.get_tensor(stored.lossless.frames)
    # Pictures of one shape are encoded together there, and one by one here: a value may be rounded the other way.
    assert np.abs(flow.astype(int) - (await _alone(house, place, job))).max() <= 1


async def test_references_can_meet_in_one_picture(house: Any) -> None:
    visuals = await _inputs(house, [REFERENCE, REFERENCE], [1, 1])
    job = await house.make(instruction="both in a meadow", visuals=visuals, num_frames=1)
    assert (job.status, job.spec.task) == (JobStatus.COMPLETED, Task.MULTIID)
    assert [(asset.kind, asset.num_frames) for asset in job.assets] == [("image", 1)]


async def test_the_tiny_model_thinks_answers_and_scores(house: Any) -> None:
    """Random weights plan nonsense, but a plan that parses, fits the inputs, and is carried out or asks back."""
    visuals = await _inputs(house, [None, Role.VISUAL_PROMPT], [1, 1])
    job = await house.make(instruction="do what the arrow says", visuals=visuals, self_review=SelfReview(max_trials=2))
    assert job.plan is not None
    if job.plan.clarification is not None:
        assert job.error is not None
        assert job.error.code == "clarification_needed"
    else:
        assert (job.status, job.error) == (JobStatus.COMPLETED, None)
        assert (job.spec.task, set(job.plan.roles)) == (job.plan.task, {"image1", "image2"})
    asked = await house.make(instruction="what is it", visuals=visuals[:1], task=Task.UNDERSTAND, max_new_tokens=3)
    assert (asked.status, asked.error) == (JobStatus.COMPLETED, None)
    scored = await house.make(seed=1, self_review=SelfReview(min_score=10, max_trials=2))
    assert (scored.status, scored.error) == (JobStatus.COMPLETED, None)
    assert 1 <= len(scored.trials) <= 2


async def test_a_plan_of_the_tiny_model_waits(house: Any) -> None:
    visuals = await _inputs(house, [SOURCE], [5])
    request = GenerationRequest(instruction="make it blue", visuals=visuals, thinking=Thinking.REVIEW)
    job = await house.orchestrator.submit(request)
    async for event in house.orchestrator.events(job.id):
        if event.kind in ("waiting", "failed"):
            break
    assert event.kind == "waiting" or (event.error is not None and event.error.code == "clarification_needed")
    await house.orchestrator.cancel(job.id)
