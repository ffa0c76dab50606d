"""The wording of captions and instructions: tables only.

Every template has at least eight phrasings for training and two that training never sees. Held-out phrasings are new
sentences of known words: what is tested is whether the sentence is understood, not whether a word can be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Phrasings:
    """One template's sentences, those for training and those kept for evaluation."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    def of(self, split: str) -> tuple[str, ...]:
        """The sentences of a split, "train" or "heldout". Raises ValueError for another name."""
        if split not in ("train", "heldout"):
            raise ValueError(f"phrasing split {split!r} is neither 'train' nor 'heldout'")
        return self.train if split == "train" else self.heldout


# {finite}: "a red star moves left"; {gerund}: "a red star moving left"; {where}: "in a meadow".
VIDEO_CAPTIONS: Final = Phrasings(
    (
        "{finite} {where}",
        "{where}, {finite}",
        "a video of {gerund} {where}",
        "show {gerund} {where}",
        "a short clip: {finite} {where}",
        "make a video of {gerund} {where}",
        "{gerund} {where}",
        "{where} we see {gerund}",
        "a clip in which {finite} {where}",
        "a scene {where} with {gerund}",
    ),
    (
        "make a short clip of {gerund} {where}",
        "show a video in which {finite} {where}",
        "{where}, a scene with {gerund}",
    ),
)

IMAGE_CAPTIONS: Final = Phrasings(
    (
        "{nouns} {where}",
        "{where}, {nouns}",
        "a picture of {nouns} {where}",
        "show {nouns} {where}",
        "an image with {nouns} {where}",
        "make a picture of {nouns} {where}",
        "draw {nouns} {where}",
        "{where} we see {nouns}",
        "a scene {where} with {nouns}",
        "an image of {nouns} {where}",
    ),
    (
        "draw a picture of {nouns} {where}",
        "make an image with {nouns} {where}",
        "{where}, a scene with {nouns}",
    ),
)

# {finite}: "the red star moves left"; {base}: "the red star move left"; {gerund}: "the red star moving left".
ANIMATIONS: Final = Phrasings(
    (
        "{finite}",
        "make {base}",
        "a video in which {finite}",
        "animate the picture: {finite}",
        "now {finite}",
        "let {base}",
        "show {gerund}",
        "in this video {finite}",
        "from this picture, {finite}",
        "make a clip of {gerund}",
    ),
    (
        "animate this: {finite}",
        "make a video in which {finite}",
        "now make {base}",
    ),
)

EDITS: Final[dict[str, Phrasings]] = {
    "recolour": Phrasings(
        (
            "make {it} {new}",
            "change {it} to {new}",
            "paint {it} {new}",
            "turn {it} {new}",
            "color {it} {new}",
            "{it} should be {new}",
            "change the color of {it} to {new}",
            "give {it} a {new} color",
            "make the color of {it} {new}",
        ),
        ("paint {it} in {new}", "the color of {it} should be {new}", "turn the color of {it} to {new}"),
    ),
    "delete": Phrasings(
        (
            "remove {it}",
            "delete {it}",
            "erase {it}",
            "take away {it}",
            "get rid of {it}",
            "remove {it} from the {media}",
            "make {it} disappear",
            "{it} should be gone",
            "take {it} out of the {media}",
            "delete {it} from the {media}",
        ),
        ("erase {it} from the {media}", "take {it} away", "{it} should disappear from the {media}"),
    ),
    "swap": Phrasings(
        (
            "replace {it} with {new}",
            "swap {it} for {new}",
            "turn {it} into {new}",
            "change {it} into {new}",
            "put {new} in place of {it}",
            "there should be {new} instead of {it}",
            "use {new} instead of {it}",
            "replace {it} by {new}",
            "make {it} become {new}",
        ),
        ("swap {it} with {new}", "put {new} instead of {it}", "{it} should become {new}"),
    ),
    "style": Phrasings(
        (
            "make it look like {new}",
            "turn the {media} into {new}",
            "show the {media} as {new}",
            "change the style to {new}",
            "in the style of {new}",
            "draw the {media} as {new}",
            "make the {media} look like {new}",
            "give it the style of {new}",
            "change the {media} into {new}",
        ),
        ("show it as {new}", "change the {media} to the style of {new}", "turn it into {new}"),
    ),
    "material": Phrasings(
        (
            "make {it} {new}",
            "change {it} to {new}",
            "turn {it} {new}",
            "{it} should be {new}",
            "give {it} a {new} look",
            "paint {it} {new}",
            "change the pattern of {it} to {new}",
            "make the pattern of {it} {new}",
        ),
        ("the pattern of {it} should be {new}", "give {it} a {new} pattern"),
    ),
    "size": Phrasings(
        (
            "make {it} {new}",
            "turn {it} {new}",
            "change {it} to be {new}",
            "{it} should be {new}",
            "change the size of {it} to {new}",
            "make the size of {it} {new}",
            "give {it} a {new} size",
            "{it} should become {new}",
        ),
        ("the size of {it} should be {new}", "make {it} become {new}"),
    ),
    "insert": Phrasings(
        (
            "add {new} {place}",
            "put {new} {place}",
            "insert {new} {place}",
            "draw {new} {place}",
            "place {new} {place}",
            "there should be {new} {place}",
            "{place}, add {new}",
            "add {new} to the {media} {place}",
        ),
        ("{place}, there should be {new}", "insert {new} to the {media} {place}"),
    ),
    "background": Phrasings(
        (
            "change the background to {new}",
            "make the background {new}",
            "replace the background with {new}",
            "turn the background into {new}",
            "the background should be {new}",
            "put {new} in the background",
            "use {new} as the background",
            "swap the background for {new}",
        ),
        ("change the background into {new}", "there should be {new} in the background"),
    ),
    "motion": Phrasings(
        (
            "make {base}",
            "let {base}",
            "now {finite}",
            "change the video so that {finite}",
            "in the video {finite}",
            "{finite} now",
            "show {gerund}",
            "the video should show {gerund}",
        ),
        ("make the video show {gerund}", "in the video let {base}"),
    ),
}

