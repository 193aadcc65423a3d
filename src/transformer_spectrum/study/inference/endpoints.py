"""What a study measures of a training: endpoints by name, and the primary ones from recorded metrics.

The two primary endpoints weigh the feed-forward and the attention matrices alike, whatever their numbers: a plain mean
over the matrices of each, then the mean of both. They are logarithms, so that a difference is a ratio.

- P1, `change_log_stable_rank`: ln stable rank of W_t - W_0, in how many directions training has moved.
- P2, `path_log_stable_rank`: ln stable rank of W_t less its mean under W_0 + shuffled change. What a path of the same
  length without a direction does to W is taken off; it is not divided by the spread of an arm's own null, because two
  arms of a pair would then have two units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from transformer_spectrum.runtime.errors import InputError

Role = Literal["primary", "secondary", "exploratory"]
Metrics = Float[np.ndarray, "steps matrices"]

CHANGE_RANK, PATH_RANK = "change_log_stable_rank", "path_log_stable_rank"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "feed_forward": ("feed_forward",),
    "attention": ("encoder_self_attention", "decoder_self_attention", "decoder_cross_attention"),
}
"""What weighs alike in a primary endpoint -> families in it."""
RECURRENT_GROUPS: Mapping[str, tuple[str, ...]] = {"encoder": ("encoder_gates",), "decoder": ("decoder_gates",)}
"""The same of an LSTM, which has neither."""


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    Attributes:
        name: in tables; a metric of `spectra.analysis` with "change_" before it is of W_t - W_0.
        formula: in words and symbols.
        role: primary ones are tested as a family, secondary ones by their q-values, exploratory ones not at all.
        unit: of a difference.
    """

    name: str
    formula: str
    role: Role
    unit: str


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(CHANGE_RANK, "mean of ln stable rank(W_t - W_0)", "primary", "log units"),
    Endpoint(
        PATH_RANK,
        "mean of ln stable rank(W_t) - mean over draws of ln stable rank(W_0 + shuffled change)",
        "primary",
        "log units",
    ),
    Endpoint("spectral_entropy", "entropy of sigma^2 / sum sigma^2 of W_t", "secondary", "nats"),
    Endpoint("change_spectral_entropy", "the same of W_t - W_0", "secondary", "nats"),
    Endpoint("log_relative_norm", "ln(s_1(W_t - W_0) / s_1(W_0))", "secondary", "log units"),
    Endpoint("mp_spikes", "singular values above the edge of noise", "secondary", "count"),
    Endpoint("query_key_spectral_entropy", "entropy of the query-key circuits", "secondary", "nats"),
    Endpoint("output_value_spectral_entropy", "entropy of the output-value circuits", "secondary", "nats"),
    Endpoint("overlap_left", "|U_k(W_t - W_0)^T U_k(W_0)|^2 / k of outputs", "secondary", "fraction"),
    Endpoint("overlap_right", "the same of inputs", "secondary", "fraction"),
    Endpoint("log_distance", "ln(|W_t - W_0| / |W_0|) of all these matrices together", "exploratory", "log units"),
    Endpoint("hill_alpha", "Hill's exponent; its null stands in nulls.csv", "exploratory", "dimensionless"),
    Endpoint(
        "ks_alpha",
        "exponent at the xmin of least distance; its null and D stand in nulls.csv",
        "exploratory",
        "dimensionless",
    ),
    Endpoint(
        "farms_alpha", "exponent over square submatrices; its null stands in nulls.csv", "exploratory", "dimensionless"
    ),
)
"""All endpoints, the primary ones first."""


def endpoint(name: str) -> Endpoint:
    """That of a name.

    Raises:
        InputError: there is none.

    >>> endpoint("mp_spikes").role
    'secondary'
    """
    for candidate in ENDPOINTS:
        if candidate.name == name:
            return candidate
    raise InputError(f"endpoint = {name}: must be one of {', '.join(each.name for each in ENDPOINTS)}")


