"""The MLLM: a Qwen2.5-VL that reads an instruction and its pictures, and answers questions about them.

It gives hidden states to the connector in one of two variants (NUMERICS, from instruction to context, 3). It knows nothing
of latents, tasks' defaults or files: pictures arrive as uint8 frames, the task's wording as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from vogue.schemas.config import MLLMConfig

from .generation import GREEDY, Continuation, Sampling, continue_rows
from .grammar import Grammars
from .processor import Patches, VisionProcessor
from .prompting import END, Chat, ChatTokenizer, Reading, VisualKind

__all__ = ["MLLM", "CachedRows"]

SECONDS_PER_GRID = 1.0


@dataclass(frozen=True)
class Batch:
    """Padded inputs of the network: ids and mask [B, L], and the patches of all rows in their order."""

    ids: Tensor
    mask: Tensor
    patches: list[Patches]

    def grids(self, kind: VisualKind) -> Tensor | None:
        """Grids [visuals, 3] of one kind, or None."""
        chosen = [patches.grid for patches in self.patches if patches.kind is kind]
        return torch.tensor(chosen, device=self.ids.device) if chosen else None


class MLLM:
    """A frozen Qwen2.5-VL with its tokenizer, its vision processor and the preset's system prompt."""

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        tokenizer: ChatTokenizer,
        processor: VisionProcessor,
        config: MLLMConfig,
        system_prompt: str,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.processor = processor
        self.config = config
        self.system_prompt = system_prompt
        self._end = tokenizer.token_id(END)
        self.eyes: Callable[[Patches], Tensor] = self.look
        """What gives the vision tower's states of a visual. Whoever remembers them puts a memory before `look`."""
        self.count: Callable[[int, int], None] = lambda read, written: None
        """Told how many tokens were read, those of visuals included, and how many were written."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        device: torch.device = self.model.device
        return device

    def chat(self, reading: Reading) -> tuple[Chat, list[Patches]]:
        """Token ids and patches of one reading, laid out for generation."""
        patches = self._patches(reading)
        text = self.tokenizer.user_text(reading.text, reading.task_instruction)
        return self.tokenizer.generation(self.system_prompt, [(p.kind, p.num_tokens) for p in patches], text), patches

    @torch.inference_mode()
    def encode(self, readings: Sequence[Reading], padding: Literal["left", "right"] = "right") -> list[Tensor]:
        """Hidden states of each reading that the connector is given: [L_i, D], the last layer after its norm.

        Rows of different lengths are padded and masked; a row's result does not depend on its neighbours.
        """
        chats, patches = zip(*(self.chat(reading) for reading in readings), strict=True)
        batch = self._batch([chat.ids for chat in chats], [p for row in patches for p in row], padding)
        states = self._forward(batch, self._positions(batch))
        width = batch.ids.shape[1]
        kept = []
        for row, chat in enumerate(chats):
            offset = width - len(chat.ids) if padding == "left" else 0
            kept.append(states[row, torch.tensor(chat.context, device=states.device) + offset].clone())
        return kept

    def answer(self, reading: Reading, max_new_tokens: int | None = None, sampling: Sampling = GREEDY) -> Iterator[str]:
        """Stream the answer to a question, in pieces of text, which together are `answers` of it.

        A piece may come a few tokens late, when a character spans tokens.
        """
        row, network = Continuation(self._end, self._budget(max_new_tokens), sampling), self._ask([reading])
        said, told = "", 0
        try:
            for _ in continue_rows(network, [row]):
                said = self.tokenizer.decode(row.ids)
                if len(said) > told and not said.endswith("\ufffd"):
                    yield said[told:]
                    told = len(said)
        finally:
            # Also where nobody listens to the end.
            self.count(0, len(row.ids))
        if len(said) > told:
            yield said[told:]

    def answers(
        self, readings: Sequence[Reading], max_new_tokens: int | None = None, sampling: Sampling = GREEDY
    ) -> list[str]:
        """The answers to several questions, generated together."""
        budget = self._budget(max_new_tokens)
        return self._finish(readings, [Continuation(self._end, budget, sampling) for _ in readings])

    def write(
        self, readings: Sequence[Reading], schemas: Sequence[Mapping[str, Any]], max_new_tokens: int
    ) -> list[str]:
        """JSON values of the given schemas, one for each reading, whatever the weights say.

        A text that reaches `max_new_tokens` is brought to the shortest end that its schema allows.
        """
        forms = [self._grammars.json(schema) for schema in schemas]
        return self._finish(readings, [Continuation(self._end, max_new_tokens, form=form) for form in forms])

    def _finish(self, readings: Sequence[Reading], rows: Sequence[Continuation]) -> list[str]:
        for _ in continue_rows(self._ask(readings), rows):
            pass
        self.count(0, sum(len(row.ids) for row in rows))
        return [self.tokenizer.decode(row.ids) for row in rows]

    def _budget(self, asked: int | None) -> int:
        return self.config.max_new_tokens if asked is None else asked

    def _ask(self, readings: Sequence[Reading]) -> CachedRows:
        """The readings laid out as questions, padded on the left, ready to be continued."""
        rows, patches = [], []
        for reading in readings:
            shown = self._patches(reading)
            text = self.tokenizer.user_text(reading.text, reading.task_instruction)
            rows.append(self.tokenizer.question(self.system_prompt, [(p.kind, p.num_tokens) for p in shown], text).ids)
            patches += shown
        return CachedRows(self, self._batch(rows, patches, "left"))

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self.tokenizer.tokenizer, self.model.lm_head.weight.shape[0], self._end)

    @torch.inference_mode()
    def look(self, patches: Patches) -> Tensor:
        """The vision tower's pass over one visual: states [tokens, D]. It depends on nothing else in the chat."""
        values = patches.values.to(self.device, self.model.model.visual.dtype)
        grid = torch.tensor([patches.grid], device=self.device)
        states: Tensor = self.model.model.visual(values, grid_thw=grid).pooler_output
        return states

    def _embed(self, batch: Batch) -> Tensor:
        """Embeddings [B, L, D] of the tokens, those of visuals replaced by what the vision tower makes of them.

        The same picture in several rows is looked at once.
        """
        embedded: Tensor = self.model.get_input_embeddings()(batch.ids)
        seen: dict[str, Tensor] = {}
        for kind, token_id in (
            (VisualKind.IMAGE, self.model.config.image_token_id),
            (VisualKind.VIDEO, self.model.config.video_token_id),
        ):
            chosen = [patches for patches in batch.patches if patches.kind is kind]
            for patches in chosen:
                if patches.digest not in seen:
                    seen[patches.digest] = self.eyes(patches)
            if chosen:
                states = torch.cat([seen[patches.digest] for patches in chosen]).to(embedded.device, embedded.dtype)
                embedded = embedded.masked_scatter((batch.ids == token_id)[..., None], states)
        return embedded

    def _patches(self, reading: Reading) -> list[Patches]:
        images = [self.processor.image(frame) for frame in reading.images]
        return images + [self.processor.video(frames) for frames in reading.videos]

    def _batch(self, rows: Sequence[list[int]], patches: list[Patches], padding: Literal["left", "right"]) -> Batch:
        width = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            where = slice(width - len(row), width) if padding == "left" else slice(0, len(row))
            ids[i, where] = torch.tensor(row)
            mask[i, where] = 1
        self.count(int(mask.sum()), 0)
        return Batch(ids.to(self.device), mask.to(self.device), patches)

    def _positions(self, batch: Batch) -> Tensor:
        """Three-axis positions [3, B, L]: text in a line, each visual on its grid, padding left out."""
        config = self.model.config
        kinds = (batch.ids == config.image_token_id).int() + 2 * (batch.ids == config.video_token_id).int()
        image_grid, video_grid = batch.grids(VisualKind.IMAGE), batch.grids(VisualKind.VIDEO)
        seconds = None if video_grid is None else torch.full((len(video_grid),), SECONDS_PER_GRID, device=self.device)
        positions: Tensor
        positions, _ = self.model.model.get_rope_index(
            batch.ids,
            kinds * batch.mask.int(),
            image_grid_thw=image_grid,
            video_grid_thw=video_grid,
            second_per_grid_ts=seconds,
            attention_mask=batch.mask,
        )
        return positions

    def _forward(self, batch: Batch, positions: Tensor, cache: DynamicCache | None = None) -> Tensor:
        """The last layer after its norm, [B, L, D]."""
        out = self.model.model(
            inputs_embeds=self._embed(batch),
            attention_mask=None if cache is None and bool(batch.mask.all()) else batch.mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states


class CachedRows:
    """A batch that was read with a key-value cache, so that it can be continued; a `Network` for `continue_rows`."""

    def __init__(self, mllm: MLLM, batch: Batch) -> None:
        self._mllm = mllm
        self._batch = batch
        self._cache = DynamicCache(config=mllm.model.config.get_text_config())
        self._positions = mllm._positions(batch)  # [3, B, L]
        self._next = self._positions.amax((0, 2)) + 1  # [B]

    def first(self) -> Tensor:
        """Logits [B, V] after the prompts."""
        return self._logits(self._batch, self._positions)

    def following(self, ids: Tensor) -> Tensor:
        """Logits [B, V] after these ids [B, N] more."""
        rows, count = ids.shape
        mask = torch.cat([self._batch.mask, self._batch.mask.new_ones(rows, count)], dim=1)
        self._batch = Batch(ids.to(self._mllm.device), mask, [])
        places = self._next[:, None] + torch.arange(count, device=self._next.device)  # [B, N]
        self._next = self._next + count
        return self._logits(self._batch, places.expand(3, -1, -1))

    def _logits(self, batch: Batch, positions: Tensor) -> Tensor:
        states = self._mllm._forward(batch, positions, self._cache)
        logits: Tensor = self._mllm.model.lm_head(states[:, -1])
        return logits
