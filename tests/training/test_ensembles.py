"""Trainings side by side give each member what it gets alone, to the same bits on a CPU."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from small_members import MEMBERS, METHODS, Killed, Tape, jobs_in, members_of, params_of, record

from transformer_spectrum import losses
from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.interruption import Interrupted, Interruption
from transformer_spectrum.runtime.memory import Free
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.training import build, division
from transformer_spectrum.training.capture import Captured
from transformer_spectrum.training.ensemble import check_alike, members_at_once
from transformer_spectrum.training.footprint import footprint
from transformer_spectrum.training.loop import fit
from transformer_spectrum.training.stacked_losses import Stacked
from transformer_spectrum.training.train import train, train_all


def assert_same(result, other):
    for field in dataclasses.fields(result.history):
        if field.name != "seconds":
            values, others = getattr(result.history, field.name), getattr(other.history, field.name)
            assert np.asarray(values).tobytes() == np.asarray(others).tobytes(), field.name
    assert torch.equal(result.best, other.best)
    assert torch.equal(result.last, other.last)
    assert (result.stop_cause, result.stop_reason) == (other.stop_cause, other.stop_reason)
    assert list(result.snapshots) == list(other.snapshots)
    assert all(torch.equal(result.snapshots[step], other.snapshots[step]) for step in result.snapshots)
    assert (result.candidate is None) == (other.candidate is None)
    if result.candidate is not None:
        assert torch.equal(result.candidate.weights, other.candidate.weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "shared"),
    METHODS,
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_members_with_other_seeds_losses_and_settings_get_what_they_get_alone(optimizer, shared):
    together = fit(members_of(optimizer, **shared))
    for number, result in enumerate(together):
        (alone,) = fit([members_of(optimizer, **shared)[number]])
        assert_same(result, alone)
    assert len({result.history.steps[-1] for result in together}) > 1  # they do not all end together


def test_members_follow_torchs_own_training_to_1e_5():
    """An independent loop: nn.Module, torch.optim.SGD, one network at a time."""
    kinds = {"mse": losses.mse, "mae": losses.mae}
    changes = [{"seed": seed, "loss.type": kind} for seed, kind in enumerate(kinds, 1)]
    settings = {"adam.algorithm": "sgd", "adam.learning_rate": 0.02, "adam.epochs": 1}
    members = members_of("adam", changes, **settings)
    for seed, (member, result, elementwise) in enumerate(zip(members, fit(members), kinds.values(), strict=True), 1):
        objective, layout = member.objective, member.start.layout
        model, generator = objective.evaluation.model, torch_generator(seed, "adam search")
        layout.load(model, member.start.weights)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        objective.batch(generator)  # that of step 0
        for update, batch in enumerate(objective.epoch(generator), 1):
            optimizer.zero_grad()
            target = objective.target[batch]
            elementwise(model(objective.context[batch], target), target).mean().backward()
            optimizer.step()
            difference = (layout.flatten(model) - result.snapshots[update]).abs().max()
            assert float(difference) < 1e-5, update
        assert update == 3


@pytest.mark.parametrize("tokens", [{}, {"model.patch_length": 1, "model.embed_dim": 16}], ids=["patches", "steps"])
@pytest.mark.parametrize("workers", [1, 2])
def test_neither_chunks_nor_workers_change_a_members_bits(workers, tokens, monkeypatch):
    shared = {"training.workers": workers, "adam.epochs": 2, **tokens}
    whole = fit(members_of("adam", **shared))
    monkeypatch.setattr(division, "GRADIENT_MIB", 1e-6)  # each member by itself
    for result, other in zip(fit(members_of("adam", **shared)), whole, strict=True):
        assert_same(result, other)


def test_a_member_that_diverges_or_cannot_begin_leaves_and_the_others_go_on():
    changes = [MEMBERS[0], {"seed": 2}, MEMBERS[3]]
    shared = {"adam.algorithm": "sgd"}
    alone = [fit([members_of("adam", changes, **shared)[number]])[0] for number in (0, 2)]
    members = members_of("adam", changes, **shared)

    def spoil(record):
        if record.step == 3:
            members[1].objective.loss = lambda prediction, target: (prediction - target) * torch.nan

    members[1] = dataclasses.replace(members[1], observe=spoil)
    results = fit(members)
    assert results[1].history.steps.tolist() == [0, 1, 2, 3]
    assert [result.stop_cause for result in results] == ["finished", "diverged", "finished"]
    members = members_of("adam", changes, **shared)
    members[1].objective.target.fill_(float("nan"))
    broken = fit(members)
    assert isinstance(broken[1], InputError)
    assert "initial weights" in str(broken[1])
    for number, result in zip((0, 2), alone, strict=True):
        assert_same(results[number], result)
        assert_same(broken[number], result)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "es", "ga"])
def test_an_ensemble_that_was_killed_goes_on_to_the_same_bits_in_any_company(optimizer, tmp_path):
    whole = fit(members_of(optimizer))
    seen = []

    def kill(record):
        seen.append(record.step)
        if len(seen) == 13:
            raise Killed

    with pytest.raises(Killed):
        fit(members_of(optimizer, folder=tmp_path, observe=kill))
    members = members_of(optimizer, folder=tmp_path)
    results = [*fit(members[:2]), *fit(members[2:])]
    assert any(result.resumed_at for result in results)
    for result, other in zip(results, whole, strict=True):
        assert_same(result, other)


def test_a_signal_ends_all_members_once_their_steps_are_kept(tmp_path):
    interruption = Interruption()

    def signal(record):
        if record.step == 4:
            interruption.number = 15

    with pytest.raises(Interrupted):
        fit(members_of("adam", folder=tmp_path, observe=signal), interruption)
    results = fit(members_of("adam", folder=tmp_path))
    assert all(result.resumed_at for result in results)
    for result, other in zip(results, fit(members_of("adam")), strict=True):
        assert_same(result, other)


@pytest.fixture(autouse=True)
def _torch_as_before():
    mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.set_num_threads(threads)


def test_the_files_of_trainings_side_by_side_are_those_of_each_alone(tmp_path, monkeypatch):
    together, alone = jobs_in(tmp_path, "together"), jobs_in(tmp_path, "alone")
    monkeypatch.setattr("transformer_spectrum.training.train.members_at_once", lambda *ask: 2)  # in two turns
    assert train_all(together) == ["", "", ""]
    for ours, theirs in zip(together, alone, strict=True):
        train(theirs)
        files = sorted(path.name for path in theirs.models.iterdir())
        assert sorted(path.name for path in ours.models.iterdir()) == files
        for name in files:
            assert (ours.models / name).read_bytes() == (theirs.models / name).read_bytes(), name
        scores = [json.loads((one.metrics / "scores.json").read_text()) for one in (ours, theirs)]
        assert scores[0] == scores[1]
        assert not ours.resume.exists()


def test_a_job_without_data_fails_by_itself_and_says_why(tmp_path):
    jobs = jobs_in(tmp_path, "some")
    jobs[1] = dataclasses.replace(jobs[1], data=tmp_path / "nowhere.npz")
    reasons = train_all(jobs)
    assert [bool(reason) for reason in reasons] == [False, True, False]
    assert "nowhere.npz: no such file" in reasons[1]
    assert [one.models.exists() for one in jobs] == [True, False, True]


@pytest.mark.parametrize("name", ["model.embed_dim", "training.batch_size", "training.precision"])
def test_trainings_of_other_sizes_are_refused(name):
    other = {"model.embed_dim": 12, "training.batch_size": 4, "training.precision": "bfloat16"}[name]
    with pytest.raises(InputError, match="trainings side by side share it"):
        check_alike([(params_of(), "adam"), (params_of(**{name: other}), "adam")])


def test_a_soap_whose_gradients_overflow_diverges_and_leaves_the_others_as_they_are():
    """LAPACK refuses a batch of matrices of which one is not finite."""
    changes = [{"seed": 1}, {"seed": 2, "loss.factor": 1e25}]
    shared = {"adam.algorithm": "soap", "adam.epochs": 2}
    well, ill = fit(members_of("adam", changes, **shared))
    (alone,) = fit([members_of("adam", changes, **shared)[0]])
    assert_same(well, alone)
    assert ill.stop_cause is StopCause.DIVERGED
    assert ill.stop_reason.startswith("diverged at step ")


@pytest.mark.parametrize("optimizer", ["adam", "es", "ga"])
def test_the_number_of_members_at_once_follows_from_the_free_memory(optimizer, monkeypatch):
    params = params_of(**{"es.algorithm": "cma"})
    kept = footprint(params, optimizer, 1)
    size = kept.size - kept.parts["activations"].size
    for free, members in ((41 * size, 10), (1, 1)):
        monkeypatch.setattr("transformer_spectrum.training.ensemble.free_memory", lambda free=free: Free(free, ""))
        assert members_at_once(params, optimizer) == members


def test_trainings_by_cma_es_are_counted_with_the_vectors_that_it_keeps_of_every_candidate(monkeypatch):
    monkeypatch.setattr("transformer_spectrum.training.ensemble.free_memory", lambda: Free(2**34, ""))
    few, many = (members_at_once(params_of(**{"es.algorithm": "cma", "es.popsize": size}), "es") for size in (8, 512))
    drawn = members_at_once(params_of(**{"es.algorithm": "openai", "es.popsize": 512}), "es")
    assert many < few / 10
    assert drawn > 10 * many


KINDS = [("sgt", "cauchy", "mse"), ("mae", "mae", "sgt"), ("cauchy", "cauchy", "cauchy")]


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (0.1, 10.0, 1.0), (3.0, 3.0, 1 / 3)], ids=str)
@pytest.mark.parametrize("kinds", KINDS)
def test_stacked_losses_are_the_bits_of_each_members_own(kinds, factors):
    made = []
    for number, (kind, factor) in enumerate(zip(kinds, factors, strict=True)):
        own = {"loss.q": 1.05 + number, "loss.lam": -0.3, "loss.gamma": 0.5 + number, "loss.factor": factor}
        made.append(build.loss(params_of(**{"loss.type": kind, **own})))
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn(3, 4, 5, 1, generator=generator) for _ in range(2))
    together = Stacked(made)(prediction, target)
    for member, elementwise in enumerate(made):
        assert torch.equal(together[member], elementwise(prediction[member], target[member]))


def test_factors_of_one_form_are_numbers_of_it_and_a_factor_of_1_is_none():
    made = [build.loss(params_of(**{"loss.type": "cauchy", "loss.factor": factor})) for factor in (2.0, 5.0, 1.0)]
    stacked = Stacked(made)
    assert [count for count, _, _ in stacked.forms] == [2, 1]
    assert stacked.numbers[0][:, -1].tolist() == [2.0, 5.0]
    assert build.loss(params_of(**{"loss.type": "mse", "loss.factor": 1.0})) is losses.mse


@pytest.mark.parametrize(("optimizer", "shared"), [METHODS[0], METHODS[1], METHODS[6]], ids=["adam", "sgd", "es"])
def test_members_with_other_batch_orders_and_factors_get_what_they_get_alone(optimizer, shared):
    own = [{}, {"training.batch_seed": 7}, {"loss.factor": 10.0}, {"loss.factor": 3.0, "training.batch_seed": 8}]
    changes = [{"seed": 1, "loss.type": "cauchy", "adam.epochs": 2, "es.generations": 2, **change} for change in own]
    together = fit(members_of(optimizer, changes, **shared))
    for number, result in enumerate(together):
        (alone,) = fit([members_of(optimizer, changes, **shared)[number]])
        assert_same(result, alone)


def test_a_seed_of_batches_changes_their_order_and_nothing_else():
    """Plain SGD over one whole batch sees all windows at each update, so there the order is all but nothing."""
    usual, same, reordered = ({"seed": 1, "training.batch_seed": seed} for seed in (None, 1, 2))
    changes = [{"adam.epochs": 1, "loss.type": "mse", **own} for own in (usual, same, reordered)]
    first, second, third = fit(members_of("adam", changes))
    assert_same(first, second)
    assert torch.equal(first.snapshots[0], third.snapshots[0])
    assert not torch.allclose(first.last, third.last, rtol=0, atol=1e-4)
    settings = {"adam.algorithm": "sgd", "training.batch_size": 32}
    first, _, third = fit(members_of("adam", changes, **settings))
    torch.testing.assert_close(third.last, first.last, rtol=0, atol=1e-5)


def test_a_seed_of_batches_leaves_populations_as_they_are():
    changes = [{"seed": 1, "es.generations": 2, "training.batch_seed": seed} for seed in (None, 2)]
    first, second = fit(members_of("es", changes))
    assert_same(first, second)


def test_sgd_takes_a_factor_for_a_rate_and_adam_divides_it_out():
    sgd = {"adam.algorithm": "sgd", "loss.type": "mse", "adam.epochs": 2}
    changes = [{"adam.learning_rate": 0.04}, {"adam.learning_rate": 0.01, "loss.factor": 4.0}]
    first, second = fit(members_of("adam", [{"seed": 1, **sgd, **own} for own in changes]))
    assert torch.equal(first.last, second.last)  # powers of two round alike
    changes = [{"seed": 1, "loss.type": "mse", "adam.epochs": 2, "loss.factor": factor} for factor in (1.0, 8.0)]
    first, second = fit(members_of("adam", changes))
    apart = (second.last - first.last).abs()
    assert apart.quantile(0.95) < 1e-6  # the rest has gradients of the size of epsilon
    np.testing.assert_allclose(second.history.validation_loss, 8 * first.history.validation_loss, rtol=1e-4)


def test_a_captured_training_is_the_plain_one_and_is_captured_once_a_shape(monkeypatch):
    plain = fit(members_of("adam", MEMBERS[:3]))
    monkeypatch.setattr(Tape, "made", 0)
    original = Captured.__init__
    monkeypatch.setattr(
        Captured, "__init__", lambda self, function, device, say: original(self, function, device, say, record)
    )
    for result, other in zip(fit(members_of("adam", MEMBERS[:3])), plain, strict=True):
        assert_same(result, other)
    # Gradients of whole and last batches, and one scoring for each of the three losses' step 0.
    assert Tape.made == 5


@pytest.mark.parametrize("shared", [{"adam.algorithm": "adam"}, {"adam.algorithm": "sgd", "model.dropout": 0.3}])
def test_members_that_have_left_are_computed_on_unseen_until_half_of_them_have(shared, monkeypatch):
    changes = [*MEMBERS[:2], {"seed": 9, "loss.type": "mse", "adam.epochs": 1}]
    plain = fit(members_of("adam", changes, **shared))
    members = members_of("adam", changes, **shared)
    gradients, sizes = members[0].objective.evaluation.gradients, []
    gradients.keeps_slots = True
    gradient = gradients._gradient
    monkeypatch.setattr(
        gradients,
        "_gradient",
        lambda forms, weights, *rest: sizes.append(len(weights)) or gradient(forms, weights, *rest),
    )
    for result, other in zip(fit(members), plain, strict=True):
        assert_same(result, other)
    assert set(sizes) == {3}  # as many as there were, though one has left after an epoch of four
    assert len(sizes) == 4 * 3


def test_what_cannot_be_captured_runs_plainly_and_the_reason_is_said_once():
    def refuse(compute):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    said = []
    triple = Captured(lambda static, x: 3 * x, torch.device("cpu"), said.append, refuse)
    assert [triple(None, torch.ones(1)).item(), triple(None, torch.ones(2))[0].item()] == [3, 3]
    assert len(said) == 1
    assert "operation not permitted when stream is capturing" in said[0]


def test_only_the_last_recordings_are_kept(monkeypatch):
    monkeypatch.setattr(Tape, "made", 0)
    double = Captured(lambda static, x: 2 * x, torch.device("cpu"), record=record)
    for _ in range(2):
        for size in range(1, 5):
            assert double(None, torch.full((size,), 1.5)).tolist() == [3.0] * size
    assert Tape.made == 4
    for size in range(5, 20):
        double(None, torch.ones(size))
    double(None, torch.ones(1))
    assert Tape.made == 20
