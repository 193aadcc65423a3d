"""Everything that tables and pages say of the made-up trainings, computed once more: by plain numpy where that can be.

Singular values come from numpy's decomposition of the snapshots' entries, nulls from permutations and signs drawn here
from the same streams, means and spreads from plain formulas. Nothing here asks `Summary`, `Evidence` or a table.
"""

import numpy as np
import torch

from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra import metrics, power_law, random_matrix

SEED, SHUFFLES, BOOTSTRAP, MIN_TAIL, OVERLAP_RANK = 0, 4, 5, 8, 3
TRACKED = {"adam": [0, 1, 5, 10, 11, 12], "es": [0, 1, 5, 16, 17], "ga": [0, 1, 5, 10, 15, 17]}
BEST = {"adam": 11, "es": 16, "ga": 15}
NULLS = {"": ("path", "shuffled", "initial"), "change_": ("change_shuffled", "change_signs")}
"""Prefix of a metric -> its nulls, the main one first."""
COLUMNS = {  # of the values of `every_metric`, as METRICS has them
    "alpha_exponent": ("alpha_exponent", "alpha_exponent_se", "alpha_exponent_r_squared"),
    "ks": ("ks_alpha", "ks_alpha_se", "ks_xmin", "ks_distance", "ks_tail"),
    "bulk": ("mp_variance", "mp_upper_edge", "tw_edge", "mp_spikes", "mp_soft_rank", "mp_distance"),
}
PLAIN = ("spectral_entropy", "effective_rank", "participation_ratio", "stable_rank", "spectral_norm", "frobenius_norm")
"""Metrics that are plain formulas of any spectrum, also of one of low rank."""


def plain_metrics(spectrum):
    """PLAIN, and the normalised entropy, of one spectrum (r,) that is not zero."""
    s = np.asarray(spectrum, dtype=np.float64)
    energies, shares = s**2 / (s**2).sum(), s / s.sum()
    entropy = -(energies[energies > 0] * np.log(energies[energies > 0])).sum()
    return {
        "spectral_entropy": entropy,
        "spectral_entropy_normalised": entropy / np.log(len(s)),
        "effective_rank": np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()),
        "participation_ratio": 1 / (energies**2).sum(),
        "stable_rank": (s**2).sum() / s.max() ** 2,
        "spectral_norm": s.max(),
        "frobenius_norm": np.sqrt((s**2).sum()),
    }


def every_metric(spectrum, shape):
    """Each metric of one spectrum (r,) of full rank: by plain formulas where there are some, else by its estimator."""
    s = np.asarray(spectrum, dtype=np.float64)
    hill_count = power_law.hill_count(len(s), 0.25)
    decay = metrics.alpha_exponent(s, (0.0, 0.5))
    fit = power_law.clauset_fit(s**2, MIN_TAIL, "two_sided")
    bulk = random_matrix.fit_bulk(s, shape, level=0.99)
    spikes = np.nan if bulk.bounded else bulk.spikes
    alpha = float(fit.alpha)
    of_bulk = (bulk.variance, bulk.upper_edge, bulk.tracy_widom_edge, spikes, bulk.soft_rank, bulk.distance)
    return {
        **plain_metrics(s),
        "condition_number": s.max() / s.min(),
        "numerical_rank": len(s),
        **dict(zip(COLUMNS["alpha_exponent"], (decay.alpha, decay.standard_error, decay.r_squared), strict=True)),
        "hill_alpha": 1 + hill_count / np.log(s[:hill_count] ** 2 / s[hill_count] ** 2).sum(),
        **dict(zip(COLUMNS["ks"], (alpha, fit.standard_error, fit.xmin, fit.distance, fit.tail), strict=True)),
        "alpha_hat": alpha * np.log10(s.max() ** 2),
        "log_alpha_norm": np.log10(((s**2) ** alpha).sum()),
        **dict(zip(COLUMNS["bulk"], of_bulk, strict=True)),
    }


