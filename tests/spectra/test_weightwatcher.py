"""WeightWatcher 0.7.7 on the same matrices: equal where the conventions agree, and where they do not, how.

With s the singular values of W (N x M, N >= M), l = s^2 its eigenvalues ("ESD", not divided by N in either), n_tail
the eigenvalues >= xmin:

- norm, log_norm: ||W||_F^2 = sum l and its log10; `frobenius_norm` is ||W||_F.
- spectral_norm, log_spectral_norm: ||W||_2^2 = max l and its log10; `spectral_norm` is ||W||_2.
- stable_rank: sum l / max l; the same.
- entropy: -sum (p + 1e-10) ln(p + 1e-10) / ln(R + 1e-10), p = l / sum l, R its matrix_rank; `spectral_entropy` with
  normalised=True has no 1e-10, and divides by ln M whatever the rank.
- matrix_rank, rank_loss: threshold N eps s_max with the eps of float64, into which it turns float32 weights;
  `numerical_rank` takes the eps of float32 by default.
- weak_rank_loss: count of l < 1e-6, and the fit takes l > 1e-5 alone: absolute thresholds, so that its results
  change when W is rescaled. Nothing here does, but for the norms and for alpha-hat and log alpha-norm, which must.
- alpha, xmin, D, num_pl_spikes, sigma: those of `clauset_fit` with min_tail=2, distance="powerlaw" (the left limits
  (i - 1) / n alone), sigma its standard_error, where no values are equal and M >= 20. It has no two-sided D and no
  smallest tail.
- Equal values: each gets a rank of its own and is an xmin of its own; here they share one jump, and one is tried.
- M < 20: alpha = 1 + (n_tail - 1) / sum ln(x / xmin), xmin of least D with n_tail >= 8, and no mark in its table that
  this is another estimator; here one formula for every M.
- alpha_weighted, log_alpha_norm: alpha log10(max l), log10(sum l^alpha) over all l; the same, given one alpha. The
  second overflows there beyond l^alpha = 1e308.
- participation_ratio: there ||v||_2 / ||v||_4 of an eigenvector; here (sum l)^2 / sum l^2 of the spectrum.
- Convolutions: there the spectra of the kernel's positions are pooled and scaled; here see `weights`.
- Over-trained (alpha < 2) and under-trained (alpha > 6): fixed thresholds without a null. Of untrained Gaussian
  64 x 64 matrices 79 % lie between the two.
"""

import contextlib
import io
import logging
import math

import numpy as np
import pytest
import torch

from transformer_spectrum.spectra import metrics, power_law

SHAPES = [(64, 64), (96, 40), (30, 120), (200, 50)]


class Layers(torch.nn.Module):
    def __init__(self, matrices):
        super().__init__()
        for number, matrix in enumerate(matrices):
            layer = torch.nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
            layer.weight = torch.nn.Parameter(torch.from_numpy(matrix))
            self.add_module(f"layer{number}", layer)


def matrices():
    """Gaussian and heavy-tailed, float32, of the size of trained weights."""
    generator = np.random.default_rng(0)
    for rows, columns in SHAPES:
        yield (generator.standard_normal((rows, columns)) / math.sqrt(columns)).astype(np.float32)
        yield (generator.standard_t(2.5, (rows, columns)) / math.sqrt(columns)).astype(np.float32)


pytestmark = pytest.mark.filterwarnings("ignore:::weightwatcher")


@pytest.fixture(scope="module")
def weightwatcher():
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import weightwatcher
        import weightwatcher.WW_powerlaw

        yield weightwatcher
    logging.disable(level)


@pytest.fixture(scope="module")
def both(weightwatcher):
    """WeightWatcher's table, one row a matrix, and the singular values of the same matrices."""
    model = Layers(list(matrices()))
    table = weightwatcher.WeightWatcher(model=model).analyze()
    values = [np.linalg.svd(matrix.astype(np.float64), compute_uv=False) for matrix in matrices()]
    assert len(table) == len(values)
    return table.to_dict("records"), values


def test_norms_ranks_and_entropy_are_the_same_or_their_squares(both):
    for row, s in zip(*both, strict=True):
        assert row["norm"] == pytest.approx(metrics.frobenius_norm(s) ** 2, rel=1e-9)
        assert row["log_norm"] == pytest.approx(2 * math.log10(metrics.frobenius_norm(s)), abs=1e-9)
        assert row["spectral_norm"] == pytest.approx(metrics.spectral_norm(s) ** 2, rel=1e-9)
        assert row["stable_rank"] == pytest.approx(metrics.stable_rank(s), rel=1e-9)
        assert row["entropy"] == pytest.approx(metrics.spectral_entropy(s, normalised=True), abs=1e-6)
        assert row["matrix_rank"] == metrics.numerical_rank(s, (row["N"], row["M"]), eps=np.finfo(np.float64).eps)


