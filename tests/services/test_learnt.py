"""Weights say what they have learnt: the rest of their preset is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vogue.graph.resolve import resolve
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import ReviewUnavailable, TaskUnsupported, ThinkingUnavailable, WeightsMismatch
from vogue.schemas.jobs import Asset
from vogue.schemas.presets import get_preset
from vogue.schemas.references import MediaKind
from vogue.schemas.requests import GenerationRequest, SelfReview, Thinking, VisualInput
from vogue.services.config import AppConfig
from vogue.services.weights import served_preset

FOX = Asset(
    id="upload_fox-fox-fox-fox-fox",
    kind=MediaKind.IMAGE,
    media_type="image/png",
    num_bytes=1,
    filename="fox.png",
    height_px=32,
    width_px=32,
)
IN_CONTEXT = GenerationRequest(
    instruction="the fox of image1 jumps",
    visuals=(VisualInput(tag="image1", role=Role.REFERENCE, upload_id=FOX.id),),
)


def _weights(folder: Path, **stated: object) -> AppConfig:
    (folder / "preset.json").write_text(json.dumps(stated))
    return AppConfig(preset="mini", weights_dir=folder)


def test_a_task_is_served_once_the_weights_have_learnt_it(tmp_path: Path) -> None:
    tasks = {task.value: one.model_dump() for task, one in get_preset("mini").tasks.items()}
    preset = served_preset(_weights(tmp_path, tasks=tasks, name="ignored"))
    assert resolve(IN_CONTEXT, preset, {FOX.id: FOX}, 0).spec.task is Task.MULTIID
    del tasks["multiid"]
    preset = served_preset(_weights(tmp_path, tasks=tasks))
    with pytest.raises(TaskUnsupported, match="mini cannot do multiid; it can do t2i, t2v, i2v"):
        resolve(IN_CONTEXT, preset, {FOX.id: FOX}, 0)


def test_thinking_and_reviewing_are_learnt_apart(tmp_path: Path) -> None:
    thinks = GenerationRequest(instruction="a fox", thinking=Thinking.ON)
    scores = GenerationRequest(instruction="a fox", self_review=SelfReview())
    tasks = {"t2v": get_preset("mini").tasks[Task.T2V].model_dump()}
    knows_neither = served_preset(_weights(tmp_path, tasks=tasks))
    with pytest.raises(ThinkingUnavailable):
        resolve(thinks, knows_neither, {}, 0)
    with pytest.raises(ReviewUnavailable):
        resolve(scores, knows_neither, {}, 0)
    plans = served_preset(_weights(tmp_path, tasks=tasks, can_plan=True))
    assert resolve(thinks, plans, {}, 0).spec.thinking is Thinking.ON
    with pytest.raises(ReviewUnavailable):
        resolve(scores, plans, {}, 0)


def test_numbers_are_those_of_the_code(tmp_path: Path) -> None:
    code = get_preset("mini")
    stated = {"t2v": code.tasks[Task.T2V].model_copy(update={"steps": 77}).model_dump()}
    served = served_preset(_weights(tmp_path, tasks=stated))
    assert served.tasks == {Task.T2V: code.tasks[Task.T2V]}


def test_weights_without_a_statement_can_do_all_of_their_preset(tmp_path: Path) -> None:
    assert served_preset(AppConfig(preset="mini", weights_dir=tmp_path)) == get_preset("mini")
    assert served_preset(AppConfig(preset="tiny")) == get_preset("tiny")


@pytest.mark.parametrize("stated", ["", "[]", '{"tasks": ["t2v"]}', '{"tasks": {"fly": {}}}', '{"can_plan": true}'])
def test_a_statement_that_says_nothing_is_an_error(tmp_path: Path, stated: str) -> None:
    (tmp_path / "preset.json").write_text(stated)
    with pytest.raises(WeightsMismatch, match="does not say what the weights have learnt"):
        served_preset(AppConfig(preset="mini", weights_dir=tmp_path))


def test_the_shipped_weights_say_what_they_have_learnt(repository: Path) -> None:
    stated = json.loads((repository / "weights" / "mini" / "preset.json").read_text())
    served = served_preset(AppConfig(preset="mini"))
    assert [task.value for task in served.tasks] == [
        task for task in get_preset("mini").tasks if task in stated["tasks"]
    ]
    assert served.can_plan is stated.get("can_plan", False)
