"""The wording of requests beyond single captions and single edits: tables only, as in `phrasings`.

Visual inputs are named by their tags, as users and the command line name them: image1, image2, video1.
"""

from __future__ import annotations

from typing import Final

from .phrasings import Phrasings

# {pair}: "a red star to the left of a blue circle"; {where}: "in a meadow"; {moves}: ", the red star moves left", or nothing.
RELATED_CAPTIONS: Final = Phrasings(
    (
        "{pair} {where}{moves}",
        "{where}, {pair}{moves}",
        "show {pair} {where}{moves}",
        "draw {pair} {where}{moves}",
        "a scene {where} with {pair}{moves}",
        "{where} we see {pair}{moves}",
        "make a scene of {pair} {where}{moves}",
        "there is {pair} {where}{moves}",
        "{where} there is {pair}{moves}",
    ),
    ("{where}, make a scene with {pair}{moves}", "draw a scene of {pair} {where}{moves}"),
)

# {first}, {second}: two whole instructions.
COMPOSED: Final = Phrasings(
    (
        "{first} and {second}",
        "{first}, then {second}",
        "{first}. {second}",
        "first {first}, then {second}",
        "{first} and also {second}",
        "do two things: {first} and {second}",
        "{first}; also {second}",
        "{first}, and {second}",
    ),
    ("first {first} and then {second}", "{first} and then {second}"),
)

GREEN_SCREEN: Final = Phrasings(
    (
        "put everything on a green screen",
        "replace the background with a green screen",
        "make the background a green screen",
        "show everything in front of a green screen",
        "change the background to a green screen",
        "use a green screen as the background",
        "green screen the {media}",
        "there should be a green screen in the background",
        "turn the background into a green screen",
    ),
    ("change the background into a green screen", "put a green screen in the background"),
)

# {finite}: "the creature of image1 moves left"; {gerund}: "the creature of image1 moving left".
GATHERINGS: Final = Phrasings(
    (
        "{finite} {where}",
        "{where}, {finite}",
        "make a video of {gerund} {where}",
        "show {gerund} {where}",
        "a video in which {finite} {where}",
        "{where} we see {gerund}",
        "a clip of {gerund} {where}",
        "a short clip: {finite} {where}",
        "a scene {where} with {gerund}",
    ),
    ("make a short clip of {gerund} {where}", "show a video in which {finite} {where}"),
)
GROUP_PICTURES: Final = Phrasings(
    (
        "{nouns} {where}",
        "{where}, {nouns}",
        "a picture of {nouns} {where}",
        "show {nouns} {where}",
        "draw {nouns} {where}",
        "make a picture of {nouns} {where}",
        "{where} we see {nouns}",
        "a scene {where} with {nouns}",
    ),
    ("draw a picture of {nouns} {where}", "{where}, a scene with {nouns}"),
)
# {images}: "image1 and image2"; then a sentence about "it".
SAME_SUBJECT: Final = Phrasings(
    (
        "{images} show the same creature. {told}",
        "{images} show one creature. {told}",
        "the creature of {images} is the same. {told}",
        "one creature is in {images}. {told}",
        "the same creature is in {images}. {told}",
        "use the creature of {images}. {told}",
        "see the creature in {images}. {told}",
        "{images} are of one creature. {told}",
    ),
    ("{images} are of the same creature. {told}", "see one creature in {images}. {told}"),
)

REFERENCE_EDITS: Final[dict[str, Phrasings]] = {
    "insert": Phrasings(
        (
            "add {ref} {place}",
            "put {ref} {place}",
            "insert {ref} {place}",
            "place {ref} {place}",
            "draw {ref} {place}",
            "there should be {ref} {place}",
            "{place}, add {ref}",
            "add {ref} to the {media} {place}",
        ),
        ("{place}, there should be {ref}", "insert {ref} to the {media} {place}"),
    ),
    "swap": Phrasings(
        (
            "replace {it} with {ref}",
            "swap {it} for {ref}",
            "turn {it} into {ref}",
            "change {it} into {ref}",
            "put {ref} in place of {it}",
            "use {ref} instead of {it}",
            "replace {it} by {ref}",
            "there should be {ref} instead of {it}",
        ),
        ("put {ref} instead of {it}", "{it} should become {ref}"),
    ),
    "delete": Phrasings(
        (
            "remove {ref}",
            "delete {ref}",
            "erase {ref}",
            "take away {ref}",
            "get rid of {ref}",
            "remove {ref} from the {media}",
            "make {ref} disappear",
            "{ref} should be gone",
        ),
        ("erase {ref} from the {media}", "take {ref} away"),
    ),
    "style": Phrasings(
        (
            "make it look like {tag}",
            "use the style of {tag}",
            "turn the {media} into the style of {tag}",
            "draw the {media} in the style of {tag}",
            "change the style to that of {tag}",
            "in the style of {tag}",
            "give it the style of {tag}",
            "make the {media} look like {tag}",
        ),
        ("give the {media} the style of {tag}", "change the {media} to the style of {tag}"),
    ),
}

# {tag}: the picture with the drawing on it.
DRAWN_ORDERS: Final = Phrasings(
    (
        "follow the drawing in {tag}",
        "do what is drawn in {tag}",
        "do what {tag} shows",
        "follow the marks in {tag}",
        "see the marks in {tag} and do it",
        "{tag} shows what to do",
        "do as drawn in {tag}",
        "the marks in {tag} show what to do",
    ),
    ("do what the marks in {tag} show", "follow what is drawn in {tag}"),
)
CANVAS_ORDERS: Final = Phrasings(
    (
        "follow the canvas in {tag} {where}",
        "make a video of what {tag} shows {where}",
        "do what is drawn in {tag} {where}",
        "{where}, follow the drawing in {tag}",
        "make a clip as drawn in {tag} {where}",
        "a video as {tag} shows {where}",
        "{tag} shows what to do {where}",
        "show what is drawn in {tag} {where}",
    ),
    ("{where}, do what is drawn in {tag}", "make a video as drawn in {tag} {where}"),
)
