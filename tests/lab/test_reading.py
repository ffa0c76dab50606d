"""Captions read back, those that a weak model writes included."""

from __future__ import annotations

import pytest

from vogue.lab.world.reading import caption_is_right, read_caption
from vogue.lab.world.scene import Scene, Subject

SCENE = Scene("sky", "none", (Subject("star", "red", "plain", "large", 10, 12, "left"),))


@pytest.mark.parametrize("said", ["", "in the sky", "a star moves left", "red red star star"])
def test_a_caption_that_names_no_subject_is_wrong_and_no_error(said: str) -> None:
    assert not caption_is_right(SCENE, said, video=True)


def test_each_subject_has_the_words_up_to_the_next() -> None:
    background, told = read_caption("a large red star moves left and a dotted blue ring stays still in the sky")
    assert background == "sky"
    assert [(one.color, one.shape, one.material, one.motion) for one in told] == [
        ("red", "star", "plain", "left"),
        ("blue", "ring", "dotted", "still"),
    ]
