"""The reader of clips: right on true renders, tolerant of blur, and never sure of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vogue.lab.world.analyse import analyse
from vogue.lab.world.render import render
from vogue.lab.world.scene import BACKGROUNDS, STYLES, Scene, Subject
from vogue.lab.world.validate import creature_scenes, named_scenes, tally


def test_true_renders_are_read_right() -> None:
    result = tally((scene, render(scene), creatures) for scene, creatures in named_scenes(8, 1))
    assert {fact: result.rate(fact) for fact in result.asked} == dict.fromkeys(result.asked, 1.0)


def test_pictures_are_read_right() -> None:
    result = tally((scene, render(scene, 1), creatures) for scene, creatures in named_scenes(20, 2))
    assert all(result.rate(fact) >= 0.97 for fact in result.asked)


def test_creatures_are_told_apart_in_a_line_up() -> None:
    result = tally((scene, render(scene, 9), creatures) for scene, creatures in creature_scenes(2, 3))
    assert result.rate("identity") == 1.0 and result.rate("motion") == 1.0


def test_blur_and_noise_are_forgiven() -> None:
    rng = np.random.Generator(np.random.PCG64(4))

    def worn(clip: np.ndarray) -> np.ndarray:
        soft = clip.astype(np.float32)
        for axis in (1, 2):
            soft = 0.5 * soft + 0.25 * (np.roll(soft, 1, axis) + np.roll(soft, -1, axis))
        return np.clip(soft + rng.normal(0, 6, clip.shape), 0, 255).astype(np.uint8)

    result = tally((scene, worn(render(scene)), creatures) for scene, creatures in named_scenes(8, 5))
    assert all(result.rate(fact) >= 0.95 for fact in result.asked)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_an_empty_scene_is_empty(background: str) -> None:
    facts = analyse(render(Scene(background, "none", ()), 5))
    assert facts.background == background and facts.subjects == ()


@pytest.mark.parametrize("style", STYLES)
def test_styles_are_recognised(style: str) -> None:
    subjects = (Subject("star", "red", "plain", "large", 24.0, 34.0, "right"),)
    for background in ("beige", "meadow"):
        facts = analyse(render(Scene(background, style, subjects), 5))
        assert (facts.background, facts.style) == (background, style)


def test_a_path_like_no_motion_is_unknown() -> None:
    still = Scene("grey", "none", (Subject("circle", "red", "plain", "small", 12.0, 12.0),))
    frames = [np.roll(render(still, 1)[0], (2 * t, 2 * t), (0, 1)) for t in range(17)]
    assert analyse(np.stack(frames)).subjects[0].motion == "unknown"


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        analyse(np.zeros((4, 64, 64, 3), np.float32))  # type: ignore[arg-type]
