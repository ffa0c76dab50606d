"""Muon for the matrices inside the blocks, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["Optimizers", "clip_gradients"]

ADAM_BETAS = (0.9, 0.95)


class Optimizers:
    """Both optimizers behind one `step`; their learning rates share one factor.

    Args:
        named: parameters by name.
        muon_lr: peak rate of Muon, scaled so that rates for AdamW fit; 0 leaves all to AdamW.
        adam_lr: peak rate of AdamW.
        adam_eps: AdamW's smallest denominator.
        plain: words in the names of matrices that AdamW takes: embeddings, heads, modulations.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        *,
        muon_lr: float,
        adam_lr: float,
        plain: tuple[str, ...] = (),
        adam_eps: float = 1e-10,
    ) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in named:
            if not parameter.requires_grad:
                continue
            hidden = parameter.ndim == 2 and min(parameter.shape) > 16 and not any(word in name for word in plain)
            (matrices if hidden and muon_lr > 0 else others).append(parameter)
        self.peaks = (muon_lr, adam_lr)
        self.members: list[torch.optim.Optimizer] = []
        if matrices:
            muon = torch.optim.Muon(
                matrices, lr=muon_lr, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
            self.members.append(muon)
        if others:
            adam = torch.optim.AdamW(others, lr=adam_lr, betas=ADAM_BETAS, eps=adam_eps, weight_decay=0.0)
            self.members.append(adam)

    def step(self, factor: float) -> None:
        """One update at `factor` of the peak rates; gradients are dropped."""
        for member in self.members:
            peak = self.peaks[0] if isinstance(member, torch.optim.Muon) else self.peaks[1]
            for group in member.param_groups:
                group["lr"] = peak * factor
            member.step()
            member.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, object]]:
        """State of both, in order."""
        return [member.state_dict() for member in self.members]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        """Restore what `state_dict` gave."""
        for member, state in zip(self.members, states, strict=True):
            member.load_state_dict(state)


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float = 1.0) -> Tensor:
    """Scale gradients to a joint norm of at most `limit`; returns the norm before."""
    return torch.nn.utils.clip_grad_norm_(parameters, limit)
