"""The engine port over anything that runs the MMDiT's graph: tokens are cut, padded and masked here, for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vogue.schemas.config import Preset

from ..models.embeddings import patchify, unpatchify
from ..models.rope import rope_grid
from ..port import Row
from .profiles import profile_of
from .signatures import Network

__all__ = ["CompiledEngine", "Runner"]


class Runner(Protocol):
    """A graph that is loaded and ready, wherever it runs.

    Tensors have the names, types and axes of the graph's `Signature`; they may come on any device, and go back on any.
    """

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The graph's outputs by name.

        Raises:
            DeviceOutOfMemory: the inputs do not fit the device.
        """
        ...


class CompiledEngine:
    """Rows through the graph of a preset's MMDiT: those of equally many tokens together, contexts padded to the longest and masked.

    A row outside the graph's profile is refused before anything runs.
    """

    def __init__(self, runner: Runner, preset: Preset) -> None:
        self._runner = runner
        self._config = preset.mmdit
        self._profile = profile_of(preset, Network.MMDIT)
        self._guidance = preset.schedule.guidance_embedding

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> list[Tensor]:
        """Velocity of each row, [C, T, H, W], float32."""
        for row in rows:
            self._check(row)
        velocities: dict[int, Tensor] = {}
        for indices in self._groups(rows):
            out = self._runner.run(self._inputs([rows[i] for i in indices]))["velocity"].float()
            for i, tokens in zip(indices, out, strict=True):
                latents = rows[i].latents
                shape = (latents.shape[1], latents.shape[2], latents.shape[3])
                own = tokens[None, : self._count(rows[i])]
                velocities[i] = unpatchify(own, shape, self._config.patch_size)[0].to(latents.device)
        return [velocities[i] for i in range(len(rows))]

    def _count(self, row: Row) -> int:
        _, frames, height, width = row.latents.shape
        return frames * (height // self._config.patch_size) * (width // self._config.patch_size)

    def _groups(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        by_count: dict[int, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            by_count[self._count(row)].append(i)
        most = self._profile.axes["batch"].largest
        for indices in by_count.values():
            yield from (indices[start : start + most] for start in range(0, len(indices), most))

    def _check(self, row: Row) -> None:
        _, frames, height, width = row.latents.shape
        per_frame = self._count(row) // frames
        self._profile.check(
            {"tokens": self._count(row), "context": len(row.context)},
            f"{frames} latent frames of {height}×{width} with {len(row.context)} context tokens",
            hint=lambda most: f"{most // per_frame} latent frames at this size" if most >= per_frame else None,
        )

    def _inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        config = self._config
        patch = config.patch_size
        tokens, cosines, sines = [], [], []
        for row in rows:
            _, frames, height, width = row.latents.shape
            grid = (frames, height // patch, width // patch)
            cos, sin = rope_grid(grid, config.rope_axes_dim, config.rope_theta, row.latents.device)
            tokens.append(patchify(row.latents[None].float(), patch)[0])
            cosines.append(cos)
            sines.append(sin)
        contexts = [row.context.float() for row in rows]
        device = tokens[0].device
        timestep = torch.tensor([row.timestep for row in rows], dtype=torch.float32, device=device)
        return {
            "tokens": pad_sequence(tokens, batch_first=True),  # [B, N, C·p·p]
            "rope_cos": pad_sequence(cosines, batch_first=True),  # [B, N, d / 2]
            "rope_sin": pad_sequence(sines, batch_first=True),
            "timestep": timestep,
            "guidance": torch.full_like(timestep, self._guidance),
            "context": pad_sequence(contexts, batch_first=True),  # [B, L, D]
            "latent_mask": _mask_of([len(one) for one in tokens], device),
            "context_mask": _mask_of([len(one) for one in contexts], device),
        }


def _mask_of(lengths: Sequence[int], device: torch.device) -> Tensor:
    """True where a token exists, [B, longest]."""
    return torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
