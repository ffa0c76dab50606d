"""How an instruction becomes token ids: the chat layout, and which positions the context is read from.

Knows nothing of pixels: to the layout a picture is a count of placeholder tokens. The wording comes from the preset (NUMERICS, prompts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from vogue.schemas.config import Variant
from vogue.schemas.errors import WeightsMismatch

__all__ = ["END", "Chat", "ChatTokenizer", "Reading", "VisualKind"]

WORD_JOINER = "\u2060"
BEGIN, END = "<|im_start|>", "<|im_end|>"
VISION_BEGIN, VISION_END = "<|vision_start|>", "<|vision_end|>"
ASSISTANT = f"{END}\n{BEGIN}assistant\n"


class VisualKind(StrEnum):
    """How the MLLM is shown a visual; the value is its placeholder token."""

    IMAGE = "<|image_pad|>"
    VIDEO = "<|video_pad|>"


@dataclass(frozen=True)
class Reading:
    """What the MLLM reads in one pass: pictures [H, W, 3], then clips [F, H, W, 3] (already thinned), then text."""

    text: str
    task_instruction: str = ""
    images: tuple[NDArray[np.uint8], ...] = ()
    videos: tuple[NDArray[np.uint8], ...] = ()


@dataclass(frozen=True)
class Chat:
    """Token ids of one conversation, and the positions whose hidden states make the context, in their order."""

    ids: list[int]
    context: list[int]


class ChatTokenizer:
    """Lays out chats as the release does (NUMERICS, from instruction to context, 1, 3 and 7).

    Args:
        tokenizer: a byte-level BPE with Qwen's special tokens.
        num_queries: learnable queries after the assistant header; 0 for the *hidden* variant.
        first_query_row: row of the begin token in the resized embedding, V of the original one. Not the tokenizer's
            length, which is smaller.
        max_text_tokens: the user's text, task instruction included, is cut to this.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, num_queries: int = 0, first_query_row: int = 0, max_text_tokens: int = 2048
    ) -> None:
        self.tokenizer = tokenizer
        self.num_queries = num_queries
        self.first_query_row = first_query_row
        self.max_text_tokens = max_text_tokens
        added = tokenizer.get_added_tokens_decoder().values()
        self._reserved = sorted((token.content for token in added), key=len, reverse=True)

    @property
    def variant(self) -> Variant:
        """Which of the two ways to read a context this tokenizer lays out."""
        return Variant.QUERIES if self.num_queries else Variant.HIDDEN

    def token_id(self, token: str) -> int:
        """Id of a special token.

        Raises:
            WeightsMismatch: the tokenizer has no such token.
        """
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise WeightsMismatch(
                f"the tokenizer has no token {token}; it must be Qwen2.5-VL's, or have its special tokens"
            )
        return int(found)

    def encode(self, text: str) -> list[int]:
        """Ids of trusted text, in which special tokens mean what they say."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def neutralise(self, text: str) -> str:
        """Break every special token that a user typed, so that it is read as plain text.

        Text is normalised as the tokenizer would, and first, so that nothing can turn into a token afterwards.
        """
        if self.tokenizer.normalizer is not None:
            text = self.tokenizer.normalizer.normalize_str(text)
        for token in self._reserved:
            text = text.replace(token, token[0] + WORD_JOINER + token[1:])
        return text

    def user_text(self, instruction: str, task_instruction: str = "") -> str:
        """The text of the user's turn: trusted task instruction, then the neutralised instruction, cut together."""
        text = task_instruction + self.neutralise(instruction)
        ids = self.encode(text)
        if len(ids) <= self.max_text_tokens:
            return text
        return self.decode(ids[: self.max_text_tokens])

    def generation(self, system: str, visuals: Sequence[tuple[VisualKind, int]], text: str) -> Chat:
        """The chat that a picture or clip is generated from.

        Args:
            system: the preset's system prompt.
            visuals: kind and number of placeholder tokens of each visual, images before videos.
            text: from `user_text`.
        """
        head = f"{BEGIN}system\n{system}{END}\n{BEGIN}user\n"
        start = len(self.encode(head))
        body = head + _placeholders(visuals) + text + ASSISTANT
        if not self.num_queries:
            ids = self.encode(body)
            return Chat(ids, list(range(start, len(ids))))
        # The header's newline and the one before the queries are one token, so they are encoded together.
        ids = self.encode(body + "\n")
        if visuals:
            start = len(ids) - ids[::-1].index(self.token_id(VISION_END))
        begin = len(ids)
        row = self.first_query_row
        queries = list(range(row + 2, row + 2 + self.num_queries))
        ids += [row, *queries, row + 1, self.token_id(END)]
        first = begin + 1
        kept = [*range(start, begin), len(ids) - 1, *range(first, first + self.num_queries)]
        return Chat(ids, kept)

    def question(self, system: str, visuals: Sequence[tuple[VisualKind, int]], text: str) -> Chat:
        """The chat that an answer continues: no task instruction, no queries, nothing read as context."""
        body = f"{BEGIN}system\n{system}{END}\n{BEGIN}user\n" + _placeholders(visuals) + text + ASSISTANT
        return Chat(self.encode(body), [])


def _placeholders(visuals: Sequence[tuple[VisualKind, int]]) -> str:
    return "".join(VISION_BEGIN + kind.value * count + VISION_END for kind, count in visuals)
