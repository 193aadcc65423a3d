"""One training, whatever searches: what is recorded, kept, and when it ends."""

import math

import numpy as np
import pytest
import torch

from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.contract import Searcher, Step, StopCause
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.training.evaluation import Validation
from transformer_spectrum.training.loop import Member, fit
from transformer_spectrum.training.measuring import Start
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.records.history import History

MODEL = Transformer(1, 8, 2, 1, 12, 0.0, 2, torch.Generator().manual_seed(0))
LAYOUT = Layout(MODEL)
WEIGHTS = LAYOUT.flatten(MODEL)


class Scripted(Searcher):
    """Moves all weights by `index` and claims the given losses, and what else is given by step."""

    def __init__(self, losses, extra):
        self.losses, self.extra = losses, extra

    def search(self, batches, weights, generator, state=None):
        for index, loss in enumerate(self.losses):
            extra = self.extra.get(index, {})
            yield Step(index, 10 * index, loss, weights + float(index), {"sigma": 0.5}, **extra)


class Told:
    """A validation that answers by a function of the weights."""

    def __init__(self, answer):
        self.validation = answer


def alone(*parts, interruption=None, **settings):
    (result,) = fit([Member(*parts, **settings)], interruption)
    if isinstance(result, InputError):
        raise result
    return result


def validated(loss, mae=None):
    return Validation(loss, loss if mae is None else mae, residual_mad=0.5, influence_cosine=0.75)


def run(losses, validation, extra=None, recording=None, **changes):
    asked = iter(validation)
    settings = {"generator": torch.Generator(), **changes}
    return alone(
        Scripted(losses, extra or {}),
        None,
        Told(lambda weights: validated(*np.atleast_1d(next(asked)).tolist())),
        Start(WEIGHTS, LAYOUT, MODEL.matrices()),
        Recording(**{"patience": 3, "snapshot_every": 4, **(recording or {})}),
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
    assert (result.stop_cause, result.stop_reason) == (
        "patience",
        "no better validation MAE for 3 epochs or generations",
    )


def test_it_ends_when_the_searcher_is_through():
    result = run([5, 4, 3], [5, 4, 3])
    assert (result.stop_cause, result.stop_reason) == ("finished", "all 2 steps done")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "validation"])
def test_divergence_ends_it_with_a_reason_and_keeps_what_came_before(value, where):
    losses, validation = [5.0, 4, 3, 2], [5.0, 4, 3, 2]
    (losses if where == "loss" else validation)[2] = value
    result = run(losses, validation)
    assert result.stop_cause == "diverged"
    assert result.stop_reason.startswith("diverged at step 2")
    assert result.history.steps.tolist() == [0, 1]
    assert torch.equal(result.last, WEIGHTS + 1)


def test_an_initial_loss_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match=r"initial weights \(training nan, validation nan\)"):
        run([math.nan], [1.0])
    with pytest.raises(ValueError, match=r"initial weights \(training 2\.0, validation inf\)"):
        run([2.0], [math.inf])


def test_snapshots_are_kept_at_0_1_every_so_many_and_the_last_step():
    result = run([1] * 11, [-i for i in range(11)])
    assert sorted(result.snapshots) == [0, 1, 4, 8, 10]
    assert all(torch.equal(weights, WEIGHTS + float(step)) for step, weights in result.snapshots.items())


def test_every_step_records_every_spectrum_budget_and_distance():
    seen = []
    result = run([3, 2, 1], [3, 2, 1], observe=seen.append)
    history = result.history
    assert history.evaluations.tolist() == [0, 10, 20]
    assert history.loss.tolist() == [3, 2, 1]
    assert history.validation_loss.tolist() == [3, 2, 1]
    np.testing.assert_allclose(history.distance, [0, math.sqrt(LAYOUT.size), 2 * math.sqrt(LAYOUT.size)], rtol=1e-6)
    views = LAYOUT.views(WEIGHTS + 2)
    for i, spec in enumerate(MODEL.matrices()):
        expected = np.linalg.svd(spec.of(views).double().numpy(), compute_uv=False)
        np.testing.assert_allclose(history.spectrum(2, i), expected, rtol=1e-5, atol=1e-6)
    assert [row.step for row in seen] == [0, 1, 2]
    assert seen[1].validation.loss == 2
    assert seen[1].distance == pytest.approx(math.sqrt(LAYOUT.size))
    assert seen[1].scalars == {"sigma": 0.5}
    np.testing.assert_array_equal(seen[2].singular_values, history.singular_values[2])
    assert history.rounds.tolist() == [0, 1, 2]
    assert (history.validation_mae.tolist(), history.residual_mad.tolist()) == ([3, 2, 1], [0.5] * 3)


