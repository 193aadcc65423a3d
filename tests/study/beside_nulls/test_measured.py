"""A made-up training beside its nulls, each number computed a second time from its weights."""

import numpy as np
import pytest
import torch
from made_up import ROOT, layout, training

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra.nulls import shuffled_change_singular_values, shuffled_singular_values
from transformer_spectrum.spectra.power_law import clauset_fit
from transformer_spectrum.spectra.submatrices import farms_alpha
from transformer_spectrum.study.beside_nulls.measured import beside_nulls
from transformer_spectrum.study.beside_nulls.quantities import columns, null_name, spread_name
from transformer_spectrum.study.endpoint_paths import endpoint_path

SPECS = layout(20)
GROUPS = (lambda family: family == "feed_forward", lambda family: family.endswith("attention"))
SHUFFLES, SIDE, SEED = 5, 8, 7


@pytest.fixture(scope="module")
def spectra():
    few = {"shuffles": SHUFFLES, "overlap_rank": 2, "farms_size": SIDE, "tracked_every": 1}
    return load_params(ROOT / "params.yaml").spectra.model_copy(update=few)


@pytest.fixture(scope="module")
def made(spectra):
    history, snapshots = training("adam", 4, SPECS)
    return history, snapshots, beside_nulls(history, snapshots, spectra, optimizer="adam", seed=SEED)


def balanced(values):
    """Mean over the matrices of each group, then of both."""
    return np.mean([np.nanmean([values[name] for name, family, _ in SPECS if inside(family)]) for inside in GROUPS])


def drawn(snapshots, of_shape):
    """Matrix -> (draws, r) singular values; shape by shape, as the generator is used."""
    shapes = {}
    for name, _, shape in SPECS:
        shapes.setdefault(shape, []).append(name)
    draws = {}
    for names in shapes.values():
        start = np.stack([snapshots.weights[name][0].astype(float) for name in names])
        change = np.stack([snapshots.weights[name][4].astype(float) for name in names]) - start
        values = np.asarray(of_shape(start, change))
        draws |= {name: values[:, place] for place, name in enumerate(names)}
    return draws


def log_stable_rank(values):
    return np.log((values**2).sum() / values.max() ** 2)


def test_every_record_but_the_first_has_every_quantity_with_its_null(made):
    _, _, values = made
    assert list(values) == columns()
    for name, column in values.items():
        assert np.isnan(column[0]), name
        assert np.isfinite(column[1:]).all(), name


@pytest.mark.parametrize(
    ("quantity", "stream", "change"),
    [("log_stable_rank", "path adam 4", False), ("change_log_stable_rank", "change shuffles adam 4", True)],
)
def test_ranks_have_mean_and_spread_of_the_draws_means(made, quantity, stream, change):
    _, snapshots, values = made
    generator = torch_generator(SEED, stream)
    draws = drawn(
        snapshots,
        lambda start, moved: (
            shuffled_singular_values(moved, SHUFFLES, generator)
            if change
            else shuffled_change_singular_values(start, moved, SHUFFLES, generator)
        ),
    )
    means = [balanced({name: log_stable_rank(of[draw]) for name, of in draws.items()}) for draw in range(SHUFFLES)]
    own = {
        name: log_stable_rank(np.linalg.svd(stack[4].astype(float) - change * stack[0], compute_uv=False))
        for name, stack in snapshots.weights.items()
    }
    assert values[quantity][-1] == pytest.approx(balanced(own), rel=1e-6)
    assert values[null_name(quantity)][-1] == pytest.approx(np.mean(means), rel=1e-9)
    assert values[spread_name(quantity)][-1] == pytest.approx(np.std(means, ddof=1), rel=1e-6)


def test_the_distance_from_the_null_of_w_is_the_primary_endpoint(made, spectra):
    history, snapshots, values = made
    path = endpoint_path(
        history, snapshots, spectra, optimizer="adam", heads=2, name="a", method="gradient", dataset="light", seed=SEED
    )
    difference = values["log_stable_rank"] - values[null_name("log_stable_rank")]
    np.testing.assert_allclose(difference[1:], path.metrics["path_log_stable_rank"][1:], rtol=1e-9, atol=1e-12)


def test_the_exponent_of_least_distance_has_that_distance_beside_it(made, spectra):
    _, snapshots, values = made
    fits = {
        name: clauset_fit(np.linalg.svd(stack[4].astype(float), compute_uv=False) ** 2, min_tail=spectra.min_tail)
        for name, stack in snapshots.weights.items()
        if min(stack.shape[1:]) > spectra.min_tail
    }
    empty = dict.fromkeys((name for name, _, _ in SPECS), np.nan)
    assert values["ks_alpha"][-1] == pytest.approx(
        balanced(empty | {name: float(fit.alpha) for name, fit in fits.items()}), rel=1e-6
    )
    assert values["ks_distance"][-1] == pytest.approx(
        balanced(empty | {name: float(fit.distance) for name, fit in fits.items()}), rel=1e-6
    )


def test_farms_has_the_exponents_of_matrices_whose_change_is_shuffled(made):
    _, snapshots, values = made
    own = {
        name: float(farms_alpha(stack[4:5].astype(float), side=SIDE).alpha[0])
        for name, stack in snapshots.weights.items()
    }
    assert values["farms_alpha"][-1] == pytest.approx(balanced(own), rel=1e-6)
    generator, means = torch_generator(SEED, "farms adam 4"), []
    for _ in range(SHUFFLES):
        of_draw = {}
        for name, _, _ in SPECS:
            start, end = snapshots.weights[name][0].astype(float), snapshots.weights[name][4].astype(float)
            entries = (end - start).ravel()[torch.randperm(start.size, generator=generator).numpy()]
            matrix = start + entries.reshape(start.shape)
            of_draw[name] = float(farms_alpha(matrix[None], side=SIDE).alpha[0])
        means.append(balanced(of_draw))
    assert values[null_name("farms_alpha")][-1] == pytest.approx(np.mean(means), rel=1e-9)
    assert values[spread_name("farms_alpha")][-1] == pytest.approx(np.std(means, ddof=1), rel=1e-6)
