"""One training, whatever searches: what is recorded, kept, and when it ends."""

import math

import numpy as np
import pytest
import torch

from transformer_spectrum.fit import fit
from transformer_spectrum.history import History
from transformer_spectrum.models.base import Layout
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.search.base import Step

MODEL = Transformer(1, 8, 2, 1, 12, 0.0, 2, torch.Generator().manual_seed(0))
LAYOUT = Layout(MODEL)
WEIGHTS = LAYOUT.flatten(MODEL)


class Scripted:
    """Moves all weights by `index` and claims the given losses."""

    def __init__(self, losses):
        self.losses = losses

    def steps(self, objective, weights, generator):
        for index, loss in enumerate(self.losses):
            yield Step(index, 10 * index, loss, weights + float(index), {"sigma": 0.5})


def run(losses, validation, **changes):
    asked = iter(validation)
    settings = {"patience": 3, "snapshot_every": 4, "generator": torch.Generator(), **changes}
    return fit(
        Scripted(losses),
        None,
        WEIGHTS,
        layout=LAYOUT,
        matrices=MODEL.matrices(),
        validate=lambda weights: next(asked),
        **settings,
    )


def test_the_best_weights_are_those_of_the_lowest_validation_loss():
    result = run([5, 4, 3, 2, 1], [5, 3, 1, 2, 4])
    assert result.history.best_step == 2
    assert torch.equal(result.best, WEIGHTS + 2)
    assert torch.equal(result.last, WEIGHTS + 4)


def test_it_ends_after_patience_steps_without_a_better_validation_loss():
    result = run([5] * 20, [5, 3, 4, 4, 3] + [9] * 20)
    assert result.history.steps.tolist() == [0, 1, 2, 3, 4]
    assert result.stop_reason == "no better validation loss for 3 steps"


def test_it_ends_when_the_searcher_is_through():
    assert run([5, 4, 3], [5, 4, 3]).stop_reason == "all 2 steps done"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "validation"])
def test_divergence_ends_it_with_a_reason_and_keeps_what_came_before(value, where):
    losses, validation = [5.0, 4, 3, 2], [5.0, 4, 3, 2]
    (losses if where == "loss" else validation)[2] = value
    result = run(losses, validation)
    assert result.stop_reason.startswith("diverged at step 2")
    assert result.history.steps.tolist() == [0, 1]
    assert torch.equal(result.last, WEIGHTS + 1)


def test_an_initial_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="initial weights"):
        run([math.nan], [1.0])


def test_snapshots_are_kept_at_0_1_every_so_many_and_the_last_step():
    result = run([1] * 11, [-i for i in range(11)])
    assert sorted(result.snapshots) == [0, 1, 4, 8, 10]
    assert all(torch.equal(weights, WEIGHTS + float(step)) for step, weights in result.snapshots.items())


def test_every_step_records_every_spectrum_budget_and_distance():
    seen = []
    result = run([3, 2, 1], [3, 2, 1], observe=lambda step, scalars, spectra: seen.append((step, scalars, spectra)))
    history = result.history
    assert history.evaluations.tolist() == [0, 10, 20]
    assert history.loss.tolist() == [3, 2, 1]
    assert history.validation_loss.tolist() == [3, 2, 1]
    np.testing.assert_allclose(history.distance, [0, math.sqrt(LAYOUT.size), 2 * math.sqrt(LAYOUT.size)], rtol=1e-6)
    views = LAYOUT.views(WEIGHTS + 2)
    for i, spec in enumerate(MODEL.matrices()):
        expected = np.linalg.svd(spec.of(views).double().numpy(), compute_uv=False)
        np.testing.assert_allclose(history.spectrum(2, i), expected, rtol=1e-5, atol=1e-6)
    assert [step.index for step, _, _ in seen] == [0, 1, 2]
    assert seen[1][1] == {"validation_loss": 2, "distance": pytest.approx(math.sqrt(LAYOUT.size)), "sigma": 0.5}
    np.testing.assert_array_equal(seen[2][2], history.singular_values[2])


def test_a_history_is_read_back_as_it_was_written(tmp_path):
    history = run([3, 2, 1], [3, 2, 4]).history
    history.save(tmp_path / "history.npz")
    again = History.load(tmp_path / "history.npz")
    assert again.best_step == 1
    assert again.names.tolist() == [spec.name for spec in MODEL.matrices()]
    np.testing.assert_array_equal(again.singular_values, history.singular_values)
