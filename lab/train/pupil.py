"""Mini's MLLM as it is trained: a small Qwen2.5-VL, with heads that only training needs."""

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

from .phrases import NAMED
from .reading import count_classes, make_reader
from .sights import NUM_SEEN_PLACES, SEEN

__all__ = [
    "IMAGE_MEAN",
    "IMAGE_STD",
    "MERGE",
    "PATCH",
    "Pupil",
    "mllm_config",
    "pack_frames",
    "save_mllm",
    "special_id",
]

PATCH, MERGE = 8, 2
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)


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


class Pupil(nn.Module):
    """The MLLM with four heads that only its training needs.

    The generator gets last hidden states of words and pictures, which next-token prediction alone shapes to tell the next word: in a
    network this small they lose which word they stand at, and whose. `echo` asks them for their own word, `bind` for the facts of
    the thing that the sentence speaks of there, `mind` asks those of visual tokens for what is to be seen there, and `eyes`
    asks that of the vision tower's tokens already.
    """

    def __init__(self, mllm: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        self.mllm = mllm
        for module in mllm.modules():
            if isinstance(module, Qwen2_5_VLVisionAttention):
                module.forward = _attend_together.__get__(module)  # type: ignore[method-assign]
            elif isinstance(module, Qwen2_5_VisionPatchEmbed):
                module.forward = _embed_together.__get__(module)  # type: ignore[method-assign]
        vocabulary, width = mllm.lm_head.weight.shape
        self.echo = nn.Linear(width, vocabulary)
        self.bind = nn.Linear(width, sum(count_classes(NAMED)))
        self.eyes = make_reader(width, SEEN, NUM_SEEN_PLACES)
        self.mind = make_reader(width, SEEN, NUM_SEEN_PLACES)

    def forward(self, **given: Tensor) -> tuple[Tensor, Tensor | None]:
        """Last hidden states [B, L, width] of a laid-out batch, as `Qwen2_5_VLModel` takes it, and the vision tower's tokens [N, width]
        of the visual inputs that it looked at last, in reading order for pictures of one window.
        """
        looked: list[Tensor] = []
        # For this forward only: a hook that stays would keep every graph alive, and a copy's would fill the original's list.
        hook = self.mllm.model.visual.merger.register_forward_hook(lambda module, inputs, made: looked.append(made))
        try:
            states: Tensor = self.mllm.model(**given, use_cache=False).last_hidden_state
        finally:
            hook.remove()
        return states, looked[-1] if looked else None


def open_pupil(tokenizer: Tokenizer, **sizes: int) -> Pupil:
    """A new MLLM for a tokenizer, with its heads; `sizes` as of `mllm_config`."""
    config = mllm_config(tokenizer, **sizes)
    return Pupil(Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="eager"))


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