def group_mean(values: Metrics, families: Sequence[str]) -> Float[np.ndarray, " steps"]:
    """Plain mean over the matrices of feed-forward, plain mean over those of attention, then the mean of both.

    Of a model with neither, the gates of encoder and decoder. A matrix without a value at a step leaves its mean; a
    group without any has no value, and then the endpoint has none.

    Args:
        values: of a metric, NaN = none.
        families: of each matrix, see `weights.matrices.families.Family.label`.
    Raises:
        InputError: as many families as matrices are not given, or none of them is of a group.

    >>> families = ["feed_forward", "feed_forward", "encoder_self_attention", "readout"]
    >>> group_mean(np.array([[1.0, 3.0, 6.0, 9.0]]), families)
    array([4.])
    """
    if len(families) != values.shape[1]:
        raise InputError(f"families: {len(families)} of {values.shape[1]} matrices")
    return np.mean([_mean(values[:, positions]) for positions in grouped(families)], axis=0)


def grouped(families: Sequence[str]) -> list[list[int]]:
    """Positions of the matrices of each group: feed-forward and attention, or the gates of encoder and decoder.

    Raises:
        InputError: there is none.

    >>> grouped(["embedding", "feed_forward", "encoder_self_attention", "feed_forward"])
    [[1, 3], [2]]
    """
    members = [
        positions
        for groups in (GROUPS, RECURRENT_GROUPS)
        for names in groups.values()
        if (positions := [place for place, family in enumerate(families) if family in names])
    ]
    if not members:
        raise InputError(
            f"families = {', '.join(dict.fromkeys(families))}: none is of feed-forward, attention or gates"
        )
    return members


def change_log_stable_rank(change_stable_rank: Metrics, families: Sequence[str]) -> Float[np.ndarray, " steps"]:
    """P1: the `group_mean` of ln stable rank(W_t - W_0).

    Args:
        change_stable_rank: of the change of every matrix at every step, >= 1; NaN = no change yet.
        families: as in `group_mean`.

    >>> change_log_stable_rank(np.array([[np.e, 1.0]]), ["feed_forward", "encoder_self_attention"])
    array([0.5])
    """
    return group_mean(np.log(change_stable_rank), families)


def path_log_stable_rank(
    stable_rank: Metrics, null_stable_rank: Float[np.ndarray, "draws steps matrices"], families: Sequence[str]
) -> Float[np.ndarray, " steps"]:
    """P2: the `group_mean` of ln stable rank(W_t) - mean over draws of ln stable rank(W_0 + shuffled change).

    It is the change of W's log stable rank since W_0 less the same change under the null; W_0 cancels.

    Args:
        stable_rank: of every matrix at every step that has nulls, >= 1.
        null_stable_rank: of the draws of `of_training.nulls.NullDraws.path`.
        families: as in `group_mean`.

    >>> ranks, draws = np.array([[2.0, 4.0]]), np.array([[[1.0, 2.0]], [[1.0, 2.0]]])
    >>> path_log_stable_rank(ranks, draws, ["feed_forward", "encoder_self_attention"]).round(4)
    array([0.6931])
    """
    return group_mean(np.log(stable_rank) - np.log(null_stable_rank).mean(axis=0), families)


def log_relative_norm(change_norm: Metrics, initial_norm: Float[np.ndarray, " matrices"]) -> Metrics:
    """ln(s_1(W_t - W_0) / s_1(W_0)) of each matrix; NaN where either is zero.

    >>> log_relative_norm(np.array([[0.0, 2.0]]), np.array([1.0, 2.0]))
    array([[nan,  0.]])
    """
    usable = (change_norm > 0) & (initial_norm > 0)
    ratio = np.divide(change_norm, initial_norm, out=np.full(change_norm.shape, np.nan), where=usable)
    return np.log(ratio)


def _mean(values: np.ndarray) -> np.ndarray:
    recorded = np.isfinite(values)
    count = recorded.sum(axis=1)
    return np.divide(
        np.where(recorded, values, 0.0).sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0
    )
