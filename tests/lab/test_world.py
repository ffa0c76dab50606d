"""The mini world: exact, deterministic, and its evaluation kept apart from its training."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import pytest

from vogue.lab.world.cases import TASKS, Case, sample_case
from vogue.lab.world.creature import IDENTITIES, PARTS, identity_of, line_up, parts, relative
from vogue.lab.world.edits import EDIT_KINDS
from vogue.lab.world.phrasings import ANIMATIONS, EDITS, IMAGE_CAPTIONS, MOTION_WORDS, VIDEO_CAPTIONS
from vogue.lab.world.render import render
from vogue.lab.world.scene import (
    BACKGROUNDS,
    COLORS,
    MOTIONS,
    PLAIN_BACKGROUNDS,
    SHAPES,
    STYLES,
    Creature,
    Scene,
    Subject,
    apart,
    fingerprint,
    reserved_for_evaluation,
    room,
    sample_scene,
    trajectory,
)

KNOWN_EVALUATION = {
    "t2i": "c45b0fa79aad",
    "t2v": "452817da69dd",
    "i2v": "54741df60d83",
    "i2i_edit": "16cdaee2d915",
    "v2v_edit": "4f1a1c299a0d",
}
# The first six cases of each task and split: pixels, masks and prompts.
PINNED = {
    ("t2i", "train"): "c3086fbf9a291ba2",
    ("t2v", "train"): "a668b04d93d74b11",
    ("i2v", "train"): "a351b53363c63997",
    ("i2i_edit", "train"): "934a7161e436bb06",
    ("v2v_edit", "train"): "185b528c82468aa0",
    ("t2i", "eval"): "259d6c7d5a70ec5f",
    ("t2v", "eval"): "1494c9021f907ce8",
    ("i2v", "eval"): "d9cd6e3663822fcc",
    ("i2i_edit", "eval"): "51a02578e912e82c",
    ("v2v_edit", "eval"): "e9c4508ba6d7593f",
}


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _digest(case: Case) -> str:
    pictures = (case.source, case.first_frame, case.target, case.mask)
    data = b"".join(np.ascontiguousarray(one).tobytes() for one in pictures if one is not None)
    return hashlib.sha256(data + case.prompt.encode()).hexdigest()


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_render_has_the_promised_layout_and_is_repeatable(background: str) -> None:
    scene = sample_scene(_rng(3))
    scene = Scene(background, "none", scene.subjects)
    clip = render(scene)
    assert clip.shape == (17, 64, 64, 3) and clip.dtype == np.uint8
    assert np.array_equal(clip, render(scene))
    assert np.array_equal(clip[:1], render(scene, 1))
    assert render(scene, 5, 96).shape == (5, 96, 96, 3)


def test_a_render_does_not_write_on_the_cached_background() -> None:
    empty = Scene("sky", "none", ())
    before = render(empty, 1)
    render(Scene("sky", "none", (Subject("star", "red", "plain", "large", 30.0, 30.0),)), 1)
    assert np.array_equal(before, render(empty, 1))


@pytest.mark.parametrize("style", STYLES[1:])
def test_a_style_changes_every_picture_and_keeps_its_layout(style: str) -> None:
    subjects = (Subject("heart", "red", "striped", "large", 30.0, 30.0, "left"),)
    plain, styled = render(Scene("meadow", "none", subjects)), render(Scene("meadow", style, subjects))
    assert styled.shape == plain.shape and styled.dtype == np.uint8
    assert np.abs(styled.astype(int) - plain).mean() > 1.0


def test_subject_colours_stand_out_from_each_other_and_from_plain_backgrounds() -> None:
    colors = [np.array(rgb) for rgb in COLORS.values()]
    for index, color in enumerate(colors):
        for other in (*colors[:index], *map(np.array, PLAIN_BACKGROUNDS.values())):
            assert np.abs(color - other).max() > 50


@pytest.mark.parametrize("motion", MOTIONS)
def test_subjects_stay_inside_the_picture(motion: str) -> None:
    rng = _rng(5)
    for _ in range(20):
        for actor in sample_scene(rng, motions=(motion,)).subjects:
            path = trajectory(actor, 17)
            assert (path[:, :2].min(axis=1) >= path[:, 2]).all() and (path[:, :2].max(axis=1) <= 64 - path[:, 2]).all()
            low_x, high_x, low_y, high_y = room(actor.motion, actor.radius)
            assert low_x <= actor.x <= high_x and low_y <= actor.y <= high_y


def test_subjects_of_a_scene_never_touch_and_are_never_alike() -> None:
    rng = _rng(6)
    for _ in range(60):
        subjects = sample_scene(rng, num_subjects=3).subjects
        for index, subject in enumerate(subjects):
            assert apart(subject, subjects[:index])
        assert len({s.color for s in subjects if isinstance(s, Subject)}) == 3
        assert len({s.shape for s in subjects if isinstance(s, Subject)}) == 3


def test_a_fingerprint_ignores_order_and_small_moves_only() -> None:
    one = Subject("star", "red", "plain", "small", 20.0, 20.0)
    two = Subject("ring", "blue", "plain", "small", 45.0, 45.0)
    scene = Scene("sky", "none", (one, two))
    nudged = Subject("star", "red", "plain", "small", 20.5, 20.0)
    assert fingerprint(scene) == fingerprint(Scene("sky", "none", (two, one)))
    assert fingerprint(scene) == fingerprint(Scene("sky", "none", (nudged, two)))
    assert fingerprint(scene) != fingerprint(Scene("night", "none", (one, two)))


@pytest.mark.parametrize("task", TASKS)
def test_cases_are_deterministic_and_splits_never_meet(task: str) -> None:
    for seed in range(6):
        trained, evaluated = sample_case(task, seed), sample_case(task, seed, "eval")  # type: ignore[arg-type]
        assert _digest(trained) == _digest(sample_case(task, seed))  # type: ignore[arg-type]
        assert _digest(trained) != _digest(evaluated)
        for case, reserved in ((trained, False), (evaluated, True)):
            first = case.source_scene or case.target_scene
            assert reserved_for_evaluation(first) is reserved
        assert not reserved_for_evaluation(trained.target_scene)


def test_known_cases_keep_their_bytes() -> None:
    # The evaluation scenes were fixed before training began: a change here makes every published score void.
    known = {task: _digest(sample_case(task, 0, "eval"))[:12] for task in TASKS}
    assert known == KNOWN_EVALUATION


@pytest.mark.parametrize(("task", "split"), PINNED)
def test_cases_that_weights_were_trained_on_keep_their_bytes(task: str, split: str) -> None:
    digest = hashlib.sha256()
    for seed in range(6):
        case = sample_case(task, seed, split)  # type: ignore[arg-type]
        for one in (case.source, case.first_frame, case.target, case.mask):
            if one is not None:
                digest.update(np.ascontiguousarray(one).tobytes())
        digest.update(case.prompt.encode())
    assert digest.hexdigest()[:16] == PINNED[task, split]


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_an_edit_changes_its_region_and_nothing_else(kind: str) -> None:
    for seed in range(8):
        case = sample_case("v2v_edit", seed, edit_kind=kind)
        assert case.source is not None and case.mask is not None and case.edit is not None
        changed = (case.source != case.target).any(axis=-1)
        assert changed.any() and not changed[~case.mask].any()
        assert case.edit.kind == kind and case.mask.shape == case.target.shape[:3]


def test_first_frames_and_images() -> None:
    case = sample_case("i2v", 4)
    assert case.first_frame is not None and np.array_equal(case.first_frame, case.target[:1])
    assert sample_case("t2i", 4).target.shape == (1, 64, 64, 3)
    assert sample_case("i2i_edit", 4).target.shape == (1, 64, 64, 3)


@pytest.mark.parametrize(
    ("task", "seed", "split", "kind"),
    [("t2x", 0, "train", None), ("t2i", -1, "train", None), ("t2i", 2**40, "train", None),
     ("t2i", 0, "test", None), ("v2v_edit", 0, "train", "paint"), ("i2i_edit", 0, "train", "motion")],
)  # fmt: skip
def test_what_is_no_case_is_refused(task: str, seed: int, split: str, kind: str | None) -> None:
    with pytest.raises(ValueError, match=r"t2x|seed|test|paint|motion"):
        sample_case(task, seed, split, kind)  # type: ignore[arg-type]


def test_each_template_has_phrasings_enough_and_some_are_held_out() -> None:
    for phrasings in (VIDEO_CAPTIONS, IMAGE_CAPTIONS, ANIMATIONS, *EDITS.values()):
        assert len(set(phrasings.train)) >= 8 and len(phrasings.heldout) >= 2
        assert not set(phrasings.train) & set(phrasings.heldout)
    assert all(len(words) >= 3 for words in MOTION_WORDS.values())
    with pytest.raises(ValueError, match="neither"):
        ANIMATIONS.of("test")


def test_held_out_sentences_use_words_that_training_uses() -> None:
    words: dict[str, set[str]] = defaultdict(set)
    for split in ("train", "eval"):
        for task in TASKS:
            for seed in range(400 if split == "train" else 12):
                words[split] |= set(sample_case(task, seed, split).prompt.replace(",", " ").replace(":", " ").split())  # type: ignore[arg-type]
    assert words["eval"] <= words["train"]
    assert all(word == word.lower() for word in words["train"]) and len(words["train"]) < 400


def test_instructions_name_the_subject_they_touch() -> None:
    for kind in ("recolour", "delete", "swap", "material", "size", "motion"):
        case = sample_case("v2v_edit", 11, edit_kind=kind)
        assert case.edit is not None and isinstance(case.edit.before, Subject)
        assert case.edit.before.shape in case.prompt.split()


def test_creature_identities_are_a_bijection_and_relatives_differ_in_one_part() -> None:
    for identity in (0, 17, IDENTITIES - 1):
        assert identity_of(parts(identity)) == identity
        for name in PARTS:
            there, here = parts(relative(identity, name, 1)), parts(identity)
            assert [part for part in PARTS if there[part] != here[part]] == [name]
    crowd = line_up(17, 16, _rng(0))
    assert len(set(crowd)) == 16 and 17 in crowd
    with pytest.raises(ValueError, match="outside"):
        parts(IDENTITIES)


def test_no_two_creatures_of_a_line_up_look_alike() -> None:
    rng = _rng(2)
    for _ in range(4):
        crowd = line_up(int(rng.integers(IDENTITIES)), 16, rng)
        looks = {render(Scene("grey", "none", (Creature(one, "large", 32.0, 34.0),)), 1).tobytes() for one in crowd}
        assert len(looks) == 16


def test_every_shape_and_motion_is_drawn_at_some_time() -> None:
    rng = _rng(9)
    subjects = [s for _ in range(200) for s in sample_scene(rng).subjects if isinstance(s, Subject)]
    assert {s.shape for s in subjects} == set(SHAPES) and {s.motion for s in subjects} == set(MOTIONS)
    assert {s.color for s in subjects} == set(COLORS)
