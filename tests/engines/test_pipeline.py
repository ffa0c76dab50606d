"""The whole tiny pipeline: every task, in one batch as alone, stopped and resumed, written and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vogue.engines.conditioning import Visual
from vogue.engines.pipeline import Pipeline, Request
from vogue.engines.sampling import denoise, prepare, tick
from vogue.engines.tiny import tiny_pipeline, write_tiny
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import ShapeUnsupported
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import JobSpec


def spec(task: Task, num_frames: int = 5, **changes: object) -> JobSpec:
    values: dict[str, object] = {
        "task": task,
        "instruction": f"a red ball, {task}",
        "negative_prompt": "bad",
        "height_px": 32,
        "width_px": 32,
        "num_frames": num_frames,
        "fps": 8.0,
        "steps": 3,
        "guidance": 3.0,
        "image_guidance": 1.5,
        "seed": 1,
    }
    return JobSpec.model_validate({**values, **changes})


def visual(role: Role, kind: MediaKind, frames: int = 1, side: int = 32, seed: int = 0) -> Visual:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
    return Visual(role, kind, pixels)


REFERENCES = tuple(visual(Role.REFERENCE, MediaKind.IMAGE, side=20 + seed, seed=seed) for seed in range(2))
REQUESTS = (
    Request(spec(Task.T2I, 1, guidance=1.0)),
    Request(spec(Task.T2V, image_guidance=1.0, seed=2)),
    Request(spec(Task.T2V, 9, image_guidance=1.0, instruction="far longer than the other one is", steps=2)),
    Request(spec(Task.I2V, steps=2), (visual(Role.FIRST_FRAME, MediaKind.IMAGE, side=50),)),
    Request(spec(Task.I2I_EDIT, 1), (visual(Role.SOURCE, MediaKind.IMAGE, side=64),)),
    Request(spec(Task.V2V_EDIT, 9), (visual(Role.SOURCE, MediaKind.VIDEO, frames=5),)),
    Request(spec(Task.MULTIID), REFERENCES),
    Request(spec(Task.REF_V2V_EDIT), (visual(Role.SOURCE, MediaKind.VIDEO, frames=5), REFERENCES[0])),
)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


def test_a_batch_of_all_tasks_gives_each_its_own_latents(pipeline: Pipeline) -> None:
    together = denoise(pipeline.engine, pipeline.begin(REQUESTS))
    for request, latents in zip(REQUESTS, together, strict=True):
        [alone] = denoise(pipeline.engine, pipeline.begin([request]))
        assert (latents - alone).abs().max() < 1e-4, request.spec.task


def test_frames_have_the_shape_that_was_asked_for(pipeline: Pipeline) -> None:
    for request, frames in zip(REQUESTS, pipeline.generate(REQUESTS), strict=True):
        assert frames.shape == (request.spec.num_frames, 32, 32, 3)
        assert frames.dtype == np.uint8


def test_the_same_seed_gives_the_same_bytes(pipeline: Pipeline) -> None:
    first, second = (pipeline.generate(REQUESTS[3:4])[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_progress_counts_finished_steps_and_a_cancel_stops_one_job(pipeline: Pipeline) -> None:
    seen: list[tuple[int, int]] = []

    def keep_going(index: int, job: object) -> bool:
        seen.append((index, job.steps_done))  # type: ignore[attr-defined]
        return index != 1

    frames = pipeline.generate(REQUESTS[:2], keep_going)
    assert seen == [(0, 1), (1, 1), (0, 2), (0, 3)]
    assert len(frames) == 2


def test_a_job_resumed_from_its_latents_ends_as_if_it_had_never_stopped(pipeline: Pipeline) -> None:
    request = REQUESTS[5]
    [whole] = denoise(pipeline.engine, pipeline.begin([request]))
    [stopped] = pipeline.begin([request])
    tick(pipeline.engine, [stopped])
    resumed = prepare(
        stopped.target,
        stopped.contexts,
        stopped.conditions,
        request.spec.steps,
        request.spec.guidance,
        request.spec.image_guidance,
        pipeline.preset.schedule,
        steps_done=stopped.steps_done,
    )
    assert (denoise(pipeline.engine, [resumed])[0] == whole).all()


def test_written_networks_load_to_the_same_result(pipeline: Pipeline, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    loaded = Pipeline.load(pipeline.preset, tmp_path)
    for ours, theirs in zip(pipeline.generate(REQUESTS[4:6]), loaded.generate(REQUESTS[4:6]), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_prompts_file_replaces_the_wording(tmp_path: Path, pipeline: Pipeline) -> None:
    write_tiny(tmp_path)
    other = pipeline.prompts.model_copy(update={"system": "quite another"})
    (tmp_path / "prompts.json").write_text(other.model_dump_json(), encoding="utf-8")
    assert Pipeline.load(pipeline.preset, tmp_path).mllm.system_prompt == "quite another"


@pytest.mark.parametrize("changes", [{"height_px": 24}, {"num_frames": 4}])
def test_shapes_that_cannot_be_made_are_refused(pipeline: Pipeline, changes: dict[str, int]) -> None:
    with pytest.raises(ShapeUnsupported, match="multiples of 16"):
        pipeline.begin([Request(spec(Task.T2V, **{"num_frames": 5, **changes}))])
