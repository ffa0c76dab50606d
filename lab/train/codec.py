"""Training of mini's codec: rebuild clips of the world, pictures included, at 64×64 and a few other shapes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vogue.engines.models.patch_vae import PatchVAE
from vogue.lab.world.creature import IDENTITIES
from vogue.lab.world.render import render
from vogue.lab.world.scene import STYLES, Creature, Scene, reserved_for_evaluation, sample_scene
from vogue.schemas.config import PatchVAEConfig

from .optim import Optimizers
from .pictures import write_sheet

__all__ = ["CODEC", "CodecTask", "DecoderTask", "attention", "clip_pool", "decibel", "to_pixels"]

CODEC = PatchVAEConfig()
BATCH = 16
KL_WEIGHT = 1e-2
HELD_OUT = 96
LATENT_NOISE = 0.08
STYLED = 0.4
CREATURES = 0.12


def clip_pool(path: Path, count: int, seed: int) -> NDArray[np.uint8]:
    """A memory map of `count` training clips, uint8 [N, 17, 64, 64, 3], rendered once."""
    shape = (count, 17, 64, 64, 3)
    done = path.with_suffix(".done")
    if done.exists():
        return np.memmap(path, np.uint8, "r", shape=shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    pool = np.memmap(path, np.uint8, "w+", shape=shape)
    for index in range(count):
        pool[index] = render(_draw_scene(np.random.default_rng((seed, 77, index)), held_out=False))
    pool.flush()
    done.touch()
    return pool


def _draw_scene(rng: np.random.Generator, *, held_out: bool) -> Scene:
    """Any scene the codec may meet: all styles, now and then a creature in a subject's place."""
    while True:
        scene = sample_scene(rng)
        if reserved_for_evaluation(scene) == held_out:
            break
    if rng.random() < STYLED:
        scene = dataclasses.replace(scene, style=STYLES[int(rng.integers(len(STYLES)))])
    if rng.random() < CREATURES:
        old = scene.subjects[0]
        creature = Creature(int(rng.integers(IDENTITIES)), old.size, old.x, old.y, old.motion)
        scene = dataclasses.replace(scene, subjects=(creature, *scene.subjects[1:]))
    return scene


def to_pixels(clips: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, T, H, W, 3] to float [B, 3, T, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(clips.transpose(0, 4, 1, 2, 3))).float().div_(127.5).sub_(1.0)


