"""The connector: the trained MLP between the MLLM's hidden states and the MMDiT's context."""

from __future__ import annotations

from torch import Tensor, nn

from vogue.schemas.config import ConnectorConfig

from .blocks import RMSNorm

__all__ = ["Connector"]


class Connector(nn.Module):
    """RMSNorm → Linear d → 4d → exact GELU → Linear 4d → context (NUMERICS, from instruction to context, 4)."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.config = config
        hidden = 4 * config.in_dim
        self.ln = RMSNorm(config.in_dim, config.eps)
        self.mlp = nn.Sequential(nn.Linear(config.in_dim, hidden), nn.GELU(), nn.Linear(hidden, config.out_dim))

    def init_weights(self) -> None:
        """Weights to start training from: context of about unit size."""
        nn.init.ones_(self.ln.weight)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Hidden states [..., in_dim] → context [..., out_dim], in the weights' dtype (or autocast's)."""
        return self.mlp(self.ln(states).to(self.ln.weight.dtype))
