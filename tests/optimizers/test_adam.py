"""Adam: torch's own optimizer and scheduler as oracle, the schedule's closed form, going on after a stop."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.losses import mse
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.gradient.adam import Adam, schedule_factor
from transformer_spectrum.training.objective import WindowObjective

SIZE, UPDATES, EPOCHS = 10, 4, 5


class Bowl:
    """sum_i scale_i (w_i - b_i)^2 with another b in every batch, so that moments, clipping and decay all show."""

    size = SIZE
    scale = torch.logspace(-1, 1.5, SIZE)

    def batch(self, generator):
        return torch.randn(SIZE, generator=generator)

    def epoch(self, generator):
        for _ in range(UPDATES):
            yield self.batch(generator)

    def losses(self, population, batch):
        return (self.scale * (population - batch) ** 2).sum(1)

    def gradient(self, weights, batch):
        leaf = weights.clone().requires_grad_()
        loss = self.losses(leaf[None], batch)[0]
        loss.backward()
        return loss.item(), leaf.grad


SETTINGS = {
    "plain": {},
    "decay": {"weight_decay": 0.3},
    "clip": {"gradient_clip": 1.0},
    "warm-up": {"warmup_epochs": 2},
    "cosine": {"schedule": "cosine"},
    "all": {"weight_decay": 0.3, "gradient_clip": 1.0, "warmup_epochs": 1, "schedule": "cosine"},
}
every = pytest.mark.parametrize("name", SETTINGS)


def oracle(weights, generator, *, gradient_clip=0.0, weight_decay=0.0, warmup_epochs=0, schedule="constant"):
    """The weights after every epoch, by torch's AdamW, LambdaLR and clip_grad_norm_."""
    warmup, total = warmup_epochs * UPDATES, EPOCHS * UPDATES

    def factor(k):
        if k < warmup:
            return (k + 1) / warmup
        return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * (k - warmup) / (total - warmup)))

    objective, current = Bowl(), torch.nn.Parameter(weights.clone())
    optimizer = torch.optim.AdamW([current], lr=0.05, weight_decay=weight_decay, foreach=False, fused=False)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    objective.batch(generator)  # the one that scores the initial weights
    for _ in range(EPOCHS):
        for batch in objective.epoch(generator):
            optimizer.zero_grad()
            objective.losses(current[None], batch)[0].backward()
            if gradient_clip:
                torch.nn.utils.clip_grad_norm_([current], gradient_clip)
            optimizer.step()
            scheduler.step()
        yield current.detach().clone()


@every
def test_every_epoch_is_that_of_torchs_adamw_with_its_scheduler(name):
    weights, settings = torch.linspace(-1, 1, SIZE), SETTINGS[name]
    steps = list(Adam(EPOCHS, 0.05, **settings).steps(Bowl(), weights, torch.Generator().manual_seed(0)))
    expected = list(oracle(weights, torch.Generator().manual_seed(0), **settings))
    assert len(steps) == EPOCHS + 1
    for step, other in zip(steps[1:], expected, strict=True):
        torch.testing.assert_close(step.weights, other, rtol=2e-6, atol=2e-7)


def test_the_first_update_is_the_learning_rate_against_the_sign_of_the_gradient():
    class Once(Bowl):
        def epoch(self, generator):
            yield torch.full((SIZE,), 3.0)

    step = list(Adam(1, 0.05).steps(Once(), torch.zeros(SIZE), torch.Generator()))[1]
    torch.testing.assert_close(step.weights, torch.full((SIZE,), 0.05))


def test_decay_takes_its_share_of_the_learning_rate_off_the_weights_whatever_the_gradient():
    class Flat(Bowl):
        def gradient(self, weights, batch):
            return 0.0, torch.zeros(SIZE)

    weights = torch.linspace(1, 2, SIZE)
    steps = list(Adam(EPOCHS, 0.05, weight_decay=0.2).steps(Flat(), weights, torch.Generator()))
    torch.testing.assert_close(steps[-1].weights, weights * (1 - 0.05 * 0.2) ** (EPOCHS * UPDATES))


def test_a_large_gradient_is_clipped_to_the_given_norm():
    # With Adam's scale invariance clipping shows only when norms differ between updates.
    class Jump(Bowl):
        calls = 0

        def gradient(self, weights, batch):
            self.calls += 1
            return 1.0, torch.full((SIZE,), 1.0 if self.calls > 1 else 1e6)

    free, clipped = (
        list(Adam(1, 0.1, norm).steps(Jump(), torch.zeros(SIZE), torch.Generator()))[-1] for norm in (0.0, 1.0)
    )
    assert clipped.weights.abs().min() > 1.5 * free.weights.abs().max()
    assert clipped.scalars["gradient_norm"] == free.scalars["gradient_norm"] > 1e6 / UPDATES  # before clipping


def test_the_schedule_has_its_closed_form():
    factors = [schedule_factor(k, 4, 12, "cosine") for k in range(12)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[8] == pytest.approx(0.5)  # half way from the warm-up's end
    assert factors[6] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert schedule_factor(12, 4, 12, "cosine") == pytest.approx(0.0, abs=1e-15)
    assert [schedule_factor(k, 2, 9, "constant") for k in range(4)] == [0.5, 1.0, 1.0, 1.0]


@given(st.integers(1, 300), st.integers(0, 299), st.sampled_from(["constant", "cosine"]))
def test_the_schedule_rises_to_one_and_never_again_leaves_zero_to_one(total, warmup, schedule):
    warmup = min(warmup, total - 1)
    factors = [schedule_factor(k, warmup, total, schedule) for k in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    assert all(a < b for a, b in itertools.pairwise(factors[:warmup]))
    assert all(a >= b for a, b in itertools.pairwise(factors[warmup:]))


def test_the_learning_rate_of_an_epochs_last_update_is_among_the_scalars():
    steps = list(Adam(EPOCHS, 0.05, schedule="cosine").steps(Bowl(), torch.zeros(SIZE), torch.Generator()))
    rates = [step.scalars["learning_rate"] for step in steps[1:]]
    assert rates == [0.05 * schedule_factor(UPDATES * e - 1, 0, EPOCHS * UPDATES, "cosine") for e in range(1, 6)]


def network(dropout):
    generator = torch.Generator().manual_seed(0)
    model = Transformer(1, 8, 2, 1, 12, dropout, 2, generator)
    layout = Layout(model)
    context, target = torch.randn(10, 8, 1, generator=generator), torch.randn(10, 4, 1, generator=generator)
    return layout.flatten(model), WindowObjective(model, layout, mse, context, target, 4, workers=2)


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_network_goes_on_from_any_epoch_as_if_never_stopped_bit_for_bit(at, dropout):
    search = Adam(4, 0.01, 0.5, 0.1, 1, "cosine")
    weights, objective = network(dropout)
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(1)
    steps = search.steps(objective, weights, generator)
    for step in itertools.islice(steps, at + 1):
        state, drawn, masks = step.state(), generator.get_state(), torch.get_rng_state()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    whole = list(steps)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    resumed, fresh = torch.Generator(), network(dropout)[1]
    resumed.set_state(drawn)
    torch.set_rng_state(masks)  # dropout draws from torch's own generator
    rest = list(search.steps(fresh, weights, resumed, state))
    assert len(rest) == len(whole) == 4 - at
    for one, other in zip(whole, rest, strict=True):
        assert (one.index, one.evaluations, one.loss) == (other.index, other.evaluations, other.loss)
        assert one.scalars == other.scalars
        assert torch.equal(one.weights, other.weights)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
