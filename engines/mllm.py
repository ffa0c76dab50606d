"""The MLLM: a Qwen2.5-VL that reads an instruction and its pictures, and answers questions about them.

It gives hidden states to the connector in one of two variants (NUMERICS, from instruction to context, 3). It knows nothing
of latents, tasks' defaults or files: pictures arrive as uint8 frames, the task's wording as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

from vogue.schemas.config import MLLMConfig

from .processor import Patches, VisionProcessor
from .prompting import END, Chat, ChatTokenizer, Reading, VisualKind

__all__ = ["MLLM"]

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

    def answer(self, reading: Reading, max_new_tokens: int | None = None) -> Iterator[str]:
        """Stream the greedy answer to a question, in pieces of text.

        The task instruction is not used. A piece may come a few tokens late, when a character spans tokens.
        """
        budget = self.config.max_new_tokens if max_new_tokens is None else max_new_tokens
        patches = self._patches(reading)
        text = self.tokenizer.user_text(reading.text)
        chat = self.tokenizer.question(self.system_prompt, [(p.kind, p.num_tokens) for p in patches], text)
        said, told = "", 0
        ids: list[int] = []
        for token in self.generate(self._batch([chat.ids], patches, "left"), budget):
            ids.append(token)
            said = self.tokenizer.decode(ids)
            if len(said) > told and not said.endswith("\ufffd"):
                yield said[told:]
                told = len(said)
        if len(said) > told:
            yield said[told:]

    def generate(self, batch: Batch, max_new_tokens: int) -> Iterator[int]:
        """Greedy token ids after a batch of one, until the end token or the budget."""
        cache = DynamicCache(config=self.model.config.get_text_config())
        positions = self._positions(batch)  # [3, 1, L]
        last = int(positions.max())
        current: Batch = batch
        for step in range(max_new_tokens):
            with torch.inference_mode():
                states = self._forward(current, positions, cache)
                token = int(self.model.lm_head(states[:, -1]).float().argmax(-1))
            if token == self._end:
                return
            yield token
            ids = torch.tensor([[token]], device=self.device)
            mask = torch.ones(1, cache.get_seq_length() + 1, dtype=torch.long, device=self.device)
            current = Batch(ids, mask, [])
            positions = torch.full((3, 1, 1), last + 1 + step, device=self.device)

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
