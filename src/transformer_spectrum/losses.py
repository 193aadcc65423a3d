"""The training losses: pure functions of prediction and target, elementwise; the caller reduces.

All take the error e = target - prediction, so a positive skewness expects targets above the prediction. Prediction
and target may have any number of leading dimensions; target may lack some of prediction's. They work on any device,
under inference_mode and under autograd. float16 and bfloat16 are computed and returned in float32.

mse = e^2 overflows where e^2 does. The logarithmic losses work on log |e| and do not: for e up to 1e30 in float32
value and gradient are finite, and at e = 0 the gradient is 0, also where the loss has a kink (mae, sgt with p <= 1).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.runtime.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]


def _error(prediction: Tensor, target: Tensor) -> Tensor:
    """target - prediction, at least float32."""
    error = target - prediction
    if error.shape != prediction.shape:
        raise ValueError(
            f"target of shape {tuple(target.shape)} does not fit prediction of shape {tuple(prediction.shape)}"
        )
    return error if error.dtype == torch.float64 else error.float()


def _log_power(size: Tensor, p: float, log_scale: Tensor | float) -> tuple[Tensor, Tensor]:
    """log of (size / scale)^p, and where size is 0 (subnormal included), which the caller has to mask.

    Masked elements hold the log of a 1 that no gradient reaches: the derivative of the log at 0 would be a NaN.
    """
    zero = size < torch.finfo(size.dtype).tiny
    return p * (torch.where(zero, 1.0, size).log() - log_scale), zero


def _log1p_exp(x: Tensor) -> Tensor:
    """log(1 + e^x): no overflow, exact where e^x is tiny, derivative 1/2 at 0."""
    return -F.logsigmoid(-x)


def _bounded_exp(x: Tensor) -> Tensor:
    """e^x, beyond e^10 below the largest number of the dtype its tangent in x: finite and rising for x < 20,000."""
    end = math.log(torch.finfo(x.dtype).max) - 10.0
    return x.clamp(max=end).exp() * (1 + (x - end).clamp(min=0.0))


def mse(prediction: Float[Tensor, ...], target: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """Squared error, e^2.

    Args:
        prediction: (..., H, F) scaled units.
        target: the same shape, or without some leading dimensions.
    Returns:
        prediction's shape, in squared scaled units, >= 0.

    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0])).tolist()
    [0.0, 9.0]
    """
    return _error(prediction, target).square()


def mae(prediction: Float[Tensor, ...], target: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """Absolute error, |e|; shapes as in `mse`, in scaled units, >= 0.

    >>> mae(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0])).tolist()
    [0.0, 3.0]
    """
    return _error(prediction, target).abs()


def cauchy(prediction: Float[Tensor, ...], target: Float[Tensor, ...], gamma: float) -> Float[Tensor, ...]:
    """Cauchy (Lorentzian) loss, log(1 + (e / gamma)^2).

    The negative log-likelihood of a Cauchy distribution of scale gamma without its constant log(pi gamma), so that a
    perfect forecast costs 0; values of different gamma are therefore not comparable. It is
    (e / gamma)^2 for |e| << gamma and 2 log |e / gamma| for |e| >> gamma.

    Args:
        prediction: (..., H, F) scaled units.
        target: the same shape, or without some leading dimensions.
        gamma: scale, > 0; scaled units.
    Returns:
        prediction's shape, dimensionless, >= 0.

    >>> round(float(cauchy(torch.tensor(0.0), torch.tensor(2.0), gamma=2.0)), 4)  # ln 2
    0.6931
    """
    log_power, zero = _log_power(_error(prediction, target).abs(), 2.0, math.log(gamma))
    return torch.where(zero, 0.0, _log1p_exp(log_power))


def sgt(prediction: Float[Tensor, ...], target: Float[Tensor, ...], distribution: SGT) -> Float[Tensor, ...]:
    """Negative log-likelihood of the error, -log f(e), with its constant, so that values compare across q.

    With z = e - mode and r = (|z| / (s (1 + lam sgn z)))^p it is (1/p + q) log(1 + r/q) - log f(mode); q = inf
    gives r - log f(mode), continued where r nears the end of the dtype as in `_bounded_exp`.

    Args:
        prediction: (..., H, F) scaled units.
        target: the same shape, or without some leading dimensions.
        distribution: of the error; its mu is where the error is centred, 0 for an unbiased forecast. Convention in
            `distributions.sgt`.
    Returns:
        prediction's shape, in nats, >= -log f(mode), which may be negative.
    Source: Theodossiou (1998), Management Science 44(12), eq. 1.

    >>> normal = SGT(0.0, 1.0, 0.0, 2.0, math.inf, centred=True, unit_variance=True)
    >>> round(float(sgt(torch.zeros(1), torch.ones(1), normal)), 4)  # log(2 pi) / 2 + 1 / 2
    1.4189
    """
    p, q, lam = distribution.p, distribution.q, distribution.lam
    z = _error(prediction, target) - distribution.mode
    above, below = math.log1p(lam), math.log1p(-lam)
    log_scale = distribution.log_scale + above + (z < 0).to(z.dtype) * (below - above)
    log_power, zero = _log_power(z.abs(), p, log_scale)
    if distribution.exponential:
        return torch.where(zero, 0.0, _bounded_exp(log_power)) - distribution.log_normaliser
    fall = (1 / p + q) * _log1p_exp(log_power - math.log(q))
    return torch.where(zero, 0.0, fall) - distribution.log_normaliser


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {"mse": mse, "mae": mae, "cauchy": cauchy, "sgt": sgt}


def make_loss(type: str, *, sgt: SGT | None = None, gamma: float | None = None) -> Loss:
    """The loss of that name with its settings bound, (prediction, target) -> elementwise loss; can be pickled.

    Args:
        type: mse, mae, cauchy or sgt.
        sgt: the distribution of the error; needed by sgt, ignored by the others.
        gamma: scale; needed by cauchy, ignored by the others.
    Raises:
        InputError: the name is unknown, or the setting that it needs is missing or out of range.

    >>> float(make_loss("mae")(torch.tensor(1.0), torch.tensor(3.0)))
    2.0
    """
    if type not in ELEMENTWISE:
        raise InputError(f"loss.type = {type}: must be one of {', '.join(ELEMENTWISE)}")
    if type == "cauchy":
        if gamma is None or not 0 < gamma < math.inf:
            raise InputError(f"loss.gamma = {gamma}: the cauchy loss needs a positive, finite scale")
        return functools.partial(cauchy, gamma=gamma)
    if type == "sgt":
        if sgt is None:
            raise InputError("loss.type = sgt: needs a distribution")
        return functools.partial(ELEMENTWISE[type], distribution=sgt)
    return ELEMENTWISE[type]
