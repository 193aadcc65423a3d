"""The objective of a forecaster."""

import pytest
import torch

from transformer_spectrum.models.base import Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.search.population import WindowObjective


def squared(prediction, target):
    return (prediction - target) ** 2


def make(kind="transformer", dropout=0.0, members=3, windows=10):
    generator = torch.Generator().manual_seed(0)
    if kind == "lstm":
        model = LSTM(1, 8, 1, dropout, 2, generator)
    else:
        model = Transformer(1, 8, 2, 1, 12, dropout, 2, generator)
    layout = Layout(model)
    context = torch.randn(windows, 8, 1, generator=generator)
    target = torch.randn(windows, 4, 1, generator=generator)
    return model, layout, WindowObjective(model, layout, squared, context, target, 4, members)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
@pytest.mark.parametrize("members", [1, 3, 100])
def test_each_member_gets_the_loss_that_the_plain_model_gives_it(kind, members):
    model, layout, objective = make(kind, members=members)
    generator = torch.Generator().manual_seed(1)
    batch = objective.batch(generator)
    population = layout.flatten(model) + 0.1 * torch.randn(7, layout.size, generator=generator)
    losses = objective.losses(population, batch)
    for member, loss in zip(population, losses, strict=True):
        layout.load(model, member)
        plain = squared(model(objective.context[batch], objective.target[batch]), objective.target[batch]).mean()
        torch.testing.assert_close(loss, plain.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_the_gradient_is_autograds_gradient_of_the_plain_model(kind):
    model, layout, objective = make(kind)
    batch = objective.batch(torch.Generator().manual_seed(1))
    loss, gradient = objective.gradient(layout.flatten(model), batch)
    plain = squared(model(objective.context[batch], objective.target[batch]), objective.target[batch]).mean()
    plain.backward()
    assert loss == pytest.approx(plain.item(), rel=1e-6)
    torch.testing.assert_close(gradient, torch.cat([p.grad.reshape(-1) for p in model.parameters()]))


def test_an_epoch_visits_every_window_once_in_random_order():
    _, _, objective = make()
    batches = list(objective.epoch(torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))
    assert torch.cat(batches).tolist() != list(range(10))


def test_the_total_is_the_mean_over_all_windows():
    model, layout, objective = make()
    total = objective.total(layout.flatten(model))
    expected = squared(model(objective.context, objective.target), objective.target).mean().item()
    assert total == pytest.approx(expected, rel=1e-6)


def test_dropout_touches_the_gradient_but_never_a_comparison():
    model, layout, objective = make(dropout=0.5)
    batch, flat = objective.batch(torch.Generator().manual_seed(1)), layout.flatten(model)
    assert objective.losses(flat[None], batch).item() == objective.losses(flat[None], batch).item()
    torch.manual_seed(0)
    assert objective.gradient(flat, batch)[0] != objective.gradient(flat, batch)[0]


def test_a_batch_is_never_larger_than_the_data():
    _, _, objective = make(windows=3)
    assert len(objective.batch(torch.Generator().manual_seed(0))) == 3
