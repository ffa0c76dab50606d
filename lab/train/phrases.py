"""Who a sentence speaks of at each of its tokens, read off the words themselves.

A generator that is given the states of "a red star and a blue ring" must know that the star is the red one. Next-token prediction
teaches a small network the words long before it teaches which belong together, so its states are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenizers import Tokenizer

from vogue.lab.world.scene import COLORS, MATERIALS, SHAPES

__all__ = ["NAMED", "Phrases"]

NAMED: Final[dict[str, tuple[str, ...]]] = {"shape": SHAPES, "color": tuple(COLORS), "material": MATERIALS}
_NOUN: Final = list(NAMED).index("shape")
_PLAIN: Final = 1 + MATERIALS.index("plain")


class Phrases:
    """The named facts of a tokenizer's words; words of several tokens are passed over."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.words: dict[int, tuple[int, int]] = {}
        for attribute, values in enumerate(NAMED.values()):
            for number, value in enumerate(values):
                for written in (value, f" {value}"):
                    ids = tokenizer.encode(written).ids
                    if len(ids) == 1:
                        self.words[ids[0]] = attribute, 1 + number

    def read(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """For each token shape, colour and material of the thing last named, each 1 + the value's index or 0 for untold.

        Between an adjective and its noun nobody is spoken of: all three are 0. What is not called striped or dotted is plain.
        """
        nobody = (0,) * len(NAMED)
        named, coming = nobody, list(nobody)
        told = []
        for token in ids:
            attribute, value = self.words.get(token, (-1, 0))
            if attribute == _NOUN:
                named, coming = (value, coming[1], coming[2] or _PLAIN), list(nobody)
            elif attribute >= 0:
                coming[attribute] = value
            told.append(nobody if any(coming) else named)
        return told
