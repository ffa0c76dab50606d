"""Delivered files carry their recipes, and a recipe makes the same pixels again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.recipes import read_recipe
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import AssetNotFound, MediaUnreadable, ReplayMismatch, RequestInvalid
from vogue.schemas.jobs import Job, JobStatus
from vogue.schemas.plan import Plan, PlanStep
from vogue.schemas.recipes import MAX_RECIPE_BYTES, Recipe, ReplayRequest, dump_recipe, load_recipe
from vogue.schemas.requests import JobSpec, VisualInput
from vogue.services.replaying import replayed


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All networks of the tiny preset, loaded once."""
    from vogue.graph.state import Ports
    from vogue.services.codec import CodecService
    from vogue.services.config import AppConfig
    from vogue.services.connector import ConnectorService
    from vogue.services.denoiser import DenoiserService
    from vogue.services.stepping import load_loop
    from vogue.services.understanding import UnderstandingService
    from vogue.services.workplace import Workplace

    folder = tmp_path_factory.mktemp("recipes")
    place = Workplace(AppConfig(preset="tiny", state_dir=folder))
    ports = Ports(
        understanding=UnderstandingService.load(place),
        connector=ConnectorService.load(place),
        denoiser=DenoiserService(load_loop(place), place.blobs),
        codec=CodecService.load(place),
    )
    return folder, ports


@pytest.fixture
async def house(loaded: Any, new_house: Any) -> AsyncIterator[Any]:
    built = new_house.build(*loaded)
    await built.orchestrator.start()
    yield built
    await built.orchestrator.close()


async def file_of(house: Any, job: Job, index: int = 0) -> bytes:
    assert job.status is JobStatus.COMPLETED, job.error
    return bytes(house.blobs.get((await house.orchestrator.asset(job.assets[index].id)).artifact))


async def pixels_of(house: Any, job: Job) -> Any:
    assert job.status is JobStatus.COMPLETED, job.error
    return house.blobs.get_tensor((await house.orchestrator.asset(job.assets[0].id)).lossless.frames)


async def test_a_clip_its_poster_and_a_picture_are_made_again(house: Any) -> None:
    clip = await house.make(instruction='a "red" stär\n= 100 %', seed=5, steps=2)
    recipe = read_recipe(await file_of(house, clip))
    assert recipe == read_recipe(await file_of(house, clip, 1))
    assert (recipe.asked, recipe.spec, recipe.inputs) == ('a "red" stär\n= 100 %', clip.spec, ())
    assert recipe.maker == await house.ports.codec.maker()
    # An edit of it: the recipe names the result that it started from.
    source = VisualInput(tag="video1", role=Role.SOURCE, upload_id=clip.assets[0].id)
    edit = await house.make(instruction="make it blue", visuals=(source,), seed=6, steps=2)
    picture = await house.make(instruction="a star", num_frames=1, width_px=48, height_px=16, seed=1, steps=2)
    for made in (clip, edit, picture):
        recipe = read_recipe(await file_of(house, made))
        replay = await house.orchestrator.replay(ReplayRequest(recipe=recipe))
        assert replay.differences == ()
        again = await house.finish(replay.job.id)
        assert np.array_equal(await pixels_of(house, made), await pixels_of(house, again))
    assert recipe.inputs == () and read_recipe(await file_of(house, edit)).inputs[0].asset_id == clip.assets[0].id


async def test_what_would_differ_is_told_and_refused(house: Any, spec: JobSpec) -> None:
    made = await house.make(seed=5, steps=2)
    recipe = read_recipe(await file_of(house, made))
    assert recipe.maker is not None
    elsewhere = recipe.model_copy(update={"maker": recipe.maker.model_copy(update={"weights": "a" * 64})})
    for strange, why in (
        (elsewhere, "weights was aaaaaaaaaaaa… and is"),
        (recipe.model_copy(update={"maker": None}), "does not say what made it"),
        (recipe.model_copy(update={"spec": spec.model_copy(update={"fps": 12.0})}), "fps was 12.0 and would be 8.0"),
    ):
        with pytest.raises(ReplayMismatch, match=why):
            await house.orchestrator.replay(ReplayRequest(recipe=strange))
        replay = await house.orchestrator.replay(ReplayRequest(recipe=strange, anyway=True))
        assert len(replay.differences) == 1
        await house.finish(replay.job.id)


