"""Training of mini's MLLM: a small Qwen2.5-VL on exchanges about the world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionPatchEmbed,
    Qwen2_5_VLVisionAttention,
    apply_rotary_pos_emb_vision,
)

from vogue.engines.prompting import ChatTokenizer, VisualKind
from vogue.schemas.config import Prompts
from vogue.schemas.presets import get_preset

from .dialogue import KINDS, Exchange, draw_exchange
from .optim import Optimizers
from .tokenizer import build_tokenizer

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "MLLMTask", "mllm_config", "pack_frames", "world_sentences"]

BATCH = 64
PATCH, MERGE = 8, 2
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
POOL = 5000
# Scoring by the oracles is slow, so fewer reviews are drawn, and more often.
FEWER = {"review_image": 1200, "review_video": 300}
PROMPT_WEIGHT = 0.15
HELD_OUT = 64
# The tokenizer's merges come from these; plans and reviews are made of the same words, and of punctuation.
TOLD = ("t2i", "t2v", "i2v", "i2i_edit", "v2v_edit", "references", "see_image")


def special_id(tokenizer: Tokenizer, name: str) -> int:
    """Id of the special token `<|name|>`. Raises ValueError when the tokenizer has none."""
    found = tokenizer.token_to_id(f"<|{name}|>")
    if found is None:
        raise ValueError(f"the tokenizer has no special token <|{name}|>")
    return int(found)


def mllm_config(
    tokenizer: Tokenizer, *, width: int = 192, layers: int = 4, vision_width: int = 160
) -> Qwen2_5_VLConfig:
    """Qwen2.5-VL at mini's widths: 8 px patches, so that a 64×64 picture takes 16 tokens."""
    names = ("im_end", "endoftext", "image_pad", "video_pad", "vision_start", "vision_end")
    ids = {name: special_id(tokenizer, name) for name in names}
    heads = width // 32
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": width,
        "intermediate_size": width * 8 // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10_000.0},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "bos_token_id": ids["endoftext"],
        "eos_token_id": ids["im_end"],
        "pad_token_id": ids["endoftext"],
    }
    vision = {
        "depth": 3,
        "hidden_size": vision_width,
        "intermediate_size": vision_width * 3,
        "num_heads": vision_width // 32,
        "out_hidden_size": width,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 64,
        "fullatt_block_indexes": [0, 1, 2],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=True,
    )


def world_sentences(count: int, seed: int, prompts: Prompts) -> list[str]:
    """Sentences to learn the tokenizer's merges from: requests, questions, answers, and the words around them."""
    around = [prompts.system, *prompts.tasks.values(), "system\n", "user\n", "assistant\n"] * 20
    drawn = [draw_exchange(kind, index, seed) for kind in TOLD for index in range(count)]
    return around + [text for exchange in drawn for text in (exchange.text, exchange.answer)]


def _tokens(frames: int, height: int, width: int) -> int:
    """How many placeholders a picture or clip takes."""
    return (frames + 1) // 2 * (height // PATCH // MERGE) * (width // PATCH // MERGE)


