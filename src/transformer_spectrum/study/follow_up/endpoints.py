"""The endpoints of claims that need a training's weights at several steps at once, by name."""

from __future__ import annotations

from transformer_spectrum.study.inference.endpoints import Endpoint

ENTROPY_GAIN, SMALL_EXCESS = "spectral_entropy_gain", "small_value_excess"
SETTLED, CHANGE_SETTLED = "leading_vectors_settled", "change_leading_vectors_settled"
AGREEMENT = 0.9
"""Mean squared cosine from which leading vectors are said to have settled."""
FOLLOWED: tuple[Endpoint, ...] = (
    Endpoint(
        ENTROPY_GAIN, "entropy of sigma^2 / sum sigma^2 of W where training ends, less W_0's", "exploratory", "nats"
    ),
    Endpoint(
        SMALL_EXCESS,
        "ln(mean of the smallest tenth of sigma / median sigma) of W where training ends, less its mean over draws of "
        "W_0 + shuffled change",
        "exploratory",
        "log units",
    ),
    Endpoint(
        SETTLED,
        f"|U_k(W at half of the updates)^T U_k(W where training ends)|^2 / k, outputs and inputs, less {AGREEMENT}",
        "exploratory",
        "fraction",
    ),
    Endpoint(CHANGE_SETTLED, "the same of W - W_0", "exploratory", "fraction"),
)
"""All of them; each is one number a training, so that none has an axis along which arms are matched."""


def is_followed(name: str) -> bool:
    """Whether it is one of these.

    >>> is_followed("small_value_excess"), is_followed("mp_spikes")
    (True, False)
    """
    return name in [each.name for each in FOLLOWED]