def test_a_recipe_that_no_request_can_ask_for_is_a_request_error(spec: JobSpec) -> None:
    for field, value in (("steps", 0), ("instruction", "")):
        strange = Recipe(spec=spec.model_copy(update={field: value}))
        with pytest.raises(RequestInvalid) as caught:
            replayed(strange, {}, {})
        assert caught.value.param == field


async def test_missing_inputs_are_asked_for(house: Any) -> None:
    first = await house.make(seed=5, steps=2)
    source = VisualInput(tag="video1", role=Role.SOURCE, upload_id=first.assets[0].id)
    edit = await house.make(instruction="make it blue", visuals=(source,), seed=6, steps=2)
    recipe = read_recipe(await file_of(house, edit))
    gone = recipe.inputs[0].model_copy(update={"asset_id": "asset_is-not-here-any-more"})
    lost = recipe.model_copy(update={"inputs": (gone,)})
    with pytest.raises(AssetNotFound, match=r"video1 .*give its file"):
        await house.orchestrator.replay(ReplayRequest(recipe=lost))
    found = ReplayRequest(recipe=lost, replacements={"video1": first.assets[0].id})
    replay = await house.orchestrator.replay(found)
    again = await house.finish(replay.job.id)
    assert np.array_equal(await pixels_of(house, edit), await pixels_of(house, again))
    with pytest.raises(RequestInvalid, match="has no input image7"):
        await house.orchestrator.replay(ReplayRequest(recipe=recipe, replacements={"image7": first.assets[0].id}))
    with pytest.raises(RequestInvalid, match="is a video, but image was given"):
        await house.orchestrator.replay(ReplayRequest(recipe=recipe, replacements={"video1": first.assets[1].id}))


def test_a_recipe_that_is_too_long_leaves_out_what_its_making_does_not_need(spec: JobSpec) -> None:
    plan = Plan(task=Task.T2V, dense_prompt="ü" * 8000, steps=tuple(PlanStep(action="ü" * 400) for _ in range(8)))
    long = spec.model_copy(update={"instruction": "ü" * 8000, "negative_prompt": "€" * 4000})
    recipe = Recipe(asked="€" * 20_000, plan=plan, spec=long)
    kept = load_recipe(dump_recipe(recipe))
    assert kept.spec == long and kept.plan is None
    assert load_recipe(dump_recipe(Recipe(spec=spec, plan=plan))).plan == plan


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "a comment", '{"format": "vogue-recipe"}', "9" * (MAX_RECIPE_BYTES + 1)]
)
def test_other_comments_are_no_recipes(text: str) -> None:
    with pytest.raises(MediaUnreadable):
        load_recipe(text)


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def _mp4(text: bytes) -> bytes:
    comment = _box(b"\xa9cmt", _box(b"data", bytes(8) + text))
    return _box(b"ftyp", b"isom") + _box(b"moov", _box(b"udta", _box(b"meta", bytes(4) + _box(b"ilst", comment))))


@pytest.fixture(scope="session")
def whole(spec: JobSpec) -> bytes:
    """A file of nothing but a recipe."""
    return _mp4(dump_recipe(Recipe(spec=spec)).encode())


def test_what_carries_no_recipe(tmp_path: Path, spec: JobSpec, whole: bytes) -> None:
    assert read_recipe(whole).spec == spec
    for media in (b"", b"GIF89a", _box(b"ftyp", b"isom"), _mp4(b"\xff"), _mp4(b"x" * (MAX_RECIPE_BYTES + 999))):
        with pytest.raises(MediaUnreadable):
            read_recipe(media)
    with pytest.raises(MediaUnreadable, match="No such file"):
        read_recipe(tmp_path / "nothing.mp4")


@given(st.data())
def test_damaged_files_are_typed_errors(whole: bytes, data: st.DataObject) -> None:
    head = data.draw(st.sampled_from([whole, b"\x89PNG\r\n\x1a\n" + whole]))
    media = bytearray(head[: data.draw(st.integers(0, len(head)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if media:
            media[data.draw(st.integers(0, len(media) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MediaUnreadable):
        assert isinstance(read_recipe(bytes(media)), Recipe)