def test_the_spectra_of_the_change_are_those_of_the_difference_from_the_initial_weights():
    history = run([3, 2, 1], [3, 2, 1]).history
    assert (np.nan_to_num(history.change_singular_values[0]) == 0).all()
    for i, spec in enumerate(MODEL.matrices()):
        # every entry has moved by 2: a matrix of rank 1
        rank = min(spec.shape)
        expected = [2 * math.sqrt(math.prod(spec.shape)), *[0] * (rank - 1)]
        np.testing.assert_allclose(history.change_singular_values[2, i, :rank], expected, atol=1e-4)


def test_the_step_from_the_record_before_is_recorded_where_weights_are_kept_and_only_if_asked_for():
    assert run([1] * 3, [3, 2, 1]).history.step_singular_values is None
    history = run([1] * 7, [-i for i in range(7)], recording={"step_spectra": True, "every": 2}).history
    assert history.steps.tolist() == [0, 1, 2, 4, 6]
    recorded = np.isfinite(history.step_singular_values[:, 0, 0])
    assert recorded.tolist() == [True, True, False, True, False]
    size = math.sqrt(math.prod(MODEL.matrices()[0].shape))
    np.testing.assert_allclose(history.step_singular_values[[0, 1, 3], 0, 0], [0, size, 2 * size], rtol=1e-5)


def test_rounds_between_two_records_are_neither_validated_nor_recorded_but_the_last_is():
    result = run([1] * 12, [-i for i in range(12)], recording={"every": 4, "rounds": 11})
    assert result.history.steps.tolist() == [0, 1, 4, 8, 11]
    assert sorted(result.snapshots) == [0, 1, 4, 8, 11]


def test_a_loss_that_is_not_finite_ends_it_between_two_records_too():
    result = run([1, 1, 1, math.nan, 1], [3, 2, 1, 1], recording={"every": 5})
    assert result.stop_reason.startswith("diverged at step 3")
    assert result.history.steps.tolist() == [0, 1]


def test_steps_inside_the_first_epoch_are_recorded_and_kept_and_count_no_round():
    inside = {"ends_round": False}
    result = run([1] * 6, [-i for i in range(6)], extra={1: inside, 2: inside}, recording={"every": 2})
    assert result.history.steps.tolist() == [0, 1, 2, 3, 4]
    assert result.history.rounds.tolist() == [0, 0, 0, 1, 2]
    assert sorted(result.snapshots) == [0, 1, 2, 3, 4]


def test_the_best_step_is_that_of_the_lowest_mae_unless_the_loss_is_to_select():
    validation = [(5, 5), (4, 1), (1, 4), (2, 2)]  # loss, MAE
    assert run([1] * 4, validation).history.best_step == 1
    by_loss = run([1] * 4, validation, recording={"select": "loss", "patience": 1})
    assert by_loss.history.best_step == 2
    assert by_loss.stop_reason == "no better validation loss for 1 epochs or generations"


def test_without_patience_it_trains_to_the_end():
    assert run([5] * 20, [1, *[9] * 19], recording={"patience": None}).history.steps[-1] == 19


def test_distances_relate_each_matrix_to_its_initial_norm():
    history = run([3, 2, 1], [3, 2, 1]).history
    assert history.distances.shape == (3, len(MODEL.matrices()))
    assert (history.distances[0] == 0).all()
    for i, spec in enumerate(MODEL.matrices()):
        initial = np.linalg.norm(spec.of(LAYOUT.views(WEIGHTS)).double().numpy())
        # Every one of rows * columns weights has moved by 2.
        assert history.distances[2, i] == pytest.approx(2 * math.sqrt(math.prod(spec.shape)) / initial, rel=1e-6)


def test_a_matrix_that_starts_as_zero_has_no_relative_distance():
    spec = MODEL.matrices()[0]
    start = WEIGHTS.clone()
    spec.of(LAYOUT.views(start)).zero_()
    distances = alone(
        Scripted([3, 2], {}),
        None,
        Told(lambda weights: validated(1.0)),
        Start(start, LAYOUT, MODEL.matrices()),
        Recording(),
        torch.Generator(),
    ).history.distances
    assert np.isnan(distances[:, 0]).all()
    assert np.isfinite(distances[:, 1:]).all()