# Finite, gerund and base form of each wording of a motion.
MOTION_WORDS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "still": (
        ("stays still", "staying still", "stay still"),
        ("does not move", "not moving", "not move"),
        ("stands still", "standing still", "stand still"),
    ),
    "left": (
        ("moves left", "moving left", "move left"),
        ("moves to the left", "moving to the left", "move to the left"),
        ("slides to the left", "sliding to the left", "slide to the left"),
        ("goes left", "going left", "go left"),
    ),
    "right": (
        ("moves right", "moving right", "move right"),
        ("moves to the right", "moving to the right", "move to the right"),
        ("slides to the right", "sliding to the right", "slide to the right"),
        ("goes right", "going right", "go right"),
    ),
    "up": (
        ("moves up", "moving up", "move up"),
        ("rises", "rising", "rise"),
        ("slides up", "sliding up", "slide up"),
        ("goes up", "going up", "go up"),
    ),
    "down": (
        ("moves down", "moving down", "move down"),
        ("sinks", "sinking", "sink"),
        ("slides down", "sliding down", "slide down"),
        ("goes down", "going down", "go down"),
    ),
    "orbit": (
        ("orbits", "orbiting", "orbit"),
        ("goes around in a loop", "going around in a loop", "go around in a loop"),
        ("loops around", "looping around", "loop around"),
        ("goes round and round", "going round and round", "go round and round"),
    ),
    "bounce": (
        ("bounces", "bouncing", "bounce"),
        ("bounces up and down", "bouncing up and down", "bounce up and down"),
        ("jumps up and down", "jumping up and down", "jump up and down"),
        ("hops", "hopping", "hop"),
    ),
    "grow": (
        ("grows", "growing", "grow"),
        ("gets bigger", "getting bigger", "get bigger"),
        ("grows bigger", "growing bigger", "grow bigger"),
        ("gets larger", "getting larger", "get larger"),
    ),
    "shrink": (
        ("shrinks", "shrinking", "shrink"),
        ("gets smaller", "getting smaller", "get smaller"),
        ("gets tiny", "getting tiny", "get tiny"),
        ("becomes smaller", "becoming smaller", "become smaller"),
    ),
}

SCENERY_WHERE: Final[dict[str, tuple[str, ...]]] = {
    "sky": ("in the sky", "in a blue sky"),
    "meadow": ("in a meadow", "on a meadow"),
    "night": ("in the night sky", "in a starry night"),
    "bricks": ("in front of a brick wall", "on a brick wall"),
}
SCENERY_NOUNS: Final = {"sky": "a blue sky", "meadow": "a meadow", "night": "a night sky", "bricks": "a brick wall"}
STYLE_NOUNS: Final = {
    "outline": ("an outline drawing", "a drawing with outlines"),
    "mosaic": ("a mosaic", "a mosaic of tiles"),
    "sepia": ("a sepia photo", "an old sepia photo"),
    "night": ("a dark night scene", "a scene at night"),
    "blueprint": ("a blueprint", "a blueprint drawing"),
}
PLACES: Final[dict[tuple[int, int], str]] = {
    (0, 0): "in the top left corner",
    (1, 0): "at the top",
    (2, 0): "in the top right corner",
    (0, 1): "on the left",
    (1, 1): "in the middle",
    (2, 1): "on the right",
    (0, 2): "in the bottom left corner",
    (1, 2): "at the bottom",
    (2, 2): "in the bottom right corner",
}
