"""What WeightWatcher 0.7.7 says of a spectrum, by its own conventions and under its own column names.

Nothing else here uses these conventions: see `docs/spectra.md` for what differs, and why. They are for those who have
its numbers and want to find them again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Num, Real

from transformer_spectrum.spectra.power_law import alpha_hat, clauset_fit, log_alpha_norm

SMALLEST = 1e-5  # of the eigenvalues that enter the fit, whatever the unit of the weights
WEAK = 1e-6  # eigenvalues below count as weak rank loss
SHARE = 1e-10  # that the entropy adds to every share, and to the rank
FEW = 20  # eigenvalues below which the fit is another one
FEWEST_IN_TAIL = 8  # of that other fit
OVER_TRAINED, UNDER_TRAINED = 2.0, 6.0
FIT = ("alpha", "D", "sigma", "xmin", "num_pl_spikes", "alpha_weighted", "log_alpha_norm")
COLUMNS = (
    "D",
    "M",
    "N",
    "Q",
    "alpha",
    "alpha_weighted",
    "entropy",
    "has_esd",
    "lambda_max",
    "layer_type",
    "log_alpha_norm",
    "log_norm",
    "log_spectral_norm",
    "longname",
    "matrix_rank",
    "norm",
    "num_evals",
    "num_pl_spikes",
    "rank_loss",
    "rf",
    "sigma",
    "spectral_norm",
    "stable_rank",
    "status",
    "sv_max",
    "sv_min",
    "warning",
    "weak_rank_loss",
    "xmax",
    "xmin",
)
"""Those of its table `details` after `layer_id` and `name`, in its order."""
NO_EIGENVALUE = "zero matrix"
NO_TAIL = "fewer than two different eigenvalues above 1e-5, WeightWatcher's threshold"


def spectrum_details(
    singular_values: Real[np.ndarray, "positions rank"], shape: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Its columns that follow from a spectrum, and why some of them have no value.

    Its `spectral_norm` is s_1^2 and its `norm` sum s^2. Where its fit fails it writes -1, here there is no value.

    Args:
        singular_values: (K, M) of a layer: K = 1 for a matrix, one row for each position of a convolution's kernel,
            whose eigenvalues it pools (`kernel_slices`). W's units.
        shape: rows and columns of each of the K matrices, in any order.
    Returns:
        Column -> value, without `layer_id`, `name`, `longname` and `layer_type`; column -> reason.
    Source: WeightWatcher 0.7.7, apply_esd, fit_powerlaw, apply_norm_metrics, RMT_Util and WW_powerlaw.

    >>> values, reasons = spectrum_details(np.array([[3.0, 2.0, 1.0]]), (3, 3))
    >>> values["spectral_norm"], values["norm"], values["num_pl_spikes"], reasons
    (9.0, 14.0, 3, {})
    """
    slices = np.asarray(singular_values, dtype=np.float64)
    large, small = max(shape), min(shape)
    eigenvalues = np.sort(slices.ravel() ** 2)
    total, largest = float(eigenvalues.sum()), float(eigenvalues[-1])
    values: dict[str, Any] = {
        "M": small,
        "N": large,
        "Q": large / small,
        "has_esd": True,
        "lambda_max": largest,
        "norm": total,
        "num_evals": len(eigenvalues),
        "rank_loss": sum(small - _rank(position, large) for position in slices),
        "rf": len(slices),
        "spectral_norm": largest,
        "sv_max": float(slices.max()),
        "sv_min": float(slices.min(axis=1).max()),  # of several matrices the largest: its own rule
        "weak_rank_loss": int((eigenvalues < WEAK).sum()),
        "xmax": largest,
        "matrix_rank": _rank(np.sqrt(eigenvalues), large),
        "status": "failed",
        "warning": "",
    }
    if not largest > 0:
        lacking = ("log_norm", "log_spectral_norm", "stable_rank", "entropy", *FIT)
        return values, dict.fromkeys(lacking, NO_EIGENVALUE)
    shares = eigenvalues / total + SHARE
    values |= {
        "log_norm": math.log10(total),
        "log_spectral_norm": math.log10(largest),
        "stable_rank": total / largest,
    }
    reasons = {}
    if values["matrix_rank"] > 1:
        values["entropy"] = float(-(shares * np.log(shares)).sum() / math.log(values["matrix_rank"] + SHARE))
    else:
        reasons["entropy"] = "the logarithm of rank 1 is zero"
    inside = eigenvalues[eigenvalues > SMALLEST]
    if len(inside) < 2 or inside[-1] - inside[0] <= large * np.finfo(np.float32).eps * inside[-1]:
        return values, {**reasons, **dict.fromkeys(FIT, NO_TAIL)}
    alpha, xmin, distance, tail = _fit(inside)
    values |= {
        "alpha": alpha,
        "D": distance,
        "xmin": xmin,
        "sigma": (alpha - 1.0) / math.sqrt(tail),
        "num_pl_spikes": int((eigenvalues >= xmin).sum()),
        "alpha_weighted": float(alpha_hat(np.array(alpha), eigenvalues)),
        "log_alpha_norm": float(log_alpha_norm(np.array(alpha), eigenvalues)),
        "status": "success",
        "warning": "over-trained" if alpha < OVER_TRAINED else "under-trained" if alpha > UNDER_TRAINED else "",
    }
    return values, reasons


