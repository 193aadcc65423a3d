"""The loop of gradient methods: torch's optimizer and scheduler as oracle, the schedule's closed form, what is recorded
and when, going on after a stop."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transformer_spectrum.losses import mse
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.blocks import hidden_blocks, matrix_blocks
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.optimizers.gradient.lion import Lion
from transformer_spectrum.optimizers.gradient.muon import Muon
from transformer_spectrum.optimizers.gradient.schedule import schedule_factor
from transformer_spectrum.optimizers.gradient.sgd import SGD
from transformer_spectrum.optimizers.gradient.soap import SOAP
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
RATE = 0.05


def searches(epochs=EPOCHS, weight_decay=0.0, **settings):
    return Descent(Adam(weight_decay=weight_decay, decoupled=True), epochs, RATE, **settings)


def ends(steps):
    """Those at the end of an epoch."""
    return [step for step in steps if step.index and step.ends_round]


def oracle(weights, generator, *, gradient_clip=0.0, weight_decay=0.0, warmup_epochs=0, schedule="constant"):
    """The weights after every epoch, by torch's AdamW, LambdaLR and clip_grad_norm_."""
    warmup, total = warmup_epochs * UPDATES, EPOCHS * UPDATES

    def factor(k):
        if k < warmup:
            return (k + 1) / warmup
        return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * (k - warmup) / (total - warmup)))

    objective, current = Bowl(), torch.nn.Parameter(weights.clone())
    optimizer = torch.optim.AdamW([current], lr=RATE, weight_decay=weight_decay, foreach=False, fused=False)
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
    steps = list(searches(**settings).steps(Bowl(), weights, torch.Generator().manual_seed(0)))
    oracles = list(oracle(weights, torch.Generator().manual_seed(0), **settings))
    assert len(ends(steps)) == EPOCHS
    for step, expected in zip(ends(steps), oracles, strict=True):
        torch.testing.assert_close(step.weights, expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(("updates", "inside"), [(1, []), (2, [1]), (4, [1, 2]), (5, [1, 2, 4]), (9, [1, 2, 4, 8])])
def test_the_first_epoch_is_recorded_after_powers_of_two_and_every_epoch_at_its_end(updates, inside):
    class Longer(Bowl):
        def epoch(self, generator):
            for _ in range(updates):
                yield self.batch(generator)

    steps = list(searches(3).steps(Longer(), torch.zeros(SIZE), torch.Generator().manual_seed(0)))
    assert [step.index for step in steps] == [0, *inside, updates, 2 * updates, 3 * updates]
    assert [step.index for step in steps if not step.ends_round] == inside
    assert [step.evaluations for step in steps] == [1 + 3 * step.index for step in steps]


def test_the_loss_of_a_record_is_the_mean_since_the_one_before_it_each_before_its_own_update():
    class Counted(Bowl):
        calls = 0

        def epoch(self, generator):
            yield from range(6)

        def gradient(self, weights, batch):
            self.calls += 1
            return float(self.calls), torch.full((SIZE,), float(self.calls))

    steps = list(searches(2).steps(Counted(), torch.zeros(SIZE), torch.Generator().manual_seed(0)))[1:]
    assert [step.index for step in steps] == [1, 2, 4, 6, 12]
    assert [step.loss for step in steps] == [1, 2, 3.5, 5.5, 9.5]
    norms = [step.scalars["gradient_norm"] for step in steps]
    assert norms == pytest.approx([step.loss * math.sqrt(SIZE) for step in steps])


def test_the_first_update_is_the_learning_rate_against_the_sign_of_the_gradient():
    class Once(Bowl):
        def epoch(self, generator):
            yield torch.full((SIZE,), 3.0)

    step = list(searches(1).steps(Once(), torch.zeros(SIZE), torch.Generator()))[1]
    torch.testing.assert_close(step.weights, torch.full((SIZE,), RATE))


def test_decay_takes_its_share_of_the_learning_rate_off_the_weights_whatever_the_gradient():
    class Flat(Bowl):
        def gradient(self, weights, batch):
            return 0.0, torch.zeros(SIZE)

    weights = torch.linspace(1, 2, SIZE)
    steps = list(searches(weight_decay=0.2).steps(Flat(), weights, torch.Generator()))
    torch.testing.assert_close(steps[-1].weights, weights * (1 - 0.05 * 0.2) ** (EPOCHS * UPDATES))


def test_a_large_gradient_is_clipped_to_the_given_norm():
    # With Adam's scale invariance clipping shows only when norms differ between updates.
    class Jump(Bowl):
        calls = 0

        def gradient(self, weights, batch):
            self.calls += 1
            return 1.0, torch.full((SIZE,), 1.0 if self.calls > 1 else 1e6)

    free, clipped = (
        list(searches(1, gradient_clip=norm).steps(Jump(), torch.zeros(SIZE), torch.Generator())) for norm in (0.0, 1.0)
    )
    assert clipped[-1].weights.abs().min() > 1.5 * free[-1].weights.abs().max()
    assert clipped[1].scalars["gradient_norm"] == free[1].scalars["gradient_norm"] > 1e6  # before clipping


def test_the_share_of_clipped_updates_is_a_curve_where_there_is_a_clip():
    class Alternating(Bowl):
        calls = 0

        def gradient(self, weights, batch):
            self.calls += 1
            return 1.0, torch.full((SIZE,), 0.1 if self.calls % 4 else 10.0)

    steps = list(searches(2, gradient_clip=1.0).steps(Alternating(), torch.zeros(SIZE), torch.Generator()))
    assert [step.scalars["clipped_share"] for step in steps[1:]] == [0, 0, 0.5, 0.25]  # updates 1, 2, 3-4, 5-8
    free = list(searches(2).steps(Alternating(), torch.zeros(SIZE), torch.Generator()))
    assert not any("clipped_share" in step.scalars for step in free)


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


def test_the_learning_rate_of_the_last_update_is_among_the_scalars():
    steps = list(searches(schedule="cosine").steps(Bowl(), torch.zeros(SIZE), torch.Generator()))[1:]
    rates = [step.scalars["learning_rate"] for step in steps]
    assert rates == [RATE * schedule_factor(step.index - 1, 0, EPOCHS * UPDATES, "cosine") for step in steps]


def network(dropout):
    generator = torch.Generator().manual_seed(0)
    model = Transformer(1, 8, 2, 1, 12, dropout, 2, generator)
    layout = Layout(model)
    context, target = torch.randn(22, 8, 1, generator=generator), torch.randn(22, 4, 1, generator=generator)
    return layout, layout.flatten(model), WindowObjective(model, layout, mse, context, target, 4, workers=2)


RULES = {
    "adam": Adam(),
    "adamw": Adam(weight_decay=0.1, decoupled=True),
    "sgd": SGD(nesterov=True, weight_decay=0.1),
    "lion": Lion(weight_decay=0.1),
    "muon": Muon(hidden_blocks(network(0.0)[0]), weight_decay=0.1),
    "soap": SOAP(matrix_blocks(network(0.0)[0]), weight_decay=0.1, every=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize(("name", "dropout"), [("adam", 0.3), *((name, 0.0) for name in RULES)])
def test_a_network_goes_on_from_any_record_as_if_never_stopped_bit_for_bit(name, dropout, at):
    search = Descent(RULES[name], 4, 0.01, gradient_clip=0.5, warmup_epochs=1, schedule="cosine")
    _, weights, objective = network(dropout)
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(1)
    steps = search.steps(objective, weights, generator)
    for step in itertools.islice(steps, at + 1):
        state, drawn, masks = step.state(), generator.get_state(), torch.get_rng_state()
    copies = {name: tensor.clone() for name, tensor in state.items()}
    assert step.index == [0, 1, 2, 4, 6, 12, 18][at]  # four of them inside the first epoch
    whole = list(steps)
    assert all(torch.equal(state[name], copies[name]) for name in copies)
    resumed, fresh = torch.Generator(), network(dropout)[2]
    resumed.set_state(drawn)
    torch.set_rng_state(masks)  # dropout draws from torch's own generator
    rest = list(search.steps(fresh, weights, resumed, state))
    assert len(rest) == len(whole) == 7 - at
    for step, expected in zip(rest, whole, strict=True):
        assert (step.index, step.evaluations, step.loss) == (expected.index, expected.evaluations, expected.loss)
        assert step.scalars == expected.scalars
        assert step.ends_round == expected.ends_round
        assert torch.equal(step.weights, expected.weights)
    assert all(torch.equal(state[name], copies[name]) for name in copies)
    assert torch.equal(resumed.get_state(), generator.get_state())
