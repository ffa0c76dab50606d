"""Training of mini's MLLM: a small Qwen2.5-VL on exchanges about the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from vogue.engines.prompting import ChatTokenizer, VisualKind
from vogue.schemas.config import Prompts
from vogue.schemas.presets import get_preset

from .dialogue import KINDS, Exchange, draw_exchange
from .optim import Optimizers
from .phrases import NAMED, Phrases
from .pupil import MERGE, PATCH, open_pupil, pack_frames, special_id
from .reading import count_classes, reading_loss, reading_right
from .sights import REPORTED, SEEN, Sight, SightKind, draw_sight, facts_of
from .tokenizer import build_tokenizer

__all__ = ["MLLMTask", "load_or_build_tokenizer", "world_sentences"]

BATCH = 64
POOL = 5000
# Scoring by the oracles is slow, so fewer reviews are drawn, and more often.
FEWER = {"review_image": 1200, "review_video": 300}
# Plans and reviews are long: a whole batch of them would cost ten of the others.
PARTS = {"plan": 3, "plan_drawn": 3, "review_image": 6, "review_video": 8}
PROMPT_WEIGHT = 0.15
ECHO_WEIGHT = 0.3
BIND_WEIGHT = 0.5
SIGHTS: dict[SightKind, tuple[float, int]] = {"picture": (0.12, 96), "clip": (0.1, 40), "drawing": (0.08, 96)}
"""Share of the batches, and their size, in which visual tokens are asked what they show."""
HELD_OUT = 64
# The tokenizer's merges come from these; plans and reviews are made of the same words, and of punctuation.
TOLD = ("t2i", "t2v", "i2v", "i2i_edit", "v2v_edit", "references", "see_image")


def world_sentences(count: int, seed: int, prompts: Prompts) -> list[str]:
    """Sentences to learn the tokenizer's merges from: requests, questions, answers, and the words around them."""
    around = [prompts.system, *prompts.tasks.values(), "system\n", "user\n", "assistant\n"] * 20
    drawn = [draw_exchange(kind, index, seed) for kind in TOLD for index in range(count)]
    return around + [text for exchange in drawn for text in (exchange.text, exchange.answer)]


def _tokens(frames: int, height: int, width: int) -> int:
    """How many placeholders a picture or clip takes."""
    return (frames + 1) // 2 * (height // PATCH // MERGE) * (width // PATCH // MERGE)


