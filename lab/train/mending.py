"""The decoder trained on, with latents as the generator leaves them: a ragged outline is drawn as what it must have been.

The generator's latents are never as exact as the encoder's, and at 16 px a token it is outlines that suffer. The decoder sees a
subject in all frames at once, so it can tell what the generator meant. Latents are noised part of the way and denoised by the
generator, so that their errors are its own while the clip that is wanted stays known. The encoder, and so every latent that
anything was trained on, stays as it is.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vogue.schemas.config import Preset

from .codec import DecoderTask, attention, decibel, to_pixels
from .generator import Generator
from .groups import GROUPS, draw_case
from .plain_attention import use_plain_attention
from .pool import Rows, TaskPool

__all__ = ["MendingTask"]

SHARES: Final[dict[str, float]] = {"t2v": 0.4, "i2v": 0.2, "t2i": 0.1, "v2v_edit": 0.2, "multiid_1": 0.1}
CLEAN_SHARE: Final = 0.35
FROM_NOISE: Final = (0.2, 0.65)
"""Below, little is wrong; above, the generator may have meant something else than the clip that is wanted."""
STEPS: Final = 4


class MendingTask(DecoderTask):
    """The decoder on clean latents for a part of the batches, else on the generator's."""

    def __init__(self, pool: NDArray[np.uint8], codec: dict[str, Tensor], run: Path, preset: Preset, *, seed: int = 0):
        super().__init__(pool, codec, seed=seed)
        self.generator = Generator(preset)
        state = torch.load(run / "mmdit.pt", weights_only=True, map_location="cpu")
        self.generator.load_state_dict(state["average"] or state["network"])
        self.generator.eval().requires_grad_(False)
        use_plain_attention(self.generator)
        self.pools = {name: TaskPool(run / "pool", name) for name in SHARES}
        for each in self.pools.values():
            each.refresh()
        self.unconditional = torch.load(run / "pool" / "negative.pt", weights_only=True)

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch: of clean latents, or of one group's latents as the generator leaves them."""
        if rng.random() < CLEAN_SHARE:
            loss, report = super().loss(rng, generator)
            return loss, {f"clean {name}": value for name, value in report.items()}
        name = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
        rows, seeds = self.pools[name].draw_known(rng, self.batch, self.unconditional)
        wanted = to_pixels(np.stack([draw_case(GROUPS[name], seed)[0].target for seed in seeds]))
        latents = self._remake(rows, GROUPS[name].held, rng, generator)
        with torch.autocast("cpu", torch.bfloat16):
            rebuilt = self.network.decode(latents)
        wanted = wanted.to(rebuilt.dtype)
        mse = F.mse_loss(rebuilt, wanted)
        loss = ((rebuilt - wanted).abs() * attention(wanted)).mean() + 2 * mse
        return loss.float(), {f"{name} psnr": decibel(mse)}

    @torch.no_grad()
    def _remake(self, rows: Rows, held: int, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """The target's latents after some noise and the generator's denoising of it, [B, C, T, h, w]."""
        levels = np.linspace(rng.uniform(*FROM_NOISE), 0, STEPS + 1)
        before = 0 if rows.references is None else rows.references.shape[2]
        made = rows.target.clone()
        noise = torch.randn(made.shape, generator=generator)
        made[:, :, held:] = ((1 - levels[0]) * made + levels[0] * noise)[:, :, held:]
        for here, there in pairwise(levels):
            parts = [part for part in (rows.references, made, rows.source) if part is not None]
            timestep = torch.full((len(made),), 1000 * float(here))
            with torch.autocast("cpu", torch.bfloat16):
                velocity = self.generator(torch.cat(parts, dim=2), timestep, rows.states, rows.mask).float()
            made[:, :, held:] += float(there - here) * velocity[:, :, before + held : before + made.shape[2]]
        return made
