"""The packed forward against the module, row by row and in mixed company; its operators against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vogue.engines.models import fused
from vogue.engines.models.blocks import RMSNorm
from vogue.engines.models.mmdit import MMDiT
from vogue.engines.models.rope import apply_rope, rope_grid
from vogue.engines.port import Row
from vogue.engines.torch_engine import TorchEngine

from .small import small

TOLERANCE = 1e-4


def model(**changes: object) -> MMDiT:
    torch.manual_seed(0)
    made = MMDiT(small(**changes)).eval().requires_grad_(False)
    for module in made.modules():
        if isinstance(module, RMSNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)  # at 1, a norm's scale could be forgotten unnoticed
    return made


def rows() -> list[Row]:
    shapes = [(1, 4, 6), (3, 2, 4), (2, 4, 4), (3, 2, 4), (1, 2, 2)]
    lengths, times = (5, 1, 9, 3, 0), (1000.0, 933.3, 933.3, 12.5, 0.0)
    return [
        Row(torch.randn(16, *shape), time, torch.randn(length, 40))
        for shape, length, time in zip(shapes, lengths, times, strict=True)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_attention_heads": 3, "attention_head_dim": 8, "rope_axes_dim": (2, 2, 4)},
        {"num_layers": 0, "num_single_layers": 3, "num_refiner_layers": 1},
        {"num_layers": 3, "num_single_layers": 0, "mlp_ratio": 2.0},
        {"guidance_embeds": False},
    ],
)
def test_each_row_in_company_is_what_the_module_makes_of_it_alone(changes: dict[str, object]) -> None:
    network, given = model(**changes), rows()
    packed = TorchEngine(network, packed=True).forward(given)
    for row, one in zip(given[:-1], packed[:-1], strict=True):
        alone = TorchEngine(network, packed=False).forward([row])[0]
        assert (one - alone).abs().max() < TOLERANCE
    assert packed[-1].isfinite().all()  # of a row without any context


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    engine, given = TorchEngine(model()), rows()
    together = engine.forward(given)
    for row, one in zip(given, together, strict=True):
        assert (engine.forward([row])[0] - one).abs().max() < TOLERANCE


def test_large_rows_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, given = TorchEngine(model()), rows()
    together = engine.forward(given)
    calls: list[int] = []
    inner = engine._pack
    monkeypatch.setattr(engine, "_pack", lambda latents, *more: calls.append(len(latents)) or inner(latents, *more))
    monkeypatch.setattr("vogue.engines.torch_engine.POSITIONS_AT_ONCE", 30)
    parts = engine.forward(given)
    assert calls == [1, 1, 1, 2]
    for one, other in zip(together, parts, strict=True):
        assert (one - other).abs().max() < TOLERANCE


def test_bfloat16_stays_as_near_to_float32_as_the_module_does() -> None:
    network, given = model(), rows()[:3]
    exact = TorchEngine(network, packed=False).forward(given)
    network.to(torch.bfloat16)
    near = [TorchEngine(network, packed=packed).forward(given) for packed in (False, True)]
    errors = [
        torch.stack([(a - b).abs().mean() for a, b in zip(exact, one, strict=True)]).mean().item() for one in near
    ]
    assert errors[1] < 1.2 * errors[0] + 1e-3


def test_new_weights_are_seen_at_once() -> None:
    network, given = model(), rows()[:1]
    engine = TorchEngine(network)
    before = engine.forward(given)[0]
    network.proj_out.bias.data.add_(1.0)
    torch.testing.assert_close(engine.forward(given)[0], before + 1.0)


def test_autocast_runs_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(model())
    monkeypatch.setattr(engine, "_pack", None)
    with torch.autocast("cpu", torch.bfloat16):
        assert engine.forward(rows()[:2])[1].shape == (16, 3, 2, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("joins", [True, False])
def test_operators_compute_what_pytorchs_do(dtype: torch.dtype, joins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not joins:
        monkeypatch.setattr(fused, "_joins_bias", lambda: False)
    torch.manual_seed(1)
    x, layer = torch.randn(37, 24, dtype=dtype) * 4, torch.nn.Linear(24, 40).to(dtype)
    bound = {"atol": 2e-5, "rtol": 1e-5} if dtype is torch.float32 else {"atol": 3e-2, "rtol": 2e-2}
    with torch.inference_mode():
        wanted = F.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(fused.linear(x, layer), wanted, **bound)
        torch.testing.assert_close(fused.linear_gelu(x, layer), F.gelu(wanted, approximate="tanh"), **bound)
        torch.testing.assert_close(fused.linear_of_two(x[:, :5], x[:, 5:], layer), wanted, **bound)
        assert fused.linear(x[:0], layer).shape == fused.linear_gelu(x[:0], layer).shape == (0, 40)


def test_gelu_is_right_far_from_zero() -> None:
    x = torch.tensor([[-1e4, -100.0, -8.0, -1.0, 0.0, 1.0, 8.0, 100.0, 1e4]])
    torch.testing.assert_close(fused.gelu_(x.clone()), F.gelu(x, approximate="tanh"), atol=1e-6, rtol=1e-6)


def test_norm_and_turn_in_one_are_those_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "ELEMENTS_AT_ONCE", 100)  # several parts, the last one smaller
    norm = RMSNorm(16)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    rope, x = rope_grid((2, 3, 2), (4, 6, 6), 256.0), torch.randn(12, 48)
    heads = x.view(12, 3, 16).transpose(0, 1)
    with torch.no_grad():
        for table in (rope, None):
            wanted = norm(heads) if table is None else apply_rope(norm(heads), table)
            out = torch.empty(12, 3, 16)
            fused.rms_turn(x.clone(), norm, None if table is None else torch.complex(*table), out)
            torch.testing.assert_close(out.transpose(0, 1), wanted, atol=1e-5, rtol=1e-5)