def kernel_slices(kernel: Num[np.ndarray, "outputs inputs *window"]) -> Num[np.ndarray, "positions outputs inputs"]:
    """The matrices of a convolution's kernel as it takes them: one for each position, scaled by sqrt(1 / 2).

    Args:
        kernel: (outputs, inputs, height, width), torch's layout.
    Returns:
        (K, outputs, inputs), K = height * width.

    >>> kernel_slices(np.ones((2, 3, 1, 4))).shape
    (4, 2, 3)
    """
    outputs, inputs, *window = kernel.shape
    positions = math.prod(window)
    return np.moveaxis(kernel.reshape(outputs, inputs, positions), -1, 0) * math.sqrt(0.5)


def _rank(singular_values: np.ndarray, large: int) -> int:
    """numpy's rule with the eps of float64, so that the rounding of float32 weights counts."""
    return int(np.count_nonzero(singular_values > singular_values.max() * large * np.finfo(np.float64).eps))


def _fit(eigenvalues: np.ndarray) -> tuple[float, float, float, int]:
    """Alpha, xmin, D and the size of the tail of (n,) ascending eigenvalues."""
    if len(eigenvalues) < FEW:
        return _fit_of_few(eigenvalues)
    fit = clauset_fit(eigenvalues, 2, "powerlaw")
    return float(fit.alpha), float(fit.xmin), float(fit.distance), int(fit.tail)


def _fit_of_few(eigenvalues: np.ndarray) -> tuple[float, float, float, int]:
    """alpha = 1 + (n - 1) / sum ln(x / xmin), and of all tails of at least 8 (or of all values) that of least D.

    Its function for this case looks for the least D - 0.868 / sqrt(n); its constructor then takes the least D.
    """
    count, best = len(eigenvalues), (math.inf, 0.0, 0.0, 0)
    logs = np.log(eigenvalues)
    for first in range(max(1, count - FEWEST_IN_TAIL + 1)):
        n = count - first
        total = float((logs[first:] - logs[first]).sum())
        if total <= 1e-12:
            continue
        alpha = 1.0 + (n - 1.0) / total
        fitted = 1.0 - (eigenvalues[first:] / eigenvalues[first]) ** (1.0 - alpha)
        distance = float(np.abs(np.arange(n) / n - fitted).max())
        if distance < best[0]:
            best = distance, alpha, float(eigenvalues[first]), n
    return best[1], best[2], best[0], best[3]
