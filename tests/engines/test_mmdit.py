"""The MMDiT against an independent implementation, and in batches of mixed shapes against itself alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vogue.engines.models.mmdit import GUIDANCE_EMBEDDING, MMDiT
from vogue.schemas.config import MMDiTConfig

from .small import small

TOLERANCE = 1e-4
FILL = 1e4


def random_model(config: MMDiTConfig) -> MMDiT:
    torch.manual_seed(0)
    return MMDiT(config).eval().requires_grad_(False)


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows [L, D] in a batch, whose padding is filled with a large number, and the mask."""
    longest = max(len(row) for row in rows)
    batch = torch.full((len(rows), longest, rows[0].shape[1]), FILL)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        batch[i, : len(row)] = row
        mask[i, : len(row)] = True
    return batch, mask


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ({}, (1, 4, 6)),
        ({"num_attention_heads": 3, "attention_head_dim": 8, "rope_axes_dim": (2, 2, 4)}, (3, 4, 4)),
        ({"num_layers": 0, "num_single_layers": 3, "num_refiner_layers": 1}, (2, 2, 6)),
        ({"num_layers": 3, "num_single_layers": 0, "mlp_ratio": 2.0}, (2, 4, 2)),
        ({"in_channels": 4, "out_channels": 4, "rope_theta": 100.0, "context_dim": 16}, (5, 2, 2)),
        ({"guidance_embeds": False}, (1, 2, 2)),
    ],
)
def test_agrees_with_diffusers(sizes: dict[str, object], shape: tuple[int, int, int]) -> None:
    from diffusers import HunyuanVideoTransformer3DModel

    config = small(**sizes)
    model = random_model(config)
    values = config.model_dump(exclude={"text_embed_dim", "context_dim"})
    reference = HunyuanVideoTransformer3DModel(**values, text_embed_dim=config.context_dim, pooled_projection_dim=4)
    for parameter in reference.time_text_embed.text_embedder.parameters():
        parameter.data.zero_()  # the pooled-text embedding, which the released model does without
    report = reference.load_state_dict(model.state_dict(), strict=False)
    assert not report.unexpected_keys
    assert all("time_text_embed.text_embedder" in key for key in report.missing_keys)

    latents, context = torch.randn(2, config.in_channels, *shape), torch.randn(2, 7, config.context_dim)
    timestep = torch.tensor([3.0, 17.0])  # small: at 1000 libraries' vector math alone differs by 1e-4
    guidance = torch.tensor([1.0, 2.0])
    with torch.no_grad():
        expected = reference(latents, timestep, context, torch.ones(2, 7), torch.zeros(2, 4), guidance)[0]
    torch.testing.assert_close(model(latents, timestep, context, None, guidance), expected, atol=2e-5, rtol=1e-4)


def test_a_batch_of_mixed_shapes_and_lengths_gives_each_row_its_own_result() -> None:
    config = small()
    model = random_model(config)
    shapes = [(1, 4, 6), (3, 2, 4), (2, 4, 4), (3, 2, 4)]
    latents = [torch.randn(16, *shape) for shape in shapes]
    contexts = [torch.randn(length, config.context_dim) for length in (5, 1, 9, 3)]
    timestep = torch.tensor([1000.0, 933.3, 12.5, 0.0])
    context, mask = padded(contexts)
    together = model.forward_rows(latents, timestep, context, mask)
    for i, row in enumerate(latents):
        alone = model(row[None], timestep[i : i + 1], contexts[i][None])[0]
        assert (together[i] - alone).abs().max() < TOLERANCE


def test_padding_leaks_from_neither_side() -> None:
    config = small()
    model = random_model(config)
    latents, row = torch.randn(1, 16, 2, 4, 4), torch.randn(4, config.context_dim)
    timestep = torch.tensor([500.0])
    alone = model(latents, timestep, row[None])
    filler = torch.full((3, config.context_dim), FILL)
    for context, where in ((torch.cat([row, filler]), slice(0, 4)), (torch.cat([filler, row]), slice(3, 7))):
        mask = torch.zeros(1, 7, dtype=torch.bool)
        mask[:, where] = True
        assert (model(latents, timestep, context[None], mask) - alone).abs().max() < TOLERANCE


def test_latent_padding_may_hold_anything() -> None:
    config = small()
    model = random_model(config)
    tokens, context = torch.randn(2, 6, 64), torch.randn(2, 3, 32)
    rope = model.rope((1, 4, 6), tokens.device)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    results = []
    for fill in (0.0, FILL):
        dirty = tokens.masked_fill(~mask[..., None], fill)
        out = model.forward_tokens(dirty, rope, torch.tensor([1.0, 2.0]), context, latent_mask=mask)
        results.append(out[mask])
    assert (results[0] - results[1]).abs().max() < TOLERANCE


def test_a_row_without_context_is_finite() -> None:
    model = random_model(small())
    mask = torch.tensor([[True, True], [False, False]])
    out = model(torch.randn(2, 16, 1, 2, 2), torch.tensor([1.0, 1.0]), torch.randn(2, 2, 40), mask)
    assert out.isfinite().all()


def test_training_starts_at_zero_velocity_and_learns_in_autocast() -> None:
    torch.manual_seed(0)
    model = MMDiT(small())
    model.init_weights()
    latents, context, timestep = torch.randn(2, 16, 2, 2, 2), torch.randn(2, 3, 40), torch.tensor([100.0, 900.0])
    assert model(latents, timestep, context).abs().max() == 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        with torch.autocast("cpu", torch.bfloat16):
            loss = (model(latents, timestep, context).float() - latents).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_timesteps_are_not_rounded_to_the_weights_precision() -> None:
    model = random_model(small()).to(torch.bfloat16)
    latents, context = torch.randn(1, 16, 1, 2, 2), torch.randn(1, 3, 40)
    first, second = (model(latents, torch.tensor([t]), context) for t in (933.3, 932.0))
    assert first.dtype is torch.bfloat16
    assert not torch.equal(first, second)


def test_the_default_guidance_is_the_constant_of_the_release() -> None:
    model = random_model(small())
    latents, context, timestep = torch.randn(1, 16, 1, 2, 2), torch.randn(1, 3, 40), torch.tensor([7.0])
    given = model(latents, timestep, context, None, torch.tensor([GUIDANCE_EMBEDDING]))
    assert torch.equal(model(latents, timestep, context), given)


def test_refuses_sizes_that_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="rope axes"):
        MMDiT(small(rope_axes_dim=(4, 4, 4)))
    with pytest.raises(ValueError, match="patches"):
        random_model(small())(torch.randn(1, 16, 1, 3, 2), torch.ones(1), torch.randn(1, 1, 40))
