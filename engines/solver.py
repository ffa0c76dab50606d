"""A multistep solver of second order for the flow, for few steps.

A step of Euler's heads for x₀ = x − σ·v as if the velocity were constant. Between two steps x₀ moves, and how it moved over the step
before tells how it will move over this one: in the logarithm of the signal-to-noise ratio, λ = log((1 − σ) / σ), it is carried on in a
straight line to the middle of the step (DPM-Solver++ of order two in its multistep form, arXiv 2211.01095, with α = 1 − σ).
"""

from __future__ import annotations

from math import log

from torch import Tensor

__all__ = ["look_back"]

_LEAST = 1e-4
"""Of 1 − σ: at the start there is no signal, and its logarithm would be infinite."""


def look_back(
    velocity: Tensor, heading: Tensor, last_heading: Tensor | None, before: float, here: float, there: float
) -> Tensor:
    """The velocity to take from σ = `here` to `there`.

    Args:
        velocity: at `here`.
        heading: x₀ as seen from `here`, x − here·velocity.
        last_heading: the same as seen from `before`, one step earlier; None in the first step, which is Euler's.
    """
    # The last step lands on x₀ itself, and nothing is known of it beyond what is seen from here.
    if last_heading is None or there <= 0:
        return velocity
    behind, ahead = _log_snr(here) - _log_snr(before), _log_snr(there) - _log_snr(here)
    moved = heading + (heading - last_heading) * (ahead / (2 * behind))
    # x' = (there/here)·x + (1 − there/here)·x₀ is x + (there − here)·(x − x₀)/here.
    return velocity + (heading - moved) / here


def _log_snr(sigma: float) -> float:
    return log(max(1.0 - sigma, _LEAST) / sigma)
