"""HunyuanVideo's multimodal diffusion transformer, without its pooled-text embedding.

Latents and the MLLM's context go through dual-stream blocks, then through single-stream blocks, and come out as a
velocity. Parameter names are those of the released checkpoint, so its state dict loads strictly.

Three entries, one inside the other: `forward` for a batch of one shape; `forward_rows` for rows of different shapes and
context lengths; `forward_tokens`, which both use.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vogue.schemas.config import MMDiTConfig

from .blocks import DualBlock, Modulation, SingleBlock, modulate
from .embeddings import ConditionEmbedding, EmbedderMLP, PatchEmbed, patchify, unpatchify
from .refiner import TokenRefiner
from .rope import Rope, rope_grid, stand_still

__all__ = ["GUIDANCE_EMBEDDING", "MMDiT"]

GUIDANCE_EMBEDDING = 6000.0
"""What the guidance embedding is always fed: 6.0 · 1000 (NUMERICS, guidance and schedule)."""


class MMDiT(nn.Module):
    """Velocity of noisy latents, given a context (NUMERICS; HunyuanVideo, arXiv 2412.03603, section 4.2).

    Raises:
        ValueError: the rope axes do not share out the head dimension in even parts.
    """

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        if sum(config.rope_axes_dim) != config.attention_head_dim or any(dim % 2 for dim in config.rope_axes_dim):
            raise ValueError(
                f"rope axes {config.rope_axes_dim} must be even and sum to head dimension {config.attention_head_dim}"
            )
        self.config = config
        dim, heads, patch = config.hidden_size, config.num_attention_heads, config.patch_size
        self.x_embedder = PatchEmbed(config.in_channels, dim, patch)
        self.context_embedder = TokenRefiner(config.context_dim, dim, heads, config.num_refiner_layers)
        self.time_text_embed = ConditionEmbedding(dim, config.guidance_embeds)
        self.transformer_blocks = nn.ModuleList(
            DualBlock(dim, heads, config.mlp_ratio) for _ in range(config.num_layers)
        )
        self.single_transformer_blocks = nn.ModuleList(
            SingleBlock(dim, heads, config.mlp_ratio) for _ in range(config.num_single_layers)
        )
        self.norm_out = Modulation(dim, 2)
        self.proj_out = nn.Linear(dim, config.out_channels * patch * patch)

    def init_weights(self) -> None:
        """Weights to start training from: every block begins as the identity, and the velocity as zero (adaLN-Zero,
        arXiv 2212.09748)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Modulation):
                nn.init.zeros_(module.linear.weight)
            elif isinstance(module, EmbedderMLP):
                nn.init.normal_(module.linear_1.weight, std=0.02)
                nn.init.normal_(module.linear_2.weight, std=0.02)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.flatten(1))
        if self.x_embedder.proj.bias is not None:
            nn.init.zeros_(self.x_embedder.proj.bias)
        nn.init.zeros_(self.proj_out.weight)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        context: Tensor,
        context_mask: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        """Velocity of a batch of one shape.

        Args:
            latents: [B, C, T, H, W].
            timestep: [B], 1000·σ in [0, 1000].
            context: [B, L, context_dim], the connector's output.
            context_mask: [B, L], True where a context token exists; None where all do.
            guidance: [B], in thousandths; None feeds the constant of the release.
        Returns:
            [B, C, T, H, W].
        """
        frames, height, width = latents.shape[2:]
        patch = self.config.patch_size
        tokens = self.forward_tokens(
            patchify(latents, patch),
            self.rope((frames, height, width), latents.device),
            timestep,
            self.context_embedder(context, timestep, context_mask),
            context_mask=context_mask,
            guidance=guidance,
        )
        return unpatchify(tokens, (frames, height, width), patch)

    def forward_rows(
        self,
        latents: Sequence[Tensor],
        timestep: Tensor,
        context: Tensor,
        context_mask: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> list[Tensor]:
        """Velocities of rows of different shapes: each [C, T, H, W]; the other arguments as in `forward`.

        Tokens are padded to the longest row and masked, so a row's result does not depend on its neighbours.
        """
        patch, device = self.config.patch_size, timestep.device
        shapes = [(row.shape[1], row.shape[2], row.shape[3]) for row in latents]
        ropes = [self.rope(shape, device) for shape in shapes]
        tokens = [patchify(row[None], patch)[0] for row in latents]
        lengths = torch.tensor([len(row) for row in tokens], device=device)
        mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]  # [B, N]
        out = self.forward_tokens(
            pad_sequence(tokens, batch_first=True),
            (_pad_rows([cos for cos, _ in ropes]), _pad_rows([sin for _, sin in ropes])),
            timestep,
            self.context_embedder(context, timestep, context_mask),
            latent_mask=mask,
            context_mask=context_mask,
            guidance=guidance,
        )
        return [
            unpatchify(row[None, : len(own)], shape, patch)[0]
            for row, own, shape in zip(out, tokens, shapes, strict=True)
        ]

    def forward_tokens(
        self,
        tokens: Tensor,
        rope: Rope,
        timestep: Tensor,
        context: Tensor,
        *,
        latent_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        """Velocity of patch tokens [B, N, C·p·p], with the refined context [B, L, D] of this timestep.

        `rope` covers the N latent tokens, for the batch or a row at a time. Masks are True where a token exists;
        padding may hold anything. Returns [B, N, C·p·p]; padded places hold no meaning.
        """
        batch, count = tokens.shape[:2]
        if guidance is None:
            guidance = torch.full((batch,), GUIDANCE_EMBEDDING, device=tokens.device)
        key_mask = _join_masks(tokens, context, latent_mask, context_mask)
        if latent_mask is not None:
            tokens = tokens.masked_fill(~latent_mask[..., None], 0.0)
        if context_mask is not None:
            context = context.masked_fill(~context_mask[..., None], 0.0)
        rope = stand_still(rope, context.shape[1])

        embedding = self.time_text_embed(timestep, guidance)
        x = self.x_embedder(tokens)
        for dual in self.transformer_blocks:
            x, context = dual(x, context, embedding, rope, key_mask)
        joined = torch.cat((x, context), dim=1)  # [B, N + L, D]
        for single in self.single_transformer_blocks:
            joined = single(joined, embedding, rope, key_mask)
        scale, shift = self.norm_out(embedding)
        return self.proj_out(modulate(joined[:, :count], shift, scale))

    def rope(self, shape: tuple[int, int, int], device: torch.device) -> Rope:
        """Rope table of latents (T, H, W): one token a patch."""
        frames, height, width = shape
        patch = self.config.patch_size
        grid = (frames, height // patch, width // patch)
        return rope_grid(grid, self.config.rope_axes_dim, self.config.rope_theta, device)


def _pad_rows(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)  # [B, N, d / 2]


def _join_masks(
    tokens: Tensor, context: Tensor, latent_mask: Tensor | None, context_mask: Tensor | None
) -> Tensor | None:
    """Key mask over latents then context, [B, N + L]; None when every token exists."""
    if latent_mask is None and context_mask is None:
        return None
    if latent_mask is None:
        latent_mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    if context_mask is None:
        context_mask = torch.ones(context.shape[:2], dtype=torch.bool, device=context.device)
    return torch.cat((latent_mask, context_mask), dim=1)
