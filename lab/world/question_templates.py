"""The wording of questions about pictures and clips: tables only, as in `phrasings`."""

from __future__ import annotations

from typing import Final

from .phrasings import Phrasings

DESCRIBE: Final = Phrasings(
    (
        "describe the {media}.",
        "what do you see?",
        "what is in the {media}?",
        "what does the {media} show?",
        "tell what you see in the {media}.",
        "say what is in the {media}.",
        "what can be seen in the {media}?",
        "describe what you see.",
    ),
    ("describe what is in the {media}.", "tell what the {media} shows."),
)

QUESTIONS: Final[dict[str, Phrasings]] = {
    "color": Phrasings(
        (
            "what color is the {shape}?",
            "which color is the {shape}?",
            "what is the color of the {shape}?",
            "which color has the {shape}?",
            "say the color of the {shape}.",
            "the {shape} is of what color?",
            "what color has the {shape}?",
            "tell the color of the {shape}.",
        ),
        ("which is the color of the {shape}?", "the {shape} has which color?"),
    ),
    "shape": Phrasings(
        (
            "which shape is {color}?",
            "what shape is {color}?",
            "what is {color}?",
            "what shape has the color {color}?",
            "which shape has the color {color}?",
            "say which shape is {color}.",
            "what is the {color} shape?",
            "tell which shape is {color}.",
        ),
        ("which one is the {color} shape?", "say what is {color}."),
    ),
    "count": Phrasings(
        (
            "how many shapes are there?",
            "how many shapes do you see?",
            "how many shapes are in the {media}?",
            "count the shapes.",
            "what is the number of shapes?",
            "say how many shapes there are.",
            "how many shapes does the {media} show?",
            "tell how many shapes you see.",
        ),
        ("count the shapes in the {media}.", "say how many shapes are in the {media}."),
    ),
    "place": Phrasings(
        (
            "where is the {color} {shape}?",
            "where do you see the {color} {shape}?",
            "in which place is the {color} {shape}?",
            "say where the {color} {shape} is.",
            "where in the {media} is the {color} {shape}?",
            "tell where the {color} {shape} is.",
            "the {color} {shape} is where?",
            "what is the place of the {color} {shape}?",
        ),
        ("tell in which place the {color} {shape} is.", "where does the {media} show the {color} {shape}?"),
    ),
    "motion": Phrasings(
        (
            "how does the {color} {shape} move?",
            "what does the {color} {shape} do?",
            "what is the {color} {shape} doing?",
            "how is the {color} {shape} moving?",
            "say how the {color} {shape} moves.",
            "what happens to the {color} {shape}?",
            "tell how the {color} {shape} moves.",
            "say what the {color} {shape} does.",
        ),
        ("tell what the {color} {shape} does.", "say what happens to the {color} {shape}."),
    ),
    "first": Phrasings(
        (
            "which shape comes first?",
            "what comes first?",
            "which shape is there first?",
            "what do you see first?",
            "which shape do you see first?",
            "say which shape comes first.",
            "what is the first shape?",
            "tell what comes first.",
        ),
        ("say what you see first.", "tell which shape is there first."),
    ),
    "last": Phrasings(
        (
            "which shape comes last?",
            "what comes last?",
            "which shape is the last to come?",
            "what is the last to come?",
            "which shape do you see last?",
            "say which shape comes last.",
            "what is the last shape?",
            "tell what comes last.",
        ),
        ("say what you see last.", "tell which shape is the last to come."),
    ),
    "after": Phrasings(
        (
            "what comes after the {shape}?",
            "which shape comes after the {shape}?",
            "after the {shape}, what comes?",
            "after the {shape}, which shape comes?",
            "say what comes after the {shape}.",
            "what do you see after the {shape}?",
            "which shape do you see after the {shape}?",
            "tell what comes after the {shape}.",
        ),
        ("tell which shape comes after the {shape}.", "after the {shape}, what do you see?"),
    ),
}