def test_the_fit_is_the_same(both):
    for row, s in zip(*both, strict=True):
        fit = power_law.clauset_fit(s**2, 2, "powerlaw")
        assert row["alpha"] == pytest.approx(fit.alpha, rel=1e-9)
        assert row["xmin"] == pytest.approx(fit.xmin, rel=1e-9)
        assert row["D"] == pytest.approx(fit.distance, rel=1e-9)
        assert row["num_pl_spikes"] == fit.tail
        assert row["sigma"] == pytest.approx(fit.standard_error, rel=1e-9)


def test_alpha_hat_and_log_alpha_norm_are_the_same(both):
    for row, s in zip(*both, strict=True):
        alpha = power_law.clauset_fit(s**2, 2, "powerlaw").alpha
        assert row["alpha_weighted"] == pytest.approx(power_law.alpha_hat(alpha, s**2), rel=1e-9, abs=1e-9)
        assert row["log_alpha_norm"] == pytest.approx(power_law.log_alpha_norm(alpha, s**2), rel=1e-9, abs=1e-9)


def test_its_rank_counts_the_rounding_of_float32_weights(weightwatcher):
    generator = np.random.default_rng(1)
    matrix = (generator.standard_normal((50, 20)) @ generator.standard_normal((20, 40))).astype(np.float32)
    s = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    assert weightwatcher.RMT_Util.matrix_rank(s, 50) == 40
    assert metrics.numerical_rank(s, (50, 40)) == 20


def test_its_own_thresholds_make_its_alpha_depend_on_the_unit(weightwatcher):
    matrix = next(matrices())
    tables = [
        weightwatcher.WeightWatcher(model=Layers([unit * matrix])).analyze() for unit in (1.0, np.float32(2.2e-3))
    ]
    one, small = (table["alpha"].item() for table in tables)
    assert abs(small - one) > 0.1
    s = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    first, second = (power_law.clauset_fit((unit * s) ** 2, 2, "powerlaw").alpha for unit in (1.0, 2.2e-3))
    assert second == pytest.approx(first, rel=1e-9)


def test_most_untrained_matrices_pass_for_well_trained_by_its_thresholds(weightwatcher):
    generator = np.random.default_rng(0)
    alphas = [
        weightwatcher.WW_powerlaw.WWFit(np.linalg.svd(generator.standard_normal((64, 64)), compute_uv=False) ** 2).alpha
        for _ in range(100)
    ]
    assert np.mean((np.array(alphas) > 2) & (np.array(alphas) < 6)) == pytest.approx(0.79, abs=0.12)


def test_below_twenty_eigenvalues_it_is_another_estimator(weightwatcher):
    x = (1 - np.random.default_rng(2).random(15)) ** (-1 / 1.5)
    theirs = weightwatcher.WW_powerlaw.WWFit(x)
    tail = x[x >= theirs.xmin]
    total = np.log(tail / theirs.xmin).sum()
    assert theirs.alpha == pytest.approx(1 + (len(tail) - 1) / total, rel=1e-9)
    assert len(tail) >= 8
    assert power_law.clauset_fit(tail, len(tail)).alpha == pytest.approx(1 + len(tail) / total, rel=1e-9)


def test_equal_values_get_ranks_of_their_own_there(weightwatcher):
    x = np.repeat((1 - np.random.default_rng(3).random(20)) ** (-1 / 1.5), 2)
    theirs, ours = weightwatcher.WW_powerlaw.WWFit(x), power_law.clauset_fit(x, 2, "powerlaw")
    assert pytest.approx(ours.distance, rel=1e-3) != theirs.D


@pytest.mark.parametrize("n", [20, 64, 256])
def test_the_fit_is_the_same_on_many_spectra(weightwatcher, n):
    generator = np.random.default_rng(n)
    for number in range(10):
        x = (1 - generator.random(n)) ** (-1 / 1.5) if number % 2 else generator.lognormal(size=n)
        theirs, ours = weightwatcher.WW_powerlaw.WWFit(x), power_law.clauset_fit(x, 2, "powerlaw")
        assert (theirs.alpha, theirs.xmin, theirs.D) == pytest.approx(tuple(map(float, ours[:3])), rel=1e-9)
