"""The endpoints of claims about where training ends, by name; most need the weights of several steps at once."""

from __future__ import annotations

from transformer_spectrum.study.inference.endpoints import Endpoint

ENTROPY_GAIN, ENTROPY_EXCESS = "spectral_entropy_gain", "spectral_entropy_excess"
SMALL_EXCESS, LARGE_EXCESS = "small_value_excess", "large_value_excess"
SETTLED, CHANGE_SETTLED, KEPT = "leading_vectors_settled", "change_leading_vectors_settled", "leading_vectors_kept"
AGREEMENT = 0.9
"""Mean squared cosine from which leading vectors are said to have settled."""
HALF = 0.05
"""How far from half of the updates a record may lie that stands for it, as a share of all."""
_NULL = "less its mean over draws of W_0 + shuffled change"
FOLLOWED: tuple[Endpoint, ...] = (
    Endpoint(
        ENTROPY_GAIN, "entropy of sigma^2 / sum sigma^2 of W where training ends, less W_0's", "exploratory", "nats"
    ),
    Endpoint(ENTROPY_EXCESS, f"the same entropy where training ends, {_NULL}", "exploratory", "nats"),
    Endpoint(
        SMALL_EXCESS,
        f"ln(mean of the smallest tenth of sigma / median sigma) of W where training ends, {_NULL}",
        "exploratory",
        "log units",
    ),
    Endpoint(LARGE_EXCESS, f"ln(s_1 / median sigma) of W where training ends, {_NULL}", "exploratory", "log units"),
    Endpoint(
        SETTLED,
        f"|U_k(W at half of the updates)^T U_k(W where training ends)|^2 / k, outputs and inputs, less {AGREEMENT}",
        "exploratory",
        "fraction",
    ),
    Endpoint(CHANGE_SETTLED, "the same of W - W_0", "exploratory", "fraction"),
    Endpoint(
        KEPT, f"|U_k(W_0)^T U_k(W where training ends)|^2 / k likewise, less {AGREEMENT}", "exploratory", "fraction"
    ),
)
"""All of them; each is one number a training, so that none has an axis along which arms are matched."""


def is_followed(name: str) -> bool:
    """Whether it is one of these.

    >>> is_followed("small_value_excess"), is_followed("mp_spikes")
    (True, False)
    """
    return name in [each.name for each in FOLLOWED]
