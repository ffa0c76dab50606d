"""What an instruction refers to: sentences by hand, and laws that hold for any words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.schemas.config import Role, Task
from vogue.schemas.errors import TagUnresolved
from vogue.schemas.references import MediaKind
from vogue.schemas.referring import Given, Known, find_mentions, refer

CLIP, PICTURE = Known(MediaKind.VIDEO, has_still=True), Known(MediaKind.IMAGE)
KNOWN = {"turn1": CLIP, "turn2": CLIP, "turn3": PICTURE, "image1": PICTURE, "video1": Known(MediaKind.VIDEO)}


def said(instruction: str, last: str | None = "turn2", **more: object) -> str:
    """`source < references` in short."""
    found = refer(instruction, KNOWN, last, **more)  # type: ignore[arg-type]
    parts = {role: [one.tag for one in found.visuals if one.role is role] for role in Role}
    guide = parts[Role.SOURCE] or [f"first {tag}" for tag in parts[Role.FIRST_FRAME]]
    return " < ".join([*guide, *parts[Role.REFERENCE]])


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("now make it blue", "turn2"),
        ("more contrast", "turn2"),
        ("put the fox from turn 1 on it", "turn2 < turn1"),
        ("put the fox from turn1 on Turn #3", "turn3 < turn1"),
        ("make turn 1 blue", "turn1"),
        ("make turn 1 blue and move it left", "turn1"),
        ("put image1 on it", "turn2 < image1"),
        ("put image1 and turn1 on it", "turn2 < image1 < turn1"),
        ("make it look like image 1 and turn 1", "turn2 < image1 < turn1"),
        ("turn3's colours please", "turn2 < turn3"),
        ("turn 2 circles blue", "turn2"),
        ("now turn 9 stars into hearts", "turn2"),
        ("Turn 1 but green", "turn1"),
        ("Turn 1", "turn1"),
        ("go back to turn 1", "turn1"),
        ("the background of turn 2", "turn2"),
        ("the star of turn2 but smaller", "turn2"),
        ("video1 in the style of image1", "video1 < image1"),
        ("return 1 star, turn12x, myimage1, image-1", "turn2"),
    ],
)
def test_sentences(instruction: str, expected: str) -> None:
    assert said(instruction) == expected


def test_the_first_turn_refers_to_nothing() -> None:
    assert said("a dog and its ball; it jumps", last=None) == ""
    assert said("make it blue", last=None, given=[Given("video1")]) == "video1"
    assert said("image1 waves", last=None, given=[Given("image1", Role.FIRST_FRAME)]) == "first image1"


def test_what_is_given_wins() -> None:
    assert said("blend them", given=[Given("turn1", Role.SOURCE), Given("image1")]) == "turn1 < image1"
    assert said("with this hat", given=[Given("image1", Role.REFERENCE)]) == "turn2 < image1"
    assert said("with the hat", given=[Given("image1")]) == "turn2 < image1"
    assert said("a new star", task=Task.T2V) == ""
    assert said("they meet", task=Task.MULTIID, given=[Given("turn3"), Given("image1")]) == "turn3 < image1"
    assert said("let it fly", task=Task.I2V) == "first turn2"


def test_an_instruction_is_rewritten_in_the_jobs_own_tags() -> None:
    found = refer("put the fox from turn 3 and image1 on turn 1", KNOWN, "turn2")
    assert found.instruction == "put the fox from image1 and image2 on video1"
    assert [(one.tag, one.called, one.still) for one in found.visuals] == [
        ("turn3", "image1", False),
        ("image1", "image2", False),
        ("turn1", "video1", False),
    ]
    assert refer("the fox from turn1 on it", KNOWN, "turn2").visuals[0].still


@pytest.mark.parametrize("instruction", ["make turn7 blue", "put image3 on it", "video 2 backwards"])
def test_unknown_tags_are_named_beside_those_that_exist(instruction: str) -> None:
    with pytest.raises(TagUnresolved, match=r"there is no \w+ .*image1, turn1, turn2, turn3, video1"):
        refer(instruction, KNOWN, "turn2")
    with pytest.raises(TagUnresolved, match="it has nothing yet"):
        refer("make turn1 blue", {})


def test_two_that_could_be_edited() -> None:
    with pytest.raises(TagUnresolved, match="turn1 and image1 could each"):
        refer("put turn1 and image1 together", KNOWN, "turn2")


WORDS = st.sampled_from(
    [
        "turn 1",
        "turn2",
        "image1",
        "Video #1",
        "turn 7",
        "it",
        "from",
        "and",
        "put",
        "the",
        "blue",
        ",",
        "its",
        "like",
        "on",
    ]
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=80)
TAGS = st.sampled_from(sorted(KNOWN))


@given(
    TEXTS,
    st.none() | TAGS,
    st.lists(st.builds(Given, TAGS, st.none() | st.sampled_from(Role)), max_size=3),
    st.none() | st.sampled_from(Task),
)
def test_laws(instruction: str, last: str | None, inputs: list[Given], task: Task | None) -> None:
    mentions = find_mentions(instruction)
    assert all(re.fullmatch(r"(turn|image|video)[1-9]\d{0,3}", one.tag) for one in mentions)
    try:
        found = refer(instruction, KNOWN, last, inputs, task)
    except TagUnresolved as error:
        assert mentions and ("turn7" in error.message or "could each" in error.message)
        return
    chosen = [one.tag for one in found.visuals]
    named = {one.tag for one in mentions} | {one.tag for one in inputs} | ({last} - {None})
    assert len(set(chosen)) == len(chosen) and set(chosen) <= named
    assert {one.tag for one in mentions} | {one.tag for one in inputs} <= set(chosen)
    assert len({one.called for one in found.visuals}) == len(chosen)
    implied = [one for one in found.visuals if one.role is Role.SOURCE and Given(one.tag, Role.SOURCE) not in inputs]
    assert len(implied) <= 1
    assert not any(one.still and one.role is Role.SOURCE for one in found.visuals)
    for one in found.visuals:
        kind = MediaKind.IMAGE if one.still else KNOWN[one.tag].kind
        assert one.called.startswith(kind.value)
    if not mentions:
        assert found.instruction == instruction
