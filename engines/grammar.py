"""Grammars over a tokenizer: which tokens may come next, so that what is written has a given form whatever the weights say.

llguidance does the parsing. A text is also bounded in tokens: `close` brings it to the shortest end that its form allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer
from torch import Tensor

from vogue.schemas.errors import EngineError, WeightsMismatch

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

__all__ = ["Form", "Grammars"]

_JSON: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ",",
    "key_separator": ":",
    "json_allowed_escapes": '"\\n',
}
"""One way to write each value: without spaces, and without `\\u`, which could spell half a character."""
# In free text a quote ends it; anywhere else a bracket ends what is open. A letter tells one from the other.
_LETTER, _QUOTE, _ENDS = "e", '"', ("]", "}")


class Form:
    """The state of one text under its grammar."""

    def __init__(self, matcher: LLMatcher, vocabulary: int, marks: Mapping[str, int]) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._marks = marks
        self._closing = False

    @property
    def over(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())

    def forced(self) -> list[int]:
        """Tokens that must come next; they need no network to be known."""
        tokens = [] if self.over else self._matcher.compute_ff_tokens()
        self._consume(tokens)
        return list(tokens)

    def take(self, logits: Tensor) -> Tensor:
        """Logits [V] with what may not come next at minus infinity; while closing, with what leads to the end alone."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool)
        if self._closing:
            allowed = self._nearest_end(allowed)
        mask = torch.zeros(logits.shape[-1], dtype=torch.bool)
        mask[: len(allowed)] = torch.from_numpy(allowed)
        return logits.masked_fill(~mask.to(logits.device), float("-inf"))

    def push(self, token: int) -> None:
        """The token that was chosen."""
        self._consume([token])

    def close(self) -> None:
        """From now on, come to the end."""
        self._closing = True

    def _nearest_end(self, allowed: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        ends = [_QUOTE] if allowed[self._marks[_LETTER]] else [*_ENDS]
        for mark in ends:
            if allowed[self._marks[mark]]:
                only = np.zeros_like(allowed)
                only[self._marks[mark]] = True
                return only
        return allowed

    def _consume(self, tokens: Sequence[int]) -> None:
        if tokens and not self._matcher.consume_tokens(list(tokens)):
            raise EngineError(f"the grammar refused its own tokens: {self._matcher.get_error()}")


class Grammars:
    """Compiles JSON schemas for one tokenizer.

    Args:
        vocabulary: rows of the network's output, of which the tokenizer may use fewer.
        end_id: the token that ends an answer.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, end_id: int) -> None:
        known = tokenizer.get_vocab_size()
        self._tokenizer = LLTokenizer(tokenizer.to_str(), n_vocab=max(known, vocabulary), eos_token=end_id)
        self._vocabulary = vocabulary
        self._marks = {mark: _token_id(tokenizer, mark) for mark in (_LETTER, _QUOTE, *_ENDS)}
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def json(self, schema: Mapping[str, Any]) -> Form:
        """A text that is a JSON value of this schema.

        Raises:
            EngineError: the schema has no grammar.
        """
        matcher = self._compiled(json.dumps(schema)).deep_copy()
        return Form(matcher, self._vocabulary, self._marks)

    def _compile(self, schema: str) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_json_schema(schema, overrides=_JSON), log_level=0)
        if matcher.is_error():
            raise EngineError(f"the schema has no grammar: {matcher.get_error()}")
        return matcher


def _token_id(tokenizer: Tokenizer, text: str) -> int:
    found = tokenizer.token_to_id(text)
    if found is None:
        raise WeightsMismatch(f"the tokenizer has no token {text!r}; it must be a byte-level one")
    return int(found)
