"""A real training by Adam and one by a population: what is recorded inside the first epoch, and resumed from there."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.wheel_files import packaged
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.training import artifacts, build
from transformer_spectrum.training import resume as module
from transformer_spectrum.training.loop import fit
from transformer_spectrum.training.measuring import Start, measured
from transformer_spectrum.training.recording import Budget
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.setup import Setup
from transformer_spectrum.training.train import positions_watched
from transformer_spectrum.weights.matrices.families import Family, of_forecaster
from transformer_spectrum.weights.matrices.matrix import Matrix

EPOCHS, BATCHES = 5, 10
RECORDED = [0, 1, 2, 4, 8, 10, 20, 40, 50]
"""Updates: a power of two inside the first epoch, the first epoch, every second one, and the last."""


class Killed(BaseException):
    """Stands for SIGKILL."""


def trained(folder=None, *, optimizer="adam", killed_at=None, **training):
    """A training of 10 windows, one a batch, with a Cauchy loss whose scale follows the residuals."""
    params = load_params(packaged("params.yaml"))
    sections = {
        "model": {"embed_dim": 8, "heads": 2, "layers": 1, "feedforward_dim": 8, "dropout": 0.1},
        "loss": {"type": "cauchy", "scale": "residual"},
        "training": {"batch_size": 1, "record_every": 2, "snapshot_every": 2, "step_spectra": True, **training},
        "adam": {"epochs": EPOCHS, "learning_rate": 0.01},
        "ga": {"generations": 24, "popsize": 4},
    }
    changed = {name: getattr(params, name).model_copy(update=update) for name, update in sections.items()}
    params = params.model_copy(update={"device": "cpu", **changed})
    generator = np.random.default_rng(0)

    def windows(count):
        context, target = (generator.standard_t(3, (count, steps, 1)).astype(np.float32) for steps in (24, 12))
        ones = np.ones((count, 1, 1), np.float32)
        return Windows(context, target, ones, ones, np.array(["AT"] * count), np.zeros(count, np.int64))

    setup = Setup.of(params, {"train": windows(BATCHES), "validation": windows(6)})
    search = build.searcher(params, optimizer, setup.layout)
    records = []

    def observe(record):
        records.append(record)
        if record.step == killed_at and len(records) == 1 + RECORDED.index(killed_at):
            raise Killed

    member = setup.member(
        optimizer,
        search,
        recording=build.recording(params, search),
        budget=Budget(),
        observe=observe,
        resume_files=None if folder is None else ResumeFiles(folder, {}),
    )
    (result,) = fit([member])
    return setup, result, records


@pytest.fixture(scope="module")
def whole():
    return trained()


def test_updates_1_2_4_8_of_the_first_epoch_are_recorded_then_every_so_many_epochs_and_the_last(whole):
    _, result, _ = whole
    assert result.history.steps.tolist() == RECORDED
    assert result.history.rounds.tolist() == [0, 0, 0, 0, 0, 1, 2, 4, 5]
    assert np.diff(result.history.evaluations).tolist() == (3 * np.diff(RECORDED)).tolist()  # a backward pass is two
    assert set(result.snapshots) == set(RECORDED)


def matrices_at(setup, weights):
    views = setup.layout.views(weights)
    return [spec.of(views).double().numpy() for spec in setup.matrices]


def test_spectra_of_weights_changes_and_steps_are_those_of_numpy(whole):
    setup, result, _ = whole
    history = result.history
    start = before = matrices_at(setup, result.snapshots[0])
    for position, step in enumerate(RECORDED):
        now = matrices_at(setup, result.snapshots[step])
        for m, (matrix, first, last) in enumerate(zip(now, start, before, strict=True)):
            rank = min(matrix.shape)
            for field, expected in (
                ("singular_values", matrix),
                ("change_singular_values", matrix - first),
                ("step_singular_values", matrix - last),
            ):
                values = np.linalg.svd(expected, compute_uv=False)
                recorded = getattr(history, field)[position, m]
                np.testing.assert_allclose(recorded[:rank], values, rtol=1e-4, atol=1e-6 * np.linalg.norm(matrix))
                assert np.isnan(recorded[rank:]).all()
            moved = np.linalg.norm(matrix - first) / np.linalg.norm(first)
            assert history.distances[position, m] == pytest.approx(moved, rel=1e-5)
        before = now
    assert (history.change_singular_values[1, :, 0] > 0).mean() > 0.7  # of one token queries and keys do not matter


def test_the_step_is_from_the_record_before_and_stands_where_weights_are_kept(whole):
    _, spaced, _ = trained(snapshot_every=4)
    history = spaced.history
    assert history.steps.tolist() == RECORDED
    assert np.isfinite(history.step_singular_values[:, 0, 0]).tolist() == [True] * 6 + [False, True, True]
    expected, kept = whole[1].history.step_singular_values, [0, 1, 2, 3, 4, 5, 7, 8]
    np.testing.assert_array_equal(history.step_singular_values[kept], expected[kept])
    assert trained(step_spectra=False)[1].history.step_singular_values is None


def test_the_best_weights_are_those_of_the_lowest_score_that_selects(whole):
    _, result, _ = whole
    history = result.history
    for score in (history.validation_mae, history.validation_loss):
        assert len(set(score.tolist())) == len(score)
    assert history.best_step == RECORDED[int(history.validation_mae.argmin())]
    assert torch.equal(result.best, result.snapshots[history.best_step])
    by_loss = trained(select="loss")[1].history
    np.testing.assert_array_equal(by_loss.validation_loss, history.validation_loss)
    assert by_loss.best_step == RECORDED[int(history.validation_loss.argmin())]


def test_what_is_validated_is_what_plain_arithmetic_gives(whole):
    setup, result, records = whole
    target = setup.validation.target.double().numpy()
    for record in records:
        views = setup.layout.views(result.snapshots[record.step])
        setup.forecaster.eval()
        with torch.no_grad():
            prediction = setup.forecaster.predict(views, setup.validation.context, setup.validation.target)
        residuals = (prediction.double().numpy() - target).ravel()
        gamma = record.scalars["loss_mad"]
        influence = 2 * residuals / (gamma**2 + residuals**2)
        cosine = influence @ residuals / np.linalg.norm(influence) / np.linalg.norm(residuals)
        losses = np.log1p((residuals / gamma) ** 2)
        assert record.validation.mae == pytest.approx(np.abs(residuals).mean(), rel=1e-5)
        assert record.validation.residual_mad == pytest.approx(np.median(np.abs(residuals)), rel=1e-4)
        assert record.validation.influence_cosine == pytest.approx(cosine, rel=1e-4)
        assert record.validation.loss == pytest.approx(losses.mean(), rel=1e-4)


def test_the_scale_of_the_loss_follows_the_residuals_of_each_finished_epoch(whole):
    setup, result, records = whole
    scales = [record.scalars["loss_mad"] for record in records]
    assert len(set(scales[:6])) == 1  # a record shows the scale that it was trained and validated with
    assert scales[5] != scales[6] != scales[7] != scales[8]
    assert scales[0] == pytest.approx(setup.objective.residual_mad(setup.weights, 0.0), rel=1e-6)
    assert scales[6] == pytest.approx(setup.objective.residual_mad(result.snapshots[10], 0.0), rel=1e-6)


def assert_same(one, other):
    for field in dataclasses.fields(one.history):
        if field.name != "seconds":
            expected, found = getattr(one.history, field.name), getattr(other.history, field.name)
            assert np.asarray(expected).tobytes() == np.asarray(found).tobytes(), field.name
    assert torch.equal(one.best, other.best)
    assert torch.equal(one.last, other.last)
    assert all(torch.equal(one.snapshots[step], other.snapshots[step]) for step in RECORDED)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(1,), (4,), (8,), (10,), (20,), (2, 8, 40)])
def test_a_training_that_is_stopped_behind_any_record_goes_on_to_the_same_bits(tmp_path, monkeypatch, whole, kills):
    monkeypatch.setattr(module, "SHARE", math.inf)  # saved at every record
    for step in kills:
        with pytest.raises(Killed):
            trained(tmp_path / "resume", killed_at=step)
    _, result, records = trained(tmp_path / "resume")
    # the record that it was killed behind had not been saved
    assert result.resumed_at == [RECORDED[RECORDED.index(step) - 1] for step in kills]
    assert_same(whole[1], result)
    assert [record.scalars["loss_mad"] for record in records] == [record.scalars["loss_mad"] for record in whole[2]]


def test_generations_are_rounds_and_the_scale_follows_once_an_epoch_s_number_of_batches():
    _, result, records = trained(optimizer="ga")
    assert result.history.steps.tolist() == [0, 1, *range(2, 25, 2)]
    assert result.history.rounds.tolist() == result.history.steps.tolist()
    scales = {record.step: record.scalars["loss_mad"] for record in records}
    assert len({scales[step] for step in (0, 1, 2, 4, 6, 8, 10)}) == 1
    assert scales[10] != scales[12] == scales[20] != scales[22]


def test_what_is_watched_is_the_family_that_is_compared():
    """All feed-forward matrices of a transformer; of an LSTM the gates of one side and shape."""
    names = ["encoder.0.input.forget_gate", "encoder.0.state.cell_gate", "decoder.0.state.cell_gate", "readout"]
    shapes = [(8, 3), (8, 8), (8, 8), (3, 8)]
    gates = [Matrix(name, of_forecaster(name), name, shape) for name, shape in zip(names, shapes, strict=True)]
    assert positions_watched(gates) == [1]
    names = [
        "readout",
        "encoder.0.feed_forward.expand",
        "decoder.1.self_attention.key",
        "decoder.1.feed_forward.contract",
    ]
    shapes = [(3, 8), (32, 8), (8, 8), (8, 32)]
    transformer = [Matrix(name, of_forecaster(name), name, shape) for name, shape in zip(names, shapes, strict=True)]
    assert positions_watched(transformer) == [1, 3]


def test_a_distance_whose_squares_do_not_fit_float32_is_a_number_all_the_same():
    layout, matrices = Layout(torch.nn.Linear(2, 1, bias=False)), [Matrix("fc", Family("other"), "weight", (1, 2))]
    start = Start(torch.tensor([3.0, 4.0]), layout, matrices)
    (values,) = measured([(start, torch.tensor([3e30, 4e30]), None)])
    assert values.distance == pytest.approx(5e30, rel=1e-6)


def test_skill_is_what_an_error_is_less_than_that_of_persistence():
    context, target, zeros = (np.zeros((2, steps, 1), np.float32) for steps in (24, 12, 1))
    windows = Windows(context, target + 2, zeros, zeros + 1, np.array(["SE", "MT"]), np.array([0, 0]))
    values, reasons = artifacts.test_scores({"free_running": target + 1.5, "teacher_forced": target - 1}, windows)
    assert values["free_running"]["skill_over_persistence"] == pytest.approx(0.75)
    assert values["teacher_forced"]["skill_over_persistence"] == pytest.approx(-0.5)
    still = dataclasses.replace(windows, target=target)
    values, reasons = artifacts.test_scores({"free_running": target + 1.5}, still)
    assert "skill_over_persistence" not in values["free_running"]
    assert reasons["free_running.skill_over_persistence"] == "not computed: persistence makes no error"