@pytest.mark.parametrize(("evaluations", "last"), [(1, 1), (10, 1), (11, 2), (20, 2)])
def test_a_budget_of_evaluations_ends_it_after_the_first_step_that_reaches_it(evaluations, last):
    result = run([5] * 9, range(9, 0, -1), budget=Budget(evaluations=evaluations))
    assert result.history.steps.tolist() == list(range(last + 1))
    assert result.stop_cause == "evaluations"
    assert result.stop_reason == f"budget.evaluations = {evaluations} spent"


def test_a_budget_of_seconds_ends_it_after_the_first_step_that_reaches_it(monkeypatch):
    clock = iter(np.arange(100, 200, 0.5))  # the set-up ends at 100; it is looked at twice a step
    monkeypatch.setattr("transformer_spectrum.training.loop.time.monotonic", lambda: float(next(clock)))
    result = run([5] * 9, range(9, 0, -1), budget=Budget(seconds=2.5))
    assert result.history.seconds.tolist() == [1, 2, 3]
    assert result.stop_cause == "seconds"
    assert result.stop_reason == "budget.seconds = 2.5 spent"


def test_a_searcher_may_end_it_with_a_reason_of_its_own():
    result = run(
        [5] * 9,
        range(9, 0, -1),
        extra={2: {"stop_reason": "sigma fell below 1e-9", "stop_cause": StopCause("stagnated")}},
    )
    assert result.history.steps.tolist() == [0, 1, 2]
    assert result.stop_cause == "stagnated"
    assert result.stop_reason == "sigma fell below 1e-9"


def test_the_best_candidate_of_the_run_is_kept_and_is_not_the_best_weights():
    population = torch.stack([WEIGHTS + 7, WEIGHTS + 8])
    losses = {1: 2.0, 2: 0.5, 3: math.nan, 4: 0.5}
    extra = {i: {"candidate": population[i % 2], "candidate_loss": loss} for i, loss in losses.items()}
    result = run([5] * 6, range(9, 0, -1), extra=extra)
    assert (result.candidate.step, result.candidate.loss) == (2, 0.5)
    population.zero_()  # the searcher may use its memory again
    assert torch.equal(result.candidate.weights, WEIGHTS + 7)
    assert torch.equal(result.best, WEIGHTS + 5)


def test_without_candidates_there_is_no_best_one():
    assert run([5, 4], [5, 4]).candidate is None


def curve(path, steps):
    path.write_text("step\tseconds\n" + "".join(f"{step}\t{0.1 + 0.2 * step!r}\n" for step in steps))
    return path


def test_a_history_is_read_back_as_it_was_written(tmp_path):
    history = run([3, 2, 1], [3, 2, 4]).history
    history.save(tmp_path / "history.npz")
    again = History.load(tmp_path / "history.npz")
    assert again.best_step == 1
    assert again.names.tolist() == [spec.name for spec in MODEL.matrices()]
    np.testing.assert_array_equal(again.singular_values, history.singular_values)
    np.testing.assert_array_equal(again.distances, history.distances)
    assert again.seconds is None


def test_seconds_are_read_from_the_curve_that_dvclive_keeps(tmp_path):
    run([3, 2, 1], [3, 2, 4]).history.save(tmp_path / "history.npz")
    again = History.load(tmp_path / "history.npz", seconds=curve(tmp_path / "seconds.tsv", [0, 1, 2]))
    assert again.seconds.tolist() == [0.1, 0.1 + 0.2 * 1, 0.1 + 0.2 * 2]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: curve(path, [0, 1]), "other steps"),
        (lambda path: curve(path, [0, 1, 3]), "other steps"),
        (lambda path: path.write_text("step\tseconds\n0\tsoon\n"), "not a table"),
        (lambda path: None, "no such file"),
    ],
)
def test_seconds_of_another_training_are_refused(tmp_path, spoil, words):
    run([3, 2, 1], [3, 2, 4]).history.save(tmp_path / "history.npz")
    spoil(tmp_path / "seconds.tsv")
    with pytest.raises(InputError, match=words):
        History.load(tmp_path / "history.npz", seconds=tmp_path / "seconds.tsv")


def test_the_wall_clock_leaves_no_trace_in_the_file(tmp_path):
    for name in ("one", "two"):
        run([3, 2, 1], [3, 2, 4]).history.save(tmp_path / f"{name}.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("best", [[0, 1], [7], []])
def test_a_history_whose_best_step_is_none_of_its_steps_is_refused(best, tmp_path):
    run([3, 2], [3, 2]).history.save(tmp_path / "history.npz")
    arrays = dict(np.load(tmp_path / "history.npz")) | {"best_step": np.array(best, np.int64)}
    np.savez(tmp_path / "history.npz", **arrays)
    with pytest.raises(InputError, match="must be one of the recorded steps"):
        History.load(tmp_path / "history.npz")
