"""The cost formulas against torch's own counter and against the traced peak."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vogue.engines.capacity.tracing import peak_bytes
from vogue.engines.costs import RowSize, row_bytes, row_flops
from vogue.engines.models.mmdit import MMDiT
from vogue.schemas.presets import get_preset


def _call(model: MMDiT, rows: int, latents: tuple[int, int, int], context_tokens: int) -> None:
    config = model.config
    context = torch.zeros(rows, context_tokens, config.context_dim, dtype=model.proj_out.weight.dtype)
    model(torch.zeros(rows, config.in_channels, *latents), torch.full((rows,), 500.0), context)


@pytest.mark.parametrize("name", ["tiny", "mini"])
@pytest.mark.parametrize(("latents", "context_tokens"), [((1, 4, 4), 7), ((5, 8, 8), 40), ((3, 4, 8), 1)])
def test_operations_are_those_that_torch_counts(name: str, latents: tuple[int, int, int], context_tokens: int) -> None:
    config = get_preset(name).mmdit
    model = MMDiT(config)
    # Torch counts the attention that is written out as products, not the fused one of this processor.
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        _call(model, 2, latents, context_tokens)
    size = RowSize.of(config, *latents, context_tokens)
    assert 2 * row_flops(config, size) == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_memory_is_that_of_the_traced_peak() -> None:
    config = get_preset("mini").mmdit.model_copy(update={"num_layers": 1, "num_single_layers": 1})
    latents, length = (9, 32, 32), 256
    peak = peak_bytes(lambda: MMDiT(config), lambda model: _call(model, 2, latents, length))
    assert 2 * row_bytes(config, RowSize.of(config, *latents, length)) == pytest.approx(peak, rel=0.15)
