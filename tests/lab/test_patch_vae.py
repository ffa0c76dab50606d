"""Mini's codec: shapes of any grid, causality in time, statistics that travel with the weights."""

from __future__ import annotations

import pytest
import torch

from vogue.engines.models.patch_vae import PatchVAE
from vogue.schemas.config import PatchVAEConfig


@pytest.fixture(scope="module")
def vae() -> PatchVAE:
    torch.manual_seed(0)
    network = PatchVAE(PatchVAEConfig(width=32, heads=2, encoder_layers=2, decoder_layers=2)).eval()
    # Blocks start as the identity; give them something to do, or nothing could leak through them.
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.requires_grad_(False)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 64), (5, 48, 80), (17, 80, 48)])
def test_shapes(vae: PatchVAE, frames: int, height: int, width: int) -> None:
    pixels = torch.rand(2, 3, frames, height, width) * 2 - 1
    latents = vae.encode(pixels)
    assert latents.shape == (2, 16, (frames + 3) // 4, height // 8, width // 8)
    assert vae.decode(latents).shape == pixels.shape


def test_refuses_other_grids(vae: PatchVAE) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        vae.encode(torch.zeros(1, 3, 1, 60, 64))
    with pytest.raises(ValueError, match=r"4k \+ 1"):
        vae.encode(torch.zeros(1, 3, 4, 64, 64))


@pytest.mark.parametrize("changed", [1, 5, 9])
def test_encoder_never_looks_ahead(vae: PatchVAE, changed: int) -> None:
    pixels = torch.rand(1, 3, 13, 16, 16)
    other = pixels.clone()
    other[:, :, changed:] = torch.rand(1, 3, 13 - changed, 16, 16)
    group = (changed + 3) // 4
    before, after = vae.encode(pixels), vae.encode(other)
    assert torch.equal(before[:, :, :group], after[:, :, :group])
    assert not torch.equal(before[:, :, group:], after[:, :, group:])


def test_decoder_never_looks_ahead(vae: PatchVAE) -> None:
    latents = torch.randn(1, 16, 4, 2, 2)
    other = latents.clone()
    other[:, :, 2:] += 1
    assert torch.equal(vae.decode(latents)[:, :, :5], vae.decode(other)[:, :, :5])


def test_prefix_of_a_clip_has_the_prefix_of_its_latents(vae: PatchVAE) -> None:
    pixels = torch.rand(1, 3, 13, 16, 24)
    torch.testing.assert_close(vae.encode(pixels[:, :, :5]), vae.encode(pixels)[:, :, :2])
    torch.testing.assert_close(vae.encode(pixels[:, :, :1]), vae.encode(pixels)[:, :, :1])


def test_statistics_normalise(vae: PatchVAE) -> None:
    raw = vae.posterior(torch.rand(1, 3, 5, 16, 16)).mean
    vae.latent_mean.fill_(0.5)
    vae.latent_std.fill_(2.0)
    torch.testing.assert_close(vae.normalise(raw), (raw - 0.5) / 2)
    torch.testing.assert_close(vae.decode(vae.normalise(raw)), vae.reconstruct(raw))
    vae.latent_mean.zero_()
    vae.latent_std.fill_(1.0)


def test_sampling_follows_its_generator(vae: PatchVAE) -> None:
    posterior = vae.posterior(torch.rand(1, 3, 1, 16, 16))
    first, again = (posterior.sample(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, posterior.mean)
    assert posterior.kl() > 0