class MLLMTask:
    """Next-token prediction: answers in full, and lightly the users' turns; and what the heads of `Pupil` are asked."""

    name = "mllm"

    def __init__(
        self, tokenizer: Tokenizer, *, batch: int = BATCH, pool: int = POOL, seed: int = 0, **sizes: int
    ) -> None:
        torch.manual_seed(seed)
        self.tokenizer = ChatTokenizer(tokenizer)
        self.prompts = get_preset("mini").prompts
        self.batch, self.pool, self.seed = batch, pool, seed
        self.network = open_pupil(tokenizer, **sizes)
        self.optimizers = Optimizers(
            self.network.named_parameters(),
            muon_lr=4e-3,
            adam_lr=2e-3,
            plain=("embed", "lm_head", "patch", "echo", "bind", "eyes", "mind"),
        )
        self._end = special_id(tokenizer, "im_end")
        self._phrases = Phrases(tokenizer)

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch of one kind of exchange, or of sights."""
        at = rng.random()
        for look, (share, batch) in SIGHTS.items():
            if at < share:
                eyes, mind = self._look(look, rng.integers(0, 2**30, min(batch, 2 * self.batch)))
                asked = reading_loss(*eyes, SEEN) + reading_loss(*mind, SEEN)
                return asked, {look: float(asked.detach()) / 2}
            at -= share
        kinds = list(KINDS)
        kind = kinds[int(rng.choice(len(kinds), p=list(KINDS.values())))]
        count = min(self.pool, FEWER.get(kind, self.pool))
        size = max(1, self.batch // PARTS.get(kind, 1))
        drawn = [draw_exchange(kind, int(index), self.seed) for index in rng.integers(0, count, size)]
        answers, words, _ = self._losses(drawn)
        return answers + words, {kind: float(answers.detach()), "words": float(words.detach())}

    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """Loss a token of the answers, and the share of answer tokens guessed right, on exchanges never trained on; and what the
        visual tokens of new sights are read rightly for.
        """
        scores = {}
        for kind in KINDS:
            count = HELD_OUT // 4 if kind in FEWER else HELD_OUT
            drawn = [draw_exchange(kind, 10_000_000 + index, self.seed) for index in range(count)]
            answers, _, right = self._losses(drawn)
            scores[f"{kind}_loss"], scores[f"{kind}_right"] = float(answers), right
        for look, names in REPORTED.items():
            read, labels, _ = self._look(look, 2**30 + np.arange(HELD_OUT))[-1]
            told = reading_right(read, labels, SEEN)
            scores |= {f"{look} {name}": told[name] for name in names}
        return scores

    def _look(self, kind: SightKind, numbers: NDArray[np.integer]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What is read off the tower's tokens and off the last hidden states of sights, each [B, N, K], with labels and places.

        Raises:
            ValueError: the network has looked at nothing.
        """
        sights = [draw_sight(kind, int(number), self.seed) for number in numbers]
        drawn = [_as_exchange(sight) for sight in sights]
        ids, mask, _ = self._batch(drawn)
        states, tokens = self._forward(ids, mask, drawn)
        if tokens is None:
            raise ValueError("sights must show something")
        config = self.network.mllm.config
        visual = (ids == config.image_token_id) | (ids == config.video_token_id)
        labels, places, _ = facts_of(sights)
        eyes = self.network.eyes(tokens.view(*labels.shape[:2], -1).float())
        mind = self.network.mind(states[visual].view(*labels.shape[:2], -1).float())
        return [(eyes, labels, places), (mind, labels, places)]

    def _losses(self, drawn: list[Exchange]) -> tuple[Tensor, Tensor, float]:
        """Mean loss of answer tokens, what the words before them are asked besides, and the share of answer tokens that are right."""
        ids, mask, starts = self._batch(drawn)
        states = self._forward(ids, mask, drawn)[0][:, :-1]
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network.mllm.lm_head(states)
        wanted = ids[:, 1:]
        is_answer = (torch.arange(1, ids.shape[1]) >= starts[:, None]) & mask[:, 1:].bool()
        config = self.network.mllm.config
        is_word = mask.bool() & (ids != config.image_token_id) & (ids != config.video_token_id)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), reduction="none").view(wanted.shape)
        right = (logits.argmax(-1) == wanted)[is_answer].float().mean()
        is_told = is_word[:, :-1] & (torch.arange(ids.shape[1] - 1) < starts[:, None])
        asked = PROMPT_WEIGHT * losses[is_word[:, 1:] & ~is_answer].mean()
        return losses[is_answer].mean(), asked + self._words(states[is_told], ids[:, :-1], is_told), float(right)

    def _words(self, states: Tensor, ids: Tensor, chosen: Tensor) -> Tensor:
        """What the states [N, width] of chosen tokens [B, L] know of their own words, and of whom the sentence speaks there."""
        with torch.autocast("cpu", torch.bfloat16):
            echo, bind = self.network.echo(states), self.network.bind(states)
        loss = ECHO_WEIGHT * F.cross_entropy(echo.float(), ids[chosen])
        spoken = torch.tensor([self._phrases.read(row) for row in ids.tolist()])[chosen]  # [N, attributes]
        named = spoken[:, 0] > 0
        if named.any():
            for index, logits in enumerate(bind[named].float().split(count_classes(NAMED), dim=-1)):
                loss = loss + BIND_WEIGHT / len(NAMED) * F.cross_entropy(logits, spoken[named, index])
        return loss

    def _batch(self, drawn: list[Exchange]) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids [B, L], their mask, and where the answers start [B]."""
        rows, starts = zip(*(self._lay_out(exchange) for exchange in drawn), strict=True)
        ids = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return ids, mask, torch.tensor(starts)

    def _lay_out(self, exchange: Exchange) -> tuple[list[int], int]:
        """Token ids of a whole exchange, and where its answer starts."""
        visuals = [(VisualKind.IMAGE, _tokens(1, *one.shape[:2])) for one in exchange.images]
        visuals += [(VisualKind.VIDEO, _tokens(*one.shape[:3])) for one in exchange.clips]
        text = self.tokenizer.user_text(exchange.text, exchange.task_instruction)
        ids = self.tokenizer.generation(self.prompts.system, visuals, text).ids
        return ids + self.tokenizer.encode(exchange.answer) + [self._end], len(ids)

    def _forward(self, ids: Tensor, mask: Tensor, drawn: list[Exchange]) -> tuple[Tensor, Tensor | None]:
        """As `Pupil` gives it."""
        pixels: dict[str, Tensor] = {}
        images = [one[None] for exchange in drawn for one in exchange.images]
        clips = [one for exchange in drawn for one in exchange.clips]
        if images:
            pixels["pixel_values"], pixels["image_grid_thw"] = pack_frames(np.stack(images))
        if clips:
            pixels["pixel_values_videos"], pixels["video_grid_thw"] = pack_frames(np.stack(clips))
        model = self.network.mllm
        config = model.config
        kinds = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()
        positions, _ = model.model.get_rope_index(
            ids,
            kinds * mask.int(),
            image_grid_thw=pixels.get("image_grid_thw"),
            video_grid_thw=pixels.get("video_grid_thw"),
            second_per_grid_ts=torch.ones(len(clips)) if clips else None,
            attention_mask=mask,
        )
        with torch.autocast("cpu", torch.bfloat16):
            made: tuple[Tensor, Tensor | None] = self.network(
                input_ids=ids, attention_mask=mask, position_ids=positions, **pixels
            )
        return made


def _as_exchange(sight: Sight) -> Exchange:
    if len(sight.frames) == 1:
        return Exchange("", "", "", (sight.frames[0],))
    return Exchange("", "", "", (), (sight.frames,))


def load_or_build_tokenizer(path: Path, seed: int) -> Tokenizer:
    """The run's tokenizer: from its file, or learned and written."""
    if path.exists():
        return Tokenizer.from_file(str(path))
    tokenizer = build_tokenizer(world_sentences(1500, seed, get_preset("mini").prompts))
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer
