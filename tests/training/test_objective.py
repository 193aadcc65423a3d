"""The objective of a forecaster: every way to compute a population gives each member its own plain loss."""

import copy
import functools
import itertools

import jaxtyping
import numpy as np
import pytest
import torch
from scipy import stats

from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.losses import ELEMENTWISE, make_loss
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.training.objective import WindowObjective

KINDS = ("transformer", "lstm")
both = pytest.mark.parametrize("kind", KINDS)


def make(kind="transformer", loss="mse", dropout=0.0, windows=10, batch_size=4, **settings):
    generator = torch.Generator().manual_seed(0)
    if kind == "lstm":
        model = LSTM(1, 8, 1, dropout, 2, generator)
    else:
        model = Transformer(1, 8, 2, 1, 12, dropout, 2, generator)
    layout = Layout(model)
    context = torch.randn(windows, 8, 1, generator=generator)
    target = torch.randn(windows, 4, 1, generator=generator)
    elementwise = make_loss(loss, sgt=SGT(0.0, 0.7, 0.2, 1.5, 3.0, True, True), gamma=0.5)
    return model, layout, WindowObjective(model, layout, elementwise, context, target, batch_size, **settings)


def population_of(model, layout, count=19, spread=0.1):
    generator = torch.Generator().manual_seed(1)
    return layout.flatten(model) + spread * torch.randn(count, layout.size, generator=generator)


class Lazy:
    """Members that are made when they are asked for; remembers what was asked."""

    def __init__(self, vectors):
        self.vectors, self.asked = vectors, []

    def __len__(self):
        return len(self.vectors)

    def members(self, start, stop):
        self.asked.append((start, stop))
        return self.vectors[start:stop].clone()


BATCH = torch.tensor([7, 2, 5, 0])


@both
@pytest.mark.parametrize("loss", ELEMENTWISE)
@pytest.mark.parametrize("members", [1, 2, 8])
@pytest.mark.parametrize("workers", [1, 2])
def test_each_member_gets_the_loss_that_the_plain_model_gives_it(kind, loss, members, workers, monkeypatch):
    monkeypatch.setattr("transformer_spectrum.training.scoring.CHUNKS", 1)
    monkeypatch.setattr("transformer_spectrum.models.attention.MANY", 4)  # populations only
    model, layout, objective = make(kind, loss, workers=workers)
    objective.evaluation.division.members = members
    population = population_of(model, layout, 11)
    losses = objective.losses(population, BATCH)
    assert losses.shape == (11,)
    for member, scored in zip(population, losses, strict=True):
        layout.load(model, member)
        context, target = objective.context[BATCH], objective.target[BATCH]
        with torch.no_grad():
            plain = objective.loss(model(context, target), target).mean()
        torch.testing.assert_close(scored, plain, rtol=1e-5, atol=1e-7)


@both
def test_losses_are_the_same_bits_for_any_number_of_workers_and_however_the_population_is_kept(kind):
    model, layout, _ = make(kind)
    population = population_of(model, layout, 40)
    alone = make(kind)[2].losses(population, BATCH)
    for workers in (2, 3, 7):
        objective = make(kind, workers=workers)[2]
        assert torch.equal(objective.losses(population, BATCH), alone)
        assert torch.equal(objective.losses(Lazy(population), BATCH), alone)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 19, 64])
def test_a_lazy_population_is_asked_for_each_member_once_and_for_few_at_a_time(workers, count):
    model, layout, objective = make(workers=workers)
    objective.evaluation.division.members = 2
    lazy = Lazy(population_of(model, layout, count))
    objective.losses(lazy, BATCH)
    asked = sorted(lazy.asked)
    assert list(itertools.chain.from_iterable(range(*pair) for pair in asked)) == list(range(count))
    assert max(stop - start for start, stop in asked) <= 2
    assert all(start % 2 == 0 for start, _ in asked) or count < 16


def test_a_smaller_bound_computes_fewer_members_at_once_and_one_always():
    sizes = [make(memory_mib=mib)[2].evaluation.division.members for mib in (1e-6, 0.01, 0.02, 0.04, 1.0)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert all(size & (size - 1) == 0 for size in sizes)  # mirrored pairs stay together
    assert sizes[2] == 2 * sizes[1]


def test_a_population_is_cut_into_enough_chunks_for_workers_to_share():
    model, layout, objective = make()
    lazy = Lazy(population_of(model, layout, 32))
    objective.losses(lazy, BATCH)
    assert objective.evaluation.division.members > 4
    assert len(lazy.asked) == 8


def test_the_callers_threads_are_his_own_and_a_workers_error_reaches_him():
    model, layout, objective = make(workers=2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        objective.losses(population_of(model, layout), BATCH)
        assert torch.get_num_threads() == 2
        broken = Lazy(torch.zeros(19, layout.size - 1))
        with pytest.raises(RuntimeError, match="split"):
            objective.losses(broken, BATCH)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@both
def test_bfloat16_ranks_candidates_as_float32_does(kind):
    model, layout, objective = make(kind, "sgt")
    population = population_of(model, layout, 64, spread=0.2)
    exact = objective.losses(population, BATCH)
    rough = make(kind, "sgt", precision="bfloat16")[2].losses(population, BATCH)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert stats.spearmanr(rough, exact).statistic > 0.999


@both
def test_the_gradient_is_autograds_gradient_of_the_plain_model(kind):
    model, layout, objective = make(kind)
    loss, gradient = objective.gradient(layout.flatten(model), BATCH)
    context, target = objective.context[BATCH], objective.target[BATCH]
    plain = objective.loss(model(context, target), target).mean()
    plain.backward()
    assert loss == pytest.approx(plain.item(), rel=1e-6)
    torch.testing.assert_close(gradient, torch.cat([p.grad.reshape(-1) for p in model.parameters()]))


@both
def test_a_gradient_in_pieces_is_that_of_the_whole_batch_and_the_same_for_any_number_of_workers(kind):
    model, layout, whole = make(kind)
    flat, batch = layout.flatten(model), torch.arange(7)
    loss, gradient = whole.gradient(flat, batch)
    assert whole.evaluation.division.pieces == 1
    results = []
    for workers in (1, 2, 3):
        objective = make(kind, workers=workers)[2]
        objective.evaluation.division.pieces = 3  # of three, three and one window
        results.append(objective.gradient(flat, batch))
        assert results[-1][0] == pytest.approx(loss, rel=1e-6)
        torch.testing.assert_close(results[-1][1], gradient)
    assert all(one[0] == results[0][0] and torch.equal(one[1], results[0][1]) for one in results)


def test_large_batches_are_cut_into_pieces_with_and_without_dropout():
    sizes = {"windows": 8000, "batch_size": 8000}
    assert make(**sizes)[2].evaluation.division.pieces == 4
    assert make(**sizes, dropout=0.1)[2].evaluation.division.pieces == 4


def test_an_epoch_visits_every_window_once_in_random_order():
    objective = make()[2]
    batches = list(objective.epoch(torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))
    assert torch.cat(batches).tolist() != list(range(10))


@pytest.mark.parametrize("workers", [1, 2])
def test_validation_is_over_all_windows(workers):
    model, layout, objective = make(windows=150, workers=workers)
    validation = objective.validation(layout.flatten(model))
    with torch.no_grad():
        prediction = model(objective.context, objective.target)
        residuals = (prediction - objective.target).double()
        expected = objective.loss(prediction, objective.target).double().mean().item()
    assert validation.loss == pytest.approx(expected, rel=1e-6)
    assert validation.mae == pytest.approx(residuals.abs().mean().item(), rel=1e-6)
    assert validation.residual_mad == pytest.approx(np.median(residuals.abs().numpy()), rel=1e-3)
    assert validation == make(windows=150)[2].validation(layout.flatten(model))


def test_dropout_touches_the_gradient_but_never_a_comparison():
    model, layout, objective = make(dropout=0.5)
    flat = layout.flatten(model)
    assert objective.losses(flat[None], BATCH).item() == objective.losses(flat[None], BATCH).item()
    first = objective.gradient(flat, BATCH)
    assert objective.gradient(flat, BATCH, update=1)[0] != first[0]
    assert torch.equal(objective.gradient(flat, BATCH)[1], first[1])


def test_a_batch_is_never_larger_than_the_data():
    objective = make(windows=3)[2]
    assert len(objective.batch(torch.Generator().manual_seed(0))) == 3


@pytest.mark.slow
def test_a_compiled_gradient_is_the_plain_one_and_its_time_is_said_once(monkeypatch):
    # The backend that traces and differentiates, but generates no code: that would take a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # torch cannot trace the checks of shapes
    said = []
    model, layout, objective = make("lstm", windows=8, compile=True, say=said.append)
    flat, plain = layout.flatten(model), make("lstm", windows=8)[2]
    state = torch.get_rng_state()
    for batch in (BATCH, BATCH.flip(0)):
        loss, gradient = objective.gradient(flat, batch)
        expected = plain.gradient(flat, batch)
        assert loss == pytest.approx(expected[0], rel=1e-6)
        torch.testing.assert_close(gradient, expected[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert len(said) == 1
    assert "compiled in" in said[0]


def test_without_a_compiler_the_gradient_is_computed_plainly_and_the_reason_is_said_once(monkeypatch):
    from torch._dynamo.exc import BackendCompilerFailed  # slow to import

    def no_compiler(function, **settings):
        def fail(*arguments):
            try:
                raise RuntimeError("No working C++ compiler found")
            except RuntimeError as error:
                raise BackendCompilerFailed("inductor", error, []) from error

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    said = []
    model, layout, objective = make(compile=True, say=said.append)
    flat = layout.flatten(model)
    for _ in range(2):
        assert torch.equal(objective.gradient(flat, BATCH)[1], make()[2].gradient(flat, BATCH)[1])
    assert len(said) == 1
    assert "No working C++ compiler found" in said[0]


def test_an_objective_can_be_copied_with_its_model():
    model, layout, objective = make(workers=2)
    population = population_of(model, layout)
    assert torch.equal(copy.deepcopy(objective).losses(population, BATCH), objective.losses(population, BATCH))
