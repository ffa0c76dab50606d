"""Training of the generator: connector and MMDiT together, on encoded cases of all tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vogue.engines.schedule import shift_sigmas
from vogue.schemas.config import Preset

from .generator import Generator
from .groups import GROUPS
from .optim import Optimizers
from .plain_attention import use_plain_attention
from .pool import Rows, TaskPool
from .reading import reading_loss, reading_right
from .samples import score_samples

__all__ = ["GeneratorTask", "flow_loss", "sample_sigmas"]

DROPPED = 0.1
TRAINING_SHIFT = 2.0
UNIFORM_SHARE = 0.3
EDITED_WEIGHT = 3.0
SUBJECT_WEIGHT = 12.0
READING_WEIGHT = 0.5
READ_AT = 0.6
REFRESH_EVERY = 50


def sample_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels [count]: mostly logit-normal, some even, moved towards noise.

    The even share keeps the low levels, where edges are settled, from being starved.
    """
    normal = torch.sigmoid(torch.randn(count, generator=generator))
    even = torch.rand(count, generator=generator)
    chosen = torch.where(torch.rand(count, generator=generator) < UNIFORM_SHARE, even, normal)
    return shift_sigmas(chosen, TRAINING_SHIFT).clamp(1e-3, 1.0)


def flow_loss(network: nn.Module, rows: Rows, held: int, generator: torch.Generator) -> Tensor:
    """Squared error of the velocity `noise − data` on the frames to be made, more where an edit or a subject is.

    `held` target frames (an image-to-video's first), references and the source stay clean, as in sampling (NUMERICS, latents).
    An edit's place is known from the source, so it counts more at every level. Where a made subject stands is decided by
    the noise: more weight there at high levels would teach the network to paint subjects everywhere, so it grows
    only as the picture settles.
    """
    target = rows.target
    frames = target.shape[2]
    sigma = sample_sigmas(len(target), generator)
    noise = torch.randn(target.shape, generator=generator)
    level = sigma.view(-1, 1, 1, 1, 1)
    noisy = torch.cat([target[:, :, :held], ((1 - level) * target + level * noise)[:, :, held:]], dim=2)
    latents = torch.cat([part for part in (rows.references, noisy, rows.source) if part is not None], dim=2)
    first = 0 if rows.references is None else rows.references.shape[2]
    with torch.autocast("cpu", torch.bfloat16):
        velocity = network(latents, 1000 * sigma, rows.states, rows.mask)
    made = velocity[:, :, first + held : first + frames].float()
    error = (made - (noise - target)[:, :, held:]).square()
    emphasis = SUBJECT_WEIGHT * (1 - level).square() + (EDITED_WEIGHT if rows.source is not None else 0.0)
    weight = 1 + emphasis * rows.weight[:, None, held:]
    return (error * weight).mean() / weight.mean()


class GeneratorTask:
    """Flow matching over all groups, batches of one group each."""

    name = "mmdit"

    def __init__(self, preset: Preset, folder: Path, *, seed: int = 0, compiled: bool = False) -> None:
        torch.manual_seed(seed)
        self.preset, self.folder = preset, folder
        self.network = Generator(preset)
        use_plain_attention(self.network)
        if compiled:
            self._compile()
        self.pools = {name: TaskPool(folder, name) for name in GROUPS}
        self.unconditional = torch.load(folder / "negative.pt", weights_only=True)
        # Modulations, embeddings and the last projection are not hidden matrices.
        self.optimizers = Optimizers(
            self.network.named_parameters(),
            muon_lr=3e-3,
            adam_lr=1e-3,
            plain=(
                "norm1",
                "norm_out",
                "single_transformer_blocks.norm",
                ".norm.linear",
                "embed",
                "mmdit.proj_out",
                "reader",
                "mlp.2",
            ),
        )
        self._drawn = 0

    def _compile(self) -> None:
        mmdit = self.network.mmdit
        for block in (*mmdit.transformer_blocks, *mmdit.single_transformer_blocks):
            block.compile(dynamic=True)

    def loss(self, rng: np.random.Generator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """One batch of one group, by the mixing shares."""
        if self._drawn % REFRESH_EVERY == 0:
            for pool in self.pools.values():
                pool.refresh()
        self._drawn += 1
        names = list(GROUPS)
        name = names[int(rng.choice(len(names), p=[group.mixing for group in GROUPS.values()]))]
        group = GROUPS[name]
        rows = self.pools[name].draw(rng, group.batch, self.unconditional, DROPPED)
        loss = flow_loss(self.network, rows, held=group.held, generator=generator)
        # References stand before the target's tokens, a source after them; neither is asked about.
        read, tokens = self.network.reading(), rows.labels.shape[1]
        before = group.references * tokens // rows.target.shape[2]
        reading = reading_loss(read[:, before : before + tokens], rows.labels, rows.places)
        return loss + READING_WEIGHT * reading, {name: float(loss.detach()), "reading": float(reading.detach())}

    def evaluate(self, average: nn.Module | None, folder: Path, step: int) -> dict[str, float]:
        """Scores of samples for held-out cases, and a contact sheet; and whether words have reached their places."""
        network = average if isinstance(average, Generator) else self.network
        return score_samples(network, self.preset, folder, step) | self._read(network)

    def _read(self, network: Generator) -> dict[str, float]:
        """How often the half-noised tokens of held-out clips are read rightly."""
        shard = load_file(self.folder / "eval-t2v.safetensors")
        target, states, labels = (shard[name] for name in ("target", "states", "labels"))
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
        mask = torch.arange(states.shape[1]) < shard["lengths"][:, None]
        level = torch.full((len(target),), 1000 * READ_AT)
        network.train()  # Only then are the tokens half-way kept; nothing in the network behaves otherwise.
        with torch.no_grad():
            network((1 - READ_AT) * target.float() + READ_AT * noise, level, states.float(), mask)
            right = reading_right(network.reading(), labels.flatten(1, 3).long())
        network.eval()
        return {f"reads {name}": share for name, share in right.items()}
