"""The training losses: pure functions of prediction and target, elementwise; the caller reduces.

All take the error e = target - prediction, so a positive skewness expects targets above the prediction. Prediction
and target may have any number of leading dimensions; target may lack some of prediction's. They work on any device,
under inference_mode and under autograd. float16 and bfloat16 are computed and returned in float32.

mse = e^2 overflows where e^2 does. The logarithmic losses work on log |e| and do not: for e up to 1e30 in float32
value and gradient are finite, and at e = 0 the gradient is 0, also where the loss has a kink (mae, sgt with p <= 1).

Two losses differ in a training only as far as their influence psi(e) = d rho / d e differs on the errors at hand
(`influence_cosine`). The scale of sgt and cauchy decides where that is; it can follow the errors (`residual_scale`,
`scale_at`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.runtime.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
Number = float | Tensor
"""A parameter of a loss: one for all errors, or a tensor that fits them."""


def _error(prediction: Tensor, target: Tensor) -> Tensor:
    """target - prediction, at least float32."""
    error = target - prediction
    if error.shape != prediction.shape:
        raise ValueError(
            f"target of shape {tuple(target.shape)} does not fit prediction of shape {tuple(prediction.shape)}"
        )
    return error if error.dtype == torch.float64 else error.float()


def _log_power(size: Tensor, p: Number, log_scale: Number) -> tuple[Tensor, Tensor]:
    """log of (size / scale)^p, and where size is 0 (subnormal included), which the caller has to mask.

    Masked elements hold the log of a 1 that no gradient reaches: the derivative of the log at 0 would be a NaN.
    """
    zero = size < torch.finfo(size.dtype).tiny
    return p * (torch.where(zero, 1.0, size).log() - log_scale), zero


def _log1p_exp(x: Tensor) -> Tensor:
    """log(1 + e^x): no overflow, exact where e^x is tiny, derivative 1/2 at 0."""
    return -F.logsigmoid(-x)


def _bounded_exp(x: Tensor, p: Number, log_scale: Number) -> Tensor:
    """e^x, beyond some end its tangent in x: finite and rising for x < 20,000, and so is its derivative in the error.

    The end lies e^10 below the largest number of the dtype; lower where the scale is so small that the derivative in
    the error, p e^x / |z| with log |z| = log_scale + x / p, comes within e^5 of that number before.
    """
    largest = math.log(torch.finfo(x.dtype).max)
    power, scale = (torch.as_tensor(number, dtype=torch.float64, device=x.device) for number in (p, log_scale))
    of_slope = (largest - 5.0 + scale - power.log()) / (1 - 1 / power)
    end = torch.where(power > 1, of_slope, math.inf).clamp(max=largest - 10.0).to(x.dtype)  # at p <= 1 it never rises
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
    return cauchy_at(prediction, target, math.log(gamma))


def cauchy_at(prediction: Tensor, target: Tensor, log_gamma: Number) -> Tensor:
    """`cauchy` by the logarithm of its scale, which may be a tensor that fits the errors.

    >>> cauchy_at(torch.zeros(2), torch.full((2,), 2.0), torch.tensor([1.0, 2.0]).log()).tolist()
    [1.6094379425048828, 0.6931471824645996]
    """
    log_power, zero = _log_power(_error(prediction, target).abs(), 2.0, log_gamma)
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
    return sgt_at(prediction, target, distribution.exponential, *sgt_numbers(distribution))


def sgt_numbers(distribution: SGT) -> tuple[float, ...]:
    """The numbers that `sgt_at` needs of a distribution, in their order.

    >>> len(sgt_numbers(SGT(0.0, 1.0, 0.0, 2.0, 3.0)))
    7
    """
    p, q, lam = distribution.p, distribution.q, distribution.lam
    above, below = math.log1p(lam), math.log1p(-lam)
    fall = (0.0, 0.0) if distribution.exponential else (1 / p + q, math.log(q))
    log_scale = distribution.log_scale + above
    return distribution.mode, log_scale, below - above, p, *fall, distribution.log_normaliser


def sgt_at(
    prediction: Tensor,
    target: Tensor,
    exponential: bool,
    mode: Number,
    log_scale: Number,
    log_skew: Number,
    p: Number,
    exponent: Number,
    log_q: Number,
    log_normaliser: Number,
) -> Tensor:
    """`sgt` by the numbers of its distribution, which may be tensors that fit the errors.

    Args:
        exponential: whether q is infinite.
        mode: of the error; scaled units.
        log_scale: ln s (1 + lam).
        log_skew: ln (1 - lam) / (1 + lam), added to it below the mode.
        p: of the distribution.
        exponent: 1 / p + q; without meaning where q is infinite.
        log_q: ln q; likewise.
        log_normaliser: log f(mode).

    >>> heavy, errors = SGT(0.0, 1.0, 0.2, 2.0, 3.0), torch.tensor([-1.0, 2.0])
    >>> torch.equal(sgt_at(0 * errors, errors, False, *sgt_numbers(heavy)), sgt(0 * errors, errors, heavy))
    True
    """
    z = _error(prediction, target) - mode
    log_scale_here = log_scale + (z < 0).to(z.dtype) * log_skew
    log_power, zero = _log_power(z.abs(), p, log_scale_here)
    rise = _bounded_exp(log_power, p, log_scale_here) if exponential else exponent * _log1p_exp(log_power - log_q)
    return torch.where(zero, 0.0, rise) - log_normaliser


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {"mse": mse, "mae": mae, "cauchy": cauchy, "sgt": sgt}


SCALED = ("cauchy", "sgt")
"""Losses whose scale decides what they minimise; that of mse and mae would only be a factor."""


def make_loss(type: str, *, sgt: SGT | None = None, gamma: float | None = None, mad: float | None = None) -> Loss:
    """The loss of that name with its settings bound, (prediction, target) -> elementwise loss; can be pickled.

    Args:
        type: mse, mae, cauchy or sgt.
        sgt: the distribution of the error; needed by sgt, ignored by the others.
        gamma: scale; needed by cauchy, ignored by the others.
        mad: of the errors, > 0, scaled units: sigma of sgt or gamma of cauchy are put where the errors lie, as
            `scale_at` says, instead of where the settings have them. mse and mae have no such scale, and stay what
            they are. None = as set.
    Raises:
        InputError: the name is unknown, or the setting that it needs is missing or out of range.

    >>> float(make_loss("mae")(torch.tensor(1.0), torch.tensor(3.0)))
    2.0
    >>> make_loss("cauchy", gamma=1.0, mad=0.25).keywords
    {'gamma': 0.25}
    """
    if type not in ELEMENTWISE:
        raise InputError(f"loss.type = {type}: must be one of {', '.join(ELEMENTWISE)}")
    if type == "cauchy":
        if gamma is None or not 0 < gamma < math.inf:
            raise InputError(f"loss.gamma = {gamma}: the cauchy loss needs a positive, finite scale")
        return functools.partial(cauchy, gamma=gamma if mad is None else scale_at(mad))
    if type == "sgt":
        if sgt is None:
            raise InputError("loss.type = sgt: needs a distribution")
        distribution = sgt if mad is None else dataclasses.replace(sgt, sigma=scale_at(mad, sgt))
        return functools.partial(ELEMENTWISE[type], distribution=distribution)
    return ELEMENTWISE[type]


def times(loss: Loss, factor: float) -> Loss:
    """The loss multiplied by a number, factor * rho(e); the loss itself where that is 1. Can be pickled.

    Args:
        loss: what `make_loss` gives.
        factor: > 0; dimensionless.
    Raises:
        InputError: the factor is out of range.

    >>> float(times(mse, 10.0)(torch.tensor(1.0), torch.tensor(3.0)))
    40.0
    >>> times(mse, 1.0) is mse
    True
    """
    if not 0 < factor < math.inf:
        raise InputError(f"loss.factor = {factor}: must be positive and finite")
    return loss if factor == 1 else functools.partial(multiplied, loss=loss, factor=factor)


def multiplied(prediction: Tensor, target: Tensor, loss: Loss, factor: Number) -> Tensor:
    """factor * loss, elementwise.

    >>> multiplied(torch.zeros(2), torch.tensor([1.0, -2.0]), mae, 3.0).tolist()
    [3.0, 6.0]
    """
    return factor * loss(prediction, target)


def scale_at(mad: float, sgt: SGT | None = None) -> float:
    """The scale of a loss under whose own distribution the errors' MAD is the one that is seen.

    gamma = MAD for the Cauchy distribution, whose quartiles lie at -+ gamma; sigma = MAD / (MAD at sigma = 1) for an
    SGT, in its own convention: with unit_variance sigma is a standard deviation, of t(2.1) 4.6 raw scales.

    Args:
        mad: of the errors, > 0; scaled units.
        sgt: the loss's distribution, whose lam, p, q and convention count; None = Cauchy.
    Returns:
        gamma or sigma, > 0; scaled units.
    Raises:
        InputError: the MAD is 0 or not finite, so the errors give no scale; keep the last one then.

    >>> normal = SGT(0.0, 1.0, 0.0, 2.0, math.inf)
    >>> round(scale_at(0.6745, normal), 3), scale_at(0.6745)
    (1.0, 0.6745)
    """
    if not 0 < mad < math.inf:
        raise InputError(f"mad = {mad:g}: a loss follows a positive, finite scale of its errors")
    return mad if sgt is None else mad / _mad_at_unit_sigma(dataclasses.replace(sgt, mu=0.0, sigma=1.0))


@functools.lru_cache(maxsize=256)
def _mad_at_unit_sigma(distribution: SGT) -> float:
    return distribution.mad()


def residual_scale(errors: Float[Tensor, "*shape"], centre: float = 0.0) -> float:
    """MAD = median |e - centre|, how large a forecaster's errors are, whatever their tail.

    About 0 and not about their own median, as in robust regression: a loss sees errors from its own centre, and a
    bias that is not yet trained away belongs to what it sees. Of symmetric, unbiased errors both are the same.

    Args:
        errors: of any shape, target - prediction; scaled units.
        centre: of the loss, mu of an SGT; scaled units.
    Returns:
        >= 0, scaled units; 0 where more than half of the errors are at the centre, NaN where there are none or one is
        NaN, as after a divergence.
    Source: statsmodels, `RLM._estimate_scale`: scale.mad(resid, center=0).

    >>> residual_scale(torch.tensor([-3.0, 1.0, 2.0]))
    2.0
    """
    deviations = (errors.detach().cpu().double() - centre).abs().flatten().numpy()
    return float(np.median(deviations)) if deviations.size else math.nan


def residual_scales(errors: Float[Tensor, "members ..."]) -> Float64[Tensor, " members"]:
    """`residual_scale` of each member, about 0.

    >>> residual_scales(torch.tensor([[-3.0, 1.0, 2.0], [1.0, 1.0, -1.0]])).tolist()
    [2.0, 1.0]
    """
    deviations = errors.detach().flatten(1).double().abs().sort(dim=1).values
    count = deviations.shape[1]
    middle = (deviations[:, (count - 1) // 2] + deviations[:, count // 2]) / 2
    return torch.where(deviations[:, -1].isnan(), torch.nan, middle)


def influence(errors: Float[Tensor, "*shape"], loss: Loss) -> Float[Tensor, "*shape"]:
    """psi(e) = d rho / d e, the pull of each error on the forecast; float64.

    2 e for mse, sgn e for mae, 2 e / (gamma^2 + e^2) for cauchy, and with z and r of `sgt` (1/p + q) p r / (z (q + r))
    for sgt, p r / z at q = inf; by differentiation of the very function that is trained, so any loss has one.

    Args:
        errors: target - prediction; scaled units.
        loss: what `make_loss` gives.
    Returns:
        Shape of errors, loss units per scaled unit.

    >>> influence(torch.tensor([-0.5, 2.0]), mse).tolist(), influence(torch.tensor([-0.5, 2.0]), mae).tolist()
    ([-1.0, 4.0], [-1.0, 1.0])
    """
    with torch.inference_mode(False), torch.enable_grad():
        targets = errors.detach().cpu().double().clone().requires_grad_()
        (pull,) = torch.autograd.grad(loss(torch.zeros_like(targets), targets).sum(), targets)
    return pull


def influence_cosine(errors: Float[Tensor, "*shape"], loss: Loss, reference: Loss = mse) -> float:
    """Cosine of the influences of two losses on the same errors, <psi, psi_ref> / (|psi| |psi_ref|).

    1 where the losses pull alike on all errors, so that a training can tell them apart by its step size at most;
    what sets them apart is 1 minus it. No factor of a loss changes it.

    Args:
        errors: validation residuals, target - prediction; scaled units, any shape.
        loss, reference: what `make_loss` gives.
    Returns:
        -1 .. 1; NaN where it has no value: no error differs from 0, or one is not finite.

    >>> errors = torch.tensor([-1.0, 1.0, 2.0])
    >>> round(influence_cosine(errors, mae), 4)  # (1 + 1 + 2) / sqrt(3 (1 + 1 + 4))
    0.9428
    """
    pull, reference_pull = influence(errors, loss), influence(errors, reference)
    size = float(pull.norm()) * float(reference_pull.norm())
    return min(1.0, max(-1.0, float((pull * reference_pull).sum()) / size)) if 0 < size < math.inf else math.nan
