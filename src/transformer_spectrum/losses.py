"""Training losses: pure and elementwise, (prediction, target) -> same shape; the caller reduces.

The error is target - prediction. Logarithms stand where squares and powers would leave float32: an error of 1e30 has
a finite loss and gradient (but for mse, and sgt with q = inf, which grow like a power), an error of 0 has gradient 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from transformer_spectrum.distributions.sgt import SGT

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error e^2; units squared, >= 0."""
    return (target - prediction) ** 2


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute error |e|; units, >= 0."""
    return (target - prediction).abs()


def _log_size(error: Tensor) -> Tensor:
    """log |e|, whose gradient is 0 where e is 0 (there |e| counts as the smallest normal number)."""
    return error.abs().clamp_min(torch.finfo(error.dtype).tiny).log()


def _log_one_plus_exp(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype, device=x.device))


def cauchy(prediction: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Cauchy loss log(1 + (e / gamma)^2), the negative log-likelihood without its constant log(pi gamma).

    Args:
        prediction: any shape.
        target: that shape.
        gamma: scale, > 0, in units of the error.
    Returns:
        Nats, that shape, >= 0, 0 at e = 0.
    Source: Black & Anandan (1996), CVIU 63(1), under the name Lorentzian.
    """
    return _log_one_plus_exp(2 * (_log_size(target - prediction) - math.log(gamma)))


def sgt(prediction: Tensor, target: Tensor, distribution: SGT) -> Tensor:
    """Negative log-likelihood -log f(e) of the skewed generalized t, with its constant: comparable across p and q.

    With r = |z|^p / (s (1 + lam sgn z))^p and z = e - mode, it is -log f(mode) + (1/p + q) log(1 + r/q), or
    -log f(mode) + r for q = inf. The convention and the constants are those of `distributions.sgt`.

    Args:
        prediction: any shape.
        target: that shape.
        distribution: of the error.
    Returns:
        Nats, that shape; smallest at e = mode, where it may be negative.
    """
    z = target - prediction - distribution.mode
    p, q, lam = distribution.p, distribution.q, distribution.lam
    side = torch.where(z < 0, math.log1p(-lam), math.log1p(lam)).to(z.dtype)
    log_r = p * (_log_size(z) - distribution.log_scale - side)
    fall = log_r.exp() if distribution.exponential else (1 / p + q) * _log_one_plus_exp(log_r - math.log(q))
    return fall - distribution.log_normaliser


def make_loss(
    kind: Literal["mse", "mae", "cauchy", "sgt"], *, sgt_of_error: SGT | None = None, gamma: float | None = None
) -> Loss:
    """The loss of that name, with its settings bound.

    Args:
        kind: which.
        sgt_of_error: needed by sgt.
        gamma: needed by cauchy; > 0.
    Raises:
        ValueError: the name is unknown, or a setting that it needs is missing or out of range.
    """
    if kind == "mse":
        return mse
    if kind == "mae":
        return mae
    if kind == "cauchy":
        if gamma is None or not gamma > 0:
            raise ValueError(f"loss.gamma = {gamma}: must be > 0")
        return lambda prediction, target: cauchy(prediction, target, gamma)
    if kind == "sgt":
        if sgt_of_error is None:
            raise ValueError("loss.type = sgt: needs a distribution")
        return lambda prediction, target: sgt(prediction, target, sgt_of_error)
    raise ValueError(f"loss.type = {kind!r}: must be mse, mae, cauchy or sgt")
