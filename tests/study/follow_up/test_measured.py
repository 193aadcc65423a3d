"""What is followed up of a made-up training, each number computed a second time from its weights."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from made_up import ROOT, layout, training
from study_protocol import FOLLOWED_CLAIM

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra.nulls import shuffled_change_singular_values
from transformer_spectrum.study.claims import Claim, ClaimOutcome, answer, parse_claim
from transformer_spectrum.study.follow_up.endpoints import AGREEMENT, FOLLOWED
from transformer_spectrum.study.follow_up.measured import followed, small_value_log_ratio
from transformer_spectrum.study.follow_up.table import COLUMNS

SPECS = layout(20)
GROUPS = (lambda family: family == "feed_forward", lambda family: family.endswith("attention"))
SHUFFLES, RANK = 5, 2


def params():
    few = {"shuffles": SHUFFLES, "overlap_rank": RANK}
    return load_params(ROOT / "params.yaml").spectra.model_copy(update=few)


def balanced(function):
    """Mean over the matrices of each group, then of both."""
    return np.mean([np.mean([function(name) for name, family, _ in SPECS if inside(family)]) for inside in GROUPS])


def entropy(matrix):
    shares = np.linalg.svd(matrix, compute_uv=False) ** 2
    shares = shares[shares > 0] / shares.sum()
    return -(shares * np.log(shares)).sum()


def agreement(first, second):
    """Mean squared cosine of the principal angles, both sides."""
    both = []
    for one, other in ((first, second), (first.T, second.T)):
        bases = [np.linalg.svd(matrix.astype(float))[0][:, :RANK] for matrix in (one, other)]
        both.append((np.linalg.svd(bases[0].T @ bases[1], compute_uv=False) ** 2).mean())
    return np.mean(both)


@pytest.fixture(scope="module")
def made():
    history, snapshots = training("adam", 4, SPECS)
    return snapshots.weights, followed(history, snapshots, params(), optimizer="adam", seed=7)


def test_it_has_every_endpoint(made):
    assert list(made[1]) == [each.name for each in FOLLOWED]


def test_the_gain_of_entropy_is_that_from_first_to_last(made):
    weights, values = made
    expected = balanced(lambda name: entropy(weights[name][-1]) - entropy(weights[name][0]))
    assert values["spectral_entropy_gain"] == pytest.approx(expected, abs=1e-6)


def test_leading_vectors_are_compared_at_half_of_the_updates(made):
    weights, values = made
    expected = balanced(lambda name: agreement(weights[name][2], weights[name][4]))
    assert values["leading_vectors_settled"] == pytest.approx(expected - AGREEMENT, rel=1e-4)
    changes = {name: stack - stack[0] for name, stack in weights.items()}
    expected = balanced(lambda name: agreement(changes[name][2], changes[name][4]))
    assert values["change_leading_vectors_settled"] == pytest.approx(expected - AGREEMENT, rel=1e-4)


def test_small_values_are_held_against_a_path_of_the_same_length_without_direction(made):
    weights, values = made
    generator = torch_generator(7, "path adam 4")
    shapes = {tuple(stack.shape[1:]): [] for stack in weights.values()}
    for name, _, shape in SPECS:
        shapes[shape].append(name)
    small, large, entropies = {}, {}, {}
    for names in shapes.values():
        start = np.stack([weights[name][0].astype(float) for name in names])
        change = np.stack([weights[name][4].astype(float) - weights[name][0] for name in names])
        drawn = shuffled_change_singular_values(start, change, SHUFFLES, generator)
        for place, name in enumerate(names):
            observed = np.linalg.svd(weights[name][4].astype(float), compute_uv=False)
            smallest = round(len(observed) / 10)
            spectra = [observed, *np.asarray(drawn[:, place])]
            for excess, measure in (
                (small, lambda s, smallest=smallest: np.log(s[-smallest:].mean() / np.median(s))),
                (large, lambda s: np.log(s[0] / np.median(s))),
                (entropies, lambda s: entropy(np.diag(s))),
            ):
                excess[name] = measure(spectra[0]) - np.mean([measure(s) for s in spectra[1:]])
    assert values["small_value_excess"] == pytest.approx(balanced(small.get), rel=1e-6)
    assert values["large_value_excess"] == pytest.approx(balanced(large.get), rel=1e-6)
    assert values["spectral_entropy_excess"] == pytest.approx(balanced(entropies.get), rel=1e-6)


def test_a_matrix_whose_smallest_values_are_pushed_out_has_an_excess():
    history, snapshots = training("es", 4, SPECS)
    weights = {name: stack.copy() for name, stack in snapshots.weights.items()}
    for stack in weights.values():
        left, values, right = np.linalg.svd(stack[-1], full_matrices=False)
        values[-2:] = values[-3]
        stack[-1] = left * values @ right
    pushed = dataclasses.replace(snapshots, weights=weights)
    usual, excess = (
        followed(history, each, params(), optimizer="es", seed=1)["small_value_excess"] for each in (snapshots, pushed)
    )
    assert excess > usual + 0.1


@pytest.mark.parametrize(("steps", "kept"), [(1, (0, 1)), (10, (0, 1, 2, 4, 10)), (10, (0, 1, 9, 10))])
def test_where_no_weights_were_kept_near_half_of_the_updates_vectors_have_no_half(steps, kept):
    history, snapshots = training("adam", steps, SPECS)
    thinned = dataclasses.replace(
        snapshots, steps=kept, weights={name: stack[list(kept)] for name, stack in snapshots.weights.items()}
    )
    values = followed(history, thinned, params(), optimizer="adam", seed=7)
    assert np.isnan(values["leading_vectors_settled"])
    assert np.isnan(values["change_leading_vectors_settled"])
    assert np.isfinite(values["spectral_entropy_gain"])


def test_the_smallest_tenth_is_one_value_at_least_and_of_a_matrix_of_zeros_nothing():
    few = np.array([8.0, 4.0, 2.0])
    many = np.arange(40.0, 0.0, -1.0)
    assert small_value_log_ratio(few) == pytest.approx(np.log(2 / 4))
    assert small_value_log_ratio(many) == pytest.approx(np.log(2.5 / 20.5))
    assert np.isnan(small_value_log_ratio(np.zeros(4)))


CLAIM = {
    **FOLLOWED_CLAIM,
    "endpoint": "small_value_excess",
    "margin": 0.02,
    "confirmed_if": ["above", "below"],
    "refuted_if": ["equal"],
}


@pytest.mark.parametrize(
    ("mean", "spread", "outcome"),
    [
        (0.1, 0.05, ClaimOutcome.CONFIRMED),
        (-0.1, 0.05, ClaimOutcome.CONFIRMED),
        (0.0, 0.01, ClaimOutcome.REFUTED),
        (0.0, 0.2, ClaimOutcome.INCONCLUSIVE),
    ],
)
def test_planted_claims_are_answered_by_the_margin_of_their_own(mean, spread, outcome):
    drawn = np.random.default_rng(3).normal(size=12)
    drawn = mean + spread * (drawn - drawn.mean())
    rows = [
        ("losses", "p", "light", "end", np.nan, "adam-mse", seed, "reached", 9.0, "small_value_excess", value)
        for seed, value in enumerate(drawn)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    claim = Claim.model_validate(CLAIM)
    assert answer({"small": claim}, table)[0].outcome is outcome
    without = claim.model_copy(update={"margin": None})
    assert answer({"small": without}, table)[0].outcome is not ClaimOutcome.REFUTED


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"axis": "distance"}, "endpoint = small_value_excess: needs axis: end"),
        ({"endpoint": "mp_spikes"}, "axis = end: needs groups, or an endpoint of spectral_entropy_gain"),
        ({"margin": 0}, "margin = 0: "),
    ],
)
def test_a_claim_of_weights_is_answered_where_training_ends_and_nowhere_else(change, rule):
    with pytest.raises(InputError, match=rule):
        parse_claim({**CLAIM, **change}, "small.yaml")