class Recomputed:
    """Everything about the trainings of `few_histories` that the tables may say; every step of them is recorded."""

    def __init__(self, histories, snapshots):
        self.histories, self.snapshots = histories, snapshots
        self.first = next(iter(histories))
        self.names = histories[self.first].names.tolist()
        self.shapes = {m: tuple(shape) for m, shape in enumerate(histories[self.first].shapes.tolist())}
        families = histories[self.first].families
        self.families = {name: np.flatnonzero(families == name).tolist() for name in dict.fromkeys(families.tolist())}
        self.of_history = {
            name: [[every_metric(history.spectrum(p, m), self.shapes[m]) for m in self.shapes] for p in range(steps)]
            for name, history in histories.items()
            for steps in [len(history.steps)]
        }
        self._spectra, self._metrics, self._changes = {}, {}, {}

    def matrix(self, optimizer, step, m):
        """Its entries, (rows, columns) float64."""
        snapshots = self.snapshots[optimizer]
        return snapshots.weights[self.names[m]][snapshots.steps.index(step)].astype(np.float64)

    def change(self, optimizer, step, m):
        """W_t - W_0, (rows, columns) float64."""
        return self.matrix(optimizer, step, m) - self.matrix(optimizer, 0, m)

    def of_change(self, optimizer, step, m):
        """Metrics of a change behind step 0: all where it has full rank, the plain ones of Adam's."""
        key = optimizer, step, m
        if key not in self._changes:
            values = np.linalg.svd(self.change(*key), compute_uv=False)
            plain = optimizer == "adam"  # of rank 3 and a little rounding
            self._changes[key] = plain_metrics(values) if plain else every_metric(values, self.shapes[m])
        return self._changes[key]

    def value(self, optimizer, step, m, metric):
        """One metric of one matrix, or under "change_" of its change."""
        if metric.startswith("change_"):
            return self.of_change(optimizer, step, m)[metric.removeprefix("change_")]
        return self.of_history[optimizer][step][m][metric]

    def mean(self, optimizer, position, family, metric):
        """Over the family's matrices."""
        return np.mean([self.value(optimizer, position, m, metric) for m in self.families[family]])

    def observed(self, optimizer, step, family, metric):
        """`mean` from the weights of a tracked step in float64, as the null's draws are, not from the history."""
        if metric.startswith("change_"):
            return self.mean(optimizer, step, family, metric)
        members = self.families[family]
        spectra = [np.linalg.svd(self.matrix(optimizer, step, m), compute_uv=False) for m in members]
        if metric in PLAIN:
            return np.mean([plain_metrics(values)[metric] for values in spectra])
        return np.mean(
            [every_metric(values, self.shapes[m])[metric] for m, values in zip(members, spectra, strict=True)]
        )

    def distance(self, optimizer, position, family):
        """|W_t - W_0| / |W_0| of all entries of the family together."""
        moved, start = (
            np.concatenate([of(optimizer, step, m).ravel() for m in self.families[family]])
            for of, step in ((self.change, position), (self.matrix, 0))
        )
        return np.linalg.norm(moved) / np.linalg.norm(start)

    def null_spectra(self, optimizer, step, null):
        """(draw, matrix) -> singular values of one draw of a null, from the stream that is its own."""
        if null == "initial" or (null == "shuffled" and not step):
            optimizer, step, null, stream = self.first, 0, "initial", "shuffles initial"
        else:
            words = {"path": "path", "shuffled": "shuffles"}.get(null, null.replace("_shuffled", " shuffles"))
            stream = f"{words.replace('_', ' ')} {optimizer} {step}"
        key = optimizer, step, null
        if key not in self._spectra:
            generator, drawn = torch_generator(SEED, stream), {}
            for shape in dict.fromkeys(self.shapes.values()):
                members = [m for m in self.shapes if self.shapes[m] == shape]
                for draw in range(SHUFFLES):
                    for m in members:
                        matrix = self._drawn(optimizer, step, m, null, generator)
                        drawn[draw, m] = np.linalg.svd(matrix, compute_uv=False)
            self._spectra[key] = drawn
        return self._spectra[key]

    def _drawn(self, optimizer, step, m, null, generator):
        of = self.matrix if null in ("shuffled", "initial") else self.change
        entries = of(optimizer, step, m)
        if null == "change_signs":
            return entries * (torch.randint(0, 2, entries.shape, generator=generator).numpy() * 2 - 1)
        order = torch.randperm(entries.size, generator=generator).numpy()
        shuffled = entries.ravel()[order].reshape(entries.shape)
        return self.matrix(optimizer, 0, m) + shuffled if null == "path" else shuffled

    def draws(self, optimizer, step, m, metric, null=None):
        """(D,) a metric in the draws of a null, its main one where none is named."""
        prefix = "change_" if metric.startswith("change_") else ""
        null, metric = null or NULLS[prefix][0], metric.removeprefix(prefix)
        spectra = self.null_spectra(optimizer, step, null)
        if metric in PLAIN:
            return np.array([plain_metrics(spectra[draw, m])[metric] for draw in range(SHUFFLES)])
        key = optimizer, step, null, m
        if key not in self._metrics:
            self._metrics[key] = [every_metric(spectra[draw, m], self.shapes[m]) for draw in range(SHUFFLES)]
        return np.array([values[metric] for values in self._metrics[key]])

    def null(self, optimizer, step, members, metric, null=None):
        """Mean and standard deviation over draws of the mean over matrices."""
        means = np.mean([self.draws(optimizer, step, m, metric, null) for m in members], axis=0)
        return np.mean(means), np.std(means, ddof=1)

    def effect(self, optimizer, step, family, metric):
        """Difference of the family's mean from its main null, and the same in standard deviations of the draws."""
        middle, sd = self.null(optimizer, step, self.families[family], metric)
        difference = self.observed(optimizer, step, family, metric) - middle
        return difference, difference / sd if sd > 1e-9 * abs(middle) else np.nan

    def pooled(self, optimizer, position, family):
        """Eigenvalues of all the family's matrices over the mean of the initial ones."""
        spectra = {
            p: np.concatenate([self.histories[optimizer].spectrum(p, m).astype(float) for m in self.families[family]])
            for p in (0, position)
        }
        return spectra[position] ** 2 / np.mean(spectra[0] ** 2)

    def edges(self, family):
        """Bins of the densities: one for six eigenvalues, 8 to 30, from the 2 % quantile of all that are shown."""
        shown = [self.pooled(name, p, family) for name, positions in TRACKED.items() for p in positions]
        bins = min(30, max(8, len(shown[0]) // 6))
        every = np.concatenate(shown)
        return np.exp(np.linspace(np.log(np.quantile(every, 0.02)), np.log(every.max()), bins + 1))