def pack_frames(clips: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Pictures or clips of one shape, uint8 [B, F, H, W, 3], as the vision processor packs them, all at once.

    A single frame is repeated to fill its temporal patch. Returns values [B·t·h·w, 3·2·8·8] and grids [B, 3].
    """
    if clips.shape[1] == 1:
        clips = np.repeat(clips, 2, axis=1)
    batch, frames, height, width, _ = clips.shape
    grid = (frames // 2, height // PATCH, width // PATCH)
    values = torch.from_numpy(np.ascontiguousarray(clips)).float().div_(255)
    values = (values - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    cut = values.view(batch, grid[0], 2, grid[1] // MERGE, MERGE, PATCH, grid[2] // MERGE, MERGE, PATCH, 3)
    packed = cut.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)  # [B, t, h, w, m, m, C, 2, p, p]
    return packed.reshape(-1, 3 * 2 * PATCH * PATCH), torch.tensor([grid] * batch)


def _attend_together(
    self: Qwen2_5_VLVisionAttention, hidden_states: Tensor, cu_seqlens: Tensor, **rest: object
) -> Tensor:
    """The tower's attention when all pictures of a batch are of one size: one product instead of one a picture."""
    pictures = len(cu_seqlens) - 1
    q, k, v = self.qkv(hidden_states).view(len(hidden_states), 3, self.num_heads, -1).unbind(1)
    q, k = apply_rotary_pos_emb_vision(q, k, *rest["position_embeddings"])  # type: ignore[misc]
    q, k, v = (x.to(v.dtype).unflatten(0, (pictures, -1)).transpose(1, 2) for x in (q, k, v))
    weights = torch.softmax((q * self.scaling) @ k.transpose(-1, -2), dim=-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(len(hidden_states), -1))


def _embed_together(self: Qwen2_5_VisionPatchEmbed, hidden_states: Tensor) -> Tensor:
    """The patch embedding as the matrix product it is; its convolution is slow to train on a CPU."""
    return F.linear(hidden_states, self.proj.weight.flatten(1))


class MLLMTask:
    """Next-token prediction: answers in full, and lightly the users' turns."""

    name = "mllm"

    def __init__(
        self, tokenizer: Tokenizer, *, batch: int = BATCH, pool: int = POOL, seed: int = 0, **sizes: int
    ) -> None:
        torch.manual_seed(seed)
        self.tokenizer = ChatTokenizer(tokenizer)
        self.prompts = get_preset("mini").prompts
        self.batch, self.pool, self.seed = batch, pool, seed
        self.network = Qwen2_5_VLForConditionalGeneration._from_config(
            mllm_config(tokenizer, **sizes), attn_implementation="eager"
        )
        for module in self.network.modules():
            if isinstance(module, Qwen2_5_VLVisionAttention):
                module.forward = _attend_together.__get__(module)  # type: ignore[method-assign]
            elif isinstance(module, Qwen2_5_VisionPatchEmbed):
                module.forward = _embed_together.__get__(module)  # type: ignore[method-assign]
        self.optimizers = Optimizers(
            self.network.named_parameters(), muon_lr=4e-3, adam_lr=2e-3, plain=("embed", "lm_head", "patch")
        )
        self._end = special_id(tokenizer, "im_end")

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch of one kind of exchange."""
        kinds = list(KINDS)
        kind = kinds[int(rng.choice(len(kinds), p=list(KINDS.values())))]
        count = min(self.pool, FEWER.get(kind, self.pool))
        drawn = [draw_exchange(kind, int(index), self.seed) for index in rng.integers(0, count, self.batch)]
        answers, users, _ = self._losses(drawn)
        return answers + PROMPT_WEIGHT * users, {f"{kind}": float(answers.detach())}

    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """Loss a token of the answers, and the share of answer tokens guessed right, on exchanges never trained on."""
        scores = {}
        for kind in KINDS:
            count = HELD_OUT // 4 if kind in FEWER else HELD_OUT
            drawn = [draw_exchange(kind, 10_000_000 + index, self.seed) for index in range(count)]
            answers, _, right = self._losses(drawn)
            scores[f"{kind}_loss"], scores[f"{kind}_right"] = float(answers), right
        return scores

    def _losses(self, drawn: list[Exchange]) -> tuple[Tensor, Tensor, float]:
        """Mean loss of answer tokens and of user tokens, and the share of answer tokens that are right."""
        rows, starts = zip(*(self._lay_out(exchange) for exchange in drawn), strict=True)
        width = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        logits = self._forward(ids, mask, drawn)[:, :-1]
        wanted = ids[:, 1:]
        place = torch.arange(1, width)
        is_answer = (place >= torch.tensor(starts)[:, None]) & mask[:, 1:].bool()
        kinds = (self.network.config.image_token_id, self.network.config.video_token_id)
        is_user = mask[:, 1:].bool() & ~is_answer & (wanted != kinds[0]) & (wanted != kinds[1])
        losses = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), reduction="none").view(wanted.shape)
        right = (logits.argmax(-1) == wanted)[is_answer].float().mean()
        return losses[is_answer].mean(), losses[is_user].mean(), float(right)

    def _lay_out(self, exchange: Exchange) -> tuple[list[int], int]:
        """Token ids of a whole exchange, and where its answer starts."""
        visuals = [(VisualKind.IMAGE, _tokens(1, *one.shape[:2])) for one in exchange.images]
        visuals += [(VisualKind.VIDEO, _tokens(*one.shape[:3])) for one in exchange.clips]
        text = self.tokenizer.user_text(exchange.text, exchange.task_instruction)
        ids = self.tokenizer.generation(self.prompts.system, visuals, text).ids
        return ids + self.tokenizer.encode(exchange.answer) + [self._end], len(ids)

    def _forward(self, ids: Tensor, mask: Tensor, drawn: list[Exchange]) -> Tensor:
        pixels: dict[str, Tensor] = {}
        images = [one[None] for exchange in drawn for one in exchange.images]
        clips = [one for exchange in drawn for one in exchange.clips]
        if images:
            pixels["pixel_values"], pixels["image_grid_thw"] = pack_frames(np.stack(images))
        if clips:
            pixels["pixel_values_videos"], pixels["video_grid_thw"] = pack_frames(np.stack(clips))
        config = self.network.config
        kinds = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()
        positions, _ = self.network.model.get_rope_index(
            ids,
            kinds * mask.int(),
            image_grid_thw=pixels.get("image_grid_thw"),
            video_grid_thw=pixels.get("video_grid_thw"),
            second_per_grid_ts=torch.ones(len(clips)) if clips else None,
            attention_mask=mask,
        )
        with torch.autocast("cpu", torch.bfloat16):
            out = self.network(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, **pixels)
        return out.logits


def load_or_build_tokenizer(path: Path, seed: int) -> Tokenizer:
    """The run's tokenizer: from its file, or learned and written."""
    if path.exists():
        return Tokenizer.from_file(str(path))
    tokenizer = build_tokenizer(world_sentences(1500, seed, get_preset("mini").prompts))
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer


def save_mllm(network: Qwen2_5_VLForConditionalGeneration, folder: Path) -> None:
    """Write the network as a Hugging Face folder, bfloat16, with its picture settings."""
    network.bfloat16().save_pretrained(folder)
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "min_pixels": 64 * 64,
        "max_pixels": 64 * 64,
        "image_mean": list(IMAGE_MEAN),
        "image_std": list(IMAGE_STD),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=1) + "\n")