def reshape_canvas(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Now and then another aspect ratio: a window of two clips side by side, so that other grids are learned too."""
    if rng.random() > 0.15:
        return pixels
    height, width = ((48, 80), (80, 48), (48, 64), (64, 96))[int(rng.integers(4))]
    wide = torch.cat([pixels, pixels.roll(1, 0)], dim=-1 if width > height else -2)
    top, left = (
        int(rng.integers((size - want) + 1)) for size, want in zip(wide.shape[-2:], (height, width), strict=True)
    )
    return wide[..., top : top + height, left : left + width].contiguous()


def recolour(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Give one clip in eight other colours than the world's, for pictures from outside it."""
    for index in np.flatnonzero(rng.random(len(pixels)) < 0.125):
        gain = torch.from_numpy(rng.uniform(0.5, 1.0, (3, 1, 1, 1)).astype(np.float32))
        shift = torch.from_numpy(rng.uniform(-0.3, 0.3, (3, 1, 1, 1)).astype(np.float32))
        pixels[index] = (pixels[index][torch.from_numpy(rng.permutation(3))] * gain + shift).clamp(-1, 1)
    return pixels


class CodecTask:
    """L1 (more where something moves) + 2·MSE + a small KL, on a pool of clips."""

    name = "codec"

    def __init__(
        self, pool: NDArray[np.uint8], config: PatchVAEConfig = CODEC, *, batch: int = BATCH, seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.pool, self.batch = pool, batch
        self.network = PatchVAE(config)
        self.optimizers = Optimizers(
            self.network.named_parameters(), muon_lr=4e-3, adam_lr=2e-3, plain=("embed", "head", "latent")
        )
        self._held_out: Tensor | None = None

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch of random clips."""
        rows = np.sort(rng.choice(len(self.pool), self.batch, replace=False))
        pixels = recolour(reshape_canvas(to_pixels(self.pool[rows]), rng), rng)
        with torch.autocast("cpu", torch.bfloat16):
            rebuilt, posterior = self.network(pixels, generator)
        pixels = pixels.to(rebuilt.dtype)
        mse = F.mse_loss(rebuilt, pixels)
        kl = posterior.kl()
        loss = ((rebuilt - pixels).abs() * attention(pixels)).mean() + 2 * mse + KL_WEIGHT * kl
        return loss.float(), {"psnr": decibel(mse), "kl": float(kl.detach())}

    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """Mean PSNR in dB over held-out clips, through the normalised latents as the product uses them."""
        network = average if isinstance(average, PatchVAE) else self.network
        if self._held_out is None:
            clips = [render(_draw_scene(np.random.default_rng((5, index)), held_out=True)) for index in range(HELD_OUT)]
            self._held_out = to_pixels(np.stack(clips))
        rebuilt = torch.cat([_round_trip(network, part) for part in self._held_out.split(BATCH)])
        errors = (rebuilt - self._held_out).square().mean(dim=(1, 2, 3, 4))
        first = (rebuilt - self._held_out)[:, :, :1].square().mean(dim=(1, 2, 3, 4))
        shown = torch.stack([self._held_out[:6, :, ::5], rebuilt[:6, :, ::5]], dim=1)  # [6, 2, 3, F, H, W]
        write_sheet(folder / f"{self.name}-samples.png", shown.permute(1, 0, 3, 4, 5, 2).flatten(1, 2).numpy())
        return {
            "psnr": float((10 * torch.log10(4 / errors)).mean()),
            "psnr_first": float((10 * torch.log10(4 / first)).mean()),
        }


class DecoderTask(CodecTask):
    """The decoder alone, on latents that stay as they are: so it can go on while the generator learns those latents.

    Latents get a little noise, because the generator's will not be perfect either.
    """

    name = "decoder"

    def __init__(self, pool: NDArray[np.uint8], state: dict[str, Tensor], *, batch: int = BATCH, seed: int = 0) -> None:
        super().__init__(pool, batch=batch, seed=seed)
        self.network.load_state_dict(state)
        for part in (
            self.network.embed_first,
            self.network.embed_group,
            self.network.encoder,
            self.network.encoder_norm,
        ):
            part.requires_grad_(False)
        self.network.to_latent.requires_grad_(False)
        self.optimizers = Optimizers(
            self.network.named_parameters(), muon_lr=2e-3, adam_lr=1e-3, plain=("embed", "head", "latent")
        )

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch of random clips."""
        rows = np.sort(rng.choice(len(self.pool), self.batch, replace=False))
        pixels = recolour(reshape_canvas(to_pixels(self.pool[rows]), rng), rng)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = self.network.encode(pixels)
            noise = torch.randn(latents.shape, generator=generator)
            rebuilt = self.network.decode(latents + LATENT_NOISE * noise)
        pixels = pixels.to(rebuilt.dtype)
        mse = F.mse_loss(rebuilt, pixels)
        loss = ((rebuilt - pixels).abs() * attention(pixels)).mean() + 2 * mse
        return loss.float(), {"psnr": decibel(mse)}


def attention(pixels: Tensor) -> Tensor:
    """Weights [B, 1, F, H, W], 1 to 5: what moves is small, hard and what everything else depends on."""
    change = (pixels - pixels.mean(dim=2, keepdim=True)).abs().amax(dim=1, keepdim=True)
    return 1 + 4 * (2 * change).clamp(max=1)


def decibel(mse: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error between pixels in [-1, 1]."""
    return float(10 * torch.log10(4 / mse.detach().float()))


def _round_trip(network: PatchVAE, pixels: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return network.decode(network.encode(pixels)).float().clamp(-1, 1)


def measure_latents(network: PatchVAE, pool: NDArray[np.uint8], count: int = 1024) -> None:
    """Set the per-channel statistics from the first `count` clips of the pool.

    The deviation is that of the posterior's samples, not of its means: a channel that carries little has small means under
    a wide posterior, and scaling those to one would make the generator learn what the decoder ignores.
    """
    total = torch.zeros(network.config.latent_channels, dtype=torch.float64)
    square, number = total.clone(), 0
    with torch.no_grad():
        for start in range(0, count, BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                posterior = network.posterior(to_pixels(pool[start : start + BATCH]))
            mean = posterior.mean.double()
            total += mean.sum(dim=(0, 2, 3, 4))
            square += (mean.square() + posterior.logvar.double().exp()).sum(dim=(0, 2, 3, 4))
            number += mean[:, 0].numel()
    centre = total / number
    network.latent_mean.copy_(centre)
    network.latent_std.copy_((square / number - centre.square()).sqrt())
