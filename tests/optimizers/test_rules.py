"""Update rules: every one of 50 updates against torch.optim, or against the published algorithm written down here."""

import math

import pytest
import torch

from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.blocks import Block, Partition, hidden_blocks, matrix_blocks
from transformer_spectrum.optimizers.gradient.lion import Lion
from transformer_spectrum.optimizers.gradient.muon import Muon, orthogonalised
from transformer_spectrum.optimizers.gradient.sgd import SGD
from transformer_spectrum.optimizers.gradient.soap import SOAP
from transformer_spectrum.weights.matrices.families import GATES

UPDATES, RATE = 50, 0.02
SHAPES = [(6,), (4, 6), (6, 4), (6, 4), (3,), (5, 5)]  # vectors and matrices, wide, tall and square, of one flat vector
SIZES = [math.prod(shape) for shape in SHAPES]
SIZE = sum(SIZES)
BLOCKS = tuple(Block(sum(SIZES[:i]), shape) for i, shape in enumerate(SHAPES) if len(shape) == 2)
SCALE = torch.logspace(-2, 2, SIZE)  # so that gradients of very different sizes meet


def gradient(weights, k):
    """Of a quadratic bowl whose centre moves from update to update."""
    centre = torch.randn(SIZE, generator=torch.Generator().manual_seed(k))
    return SCALE.to(weights) * (weights - centre.to(weights))


def start(dtype=torch.float32):
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(1000)).to(dtype)


def trajectory(rule, weights, rate=RATE, updates=UPDATES):
    state, path = rule.initial(weights), []
    for k in range(updates):
        weights, state = rule.update(weights, gradient(weights, k), state, rate)
        path.append(weights)
    return torch.stack(path)


def torchs(make, weights, split=False, updates=UPDATES):
    """The same by an optimizer of torch, on the flat vector or on parameters of their own shapes."""
    pieces = weights.split(SIZES) if split else [weights]
    shapes = SHAPES if split else [(SIZE,)]
    parameters = [torch.nn.Parameter(piece.clone().reshape(shape)) for piece, shape in zip(pieces, shapes, strict=True)]
    optimizers, path = make(parameters), []
    for k in range(updates):
        flat = torch.cat([parameter.detach().flatten() for parameter in parameters])
        gradients = gradient(flat, k).split([parameter.numel() for parameter in parameters])
        for parameter, values in zip(parameters, gradients, strict=True):
            parameter.grad = values.reshape(parameter.shape).clone()
        for optimizer in optimizers:
            optimizer.step()
        path.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    return torch.stack(path)


SGD_RATE = 0.002  # the bowl's largest curvature is 100
ORACLES = {
    "sgd": (SGD(momentum=0.0), SGD_RATE, torch.optim.SGD, {}),
    "sgd decay": (SGD(momentum=0.0, weight_decay=0.3), SGD_RATE, torch.optim.SGD, {"weight_decay": 0.3}),
    "momentum": (SGD(momentum=0.8), SGD_RATE, torch.optim.SGD, {"momentum": 0.8}),
    "nesterov": (SGD(0.8, nesterov=True), SGD_RATE, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "all of sgd": (
        SGD(0.8, True, 0.3),
        SGD_RATE,
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
    ),
    "adam": (Adam(), RATE, torch.optim.Adam, {}),
    "adam betas": (Adam(0.7, 0.95), RATE, torch.optim.Adam, {"betas": (0.7, 0.95)}),
    "adam decay": (Adam(weight_decay=0.3), RATE, torch.optim.Adam, {"weight_decay": 0.3}),
    "adamw": (Adam(weight_decay=0.01, decoupled=True), RATE, torch.optim.AdamW, {}),
    "adamw betas": (
        Adam(0.7, 0.95, 0.3, decoupled=True),
        RATE,
        torch.optim.AdamW,
        {"betas": (0.7, 0.95), "weight_decay": 0.3},
    ),
    "adam without momentum": (Adam(beta1=0.0), RATE, torch.optim.Adam, {"betas": (0.0, 0.999)}),
}


@pytest.mark.parametrize("name", ORACLES)
def test_every_update_is_torchs_to_float_precision(name):
    rule, rate, kind, settings = ORACLES[name]
    expected = torchs(lambda parameters: [kind(parameters, lr=rate, foreach=False, **settings)], start())
    torch.testing.assert_close(trajectory(rule, start(), rate), expected, rtol=2e-5, atol=2e-6)
    double = torchs(lambda parameters: [kind(parameters, lr=rate, foreach=False, **settings)], start(torch.float64))
    torch.testing.assert_close(trajectory(rule, start(torch.float64), rate), double, rtol=1e-10, atol=1e-12)


def test_adam_without_momentum_is_rmsprop_with_the_bias_taken_off():
    # RMSProp divides by sqrt(v), v = alpha v + (1 - alpha) g^2 from 0; its bias is the factor 1 - alpha^k of v.
    alpha, weights, square = 0.95, start(torch.float64), torch.zeros(SIZE, dtype=torch.float64)
    path = []
    for k in range(UPDATES):
        slope = gradient(weights, k)
        square = alpha * square + (1 - alpha) * slope**2
        weights = weights - RATE * slope / (torch.sqrt(square / (1 - alpha ** (k + 1))) + 1e-8)
        path.append(weights)
    expected = torch.stack(path)
    torch.testing.assert_close(trajectory(Adam(0.0, alpha), start(torch.float64)), expected, rtol=1e-10, atol=1e-12)
    # Without the correction it is torch's own RMSprop: after one update it differs by sqrt(1 - alpha) exactly.
    first = torchs(lambda parameters: [torch.optim.RMSprop(parameters, lr=RATE, alpha=alpha)], start(torch.float64))[0]
    ratio = (first - start(torch.float64)) / (expected[0] - start(torch.float64))
    torch.testing.assert_close(ratio, torch.full_like(ratio, (1 - alpha) ** -0.5), rtol=1e-3, atol=0)


def lion(weights, beta1, beta2, weight_decay, rate):
    """Chen et al. (2023), algorithm 2, line by line."""
    mean, path = torch.zeros_like(weights), []
    for k in range(UPDATES):
        slope = gradient(weights, k)
        update = beta1 * mean + (1 - beta1) * slope
        weights = weights - rate * (torch.sign(update) + weight_decay * weights)
        mean = beta2 * mean + (1 - beta2) * slope
        path.append(weights)
    return torch.stack(path)


@pytest.mark.parametrize("settings", [(0.9, 0.99, 0.0), (0.95, 0.98, 1.0), (0.0, 0.5, 0.1)])
def test_every_update_is_that_of_lions_paper(settings):
    expected = lion(start(torch.float64), *settings, RATE)
    torch.testing.assert_close(trajectory(Lion(*settings), start(torch.float64)), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(trajectory(Lion(*settings), start()), expected.float(), rtol=1e-4, atol=1e-5)


def muon_and_adamw(weight_decay):
    def make(parameters):
        matrices = [parameter for parameter in parameters if parameter.ndim == 2]
        others = [parameter for parameter in parameters if parameter.ndim == 1]
        by_muon = torch.optim.Muon(matrices, lr=RATE, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        return [by_muon, torch.optim.AdamW(others, lr=RATE, weight_decay=weight_decay)]

    return make


def in_own_precision(matrix, coefficients, iterations, eps):
    """torch's `_zeropower_via_newtonschulz` without its bfloat16, written anew by its formula."""
    a, b, c = coefficients
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / max(float(x.square().sum().sqrt()), eps)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_every_update_is_that_of_torchs_muon_with_the_same_iteration_in_float32(weight_decay, monkeypatch):
    monkeypatch.setattr(torch.optim._muon, "_zeropower_via_newtonschulz", in_own_precision)
    expected = torchs(muon_and_adamw(weight_decay), start(), split=True)
    ours = trajectory(Muon(BLOCKS, weight_decay=weight_decay), start())
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_it_is_torchs_muon_as_it_comes_within_that_precision():
    expected = torchs(muon_and_adamw(0.1), start(), split=True)
    in_bfloat16 = trajectory(Muon(BLOCKS, weight_decay=0.1, precision="bfloat16"), start())
    torch.testing.assert_close(in_bfloat16[0], expected[0], rtol=0.0, atol=2e-2 * RATE)
    assert float((in_bfloat16 - expected).abs().max()) < 0.2 * RATE * UPDATES
    assert float((trajectory(Muon(BLOCKS, weight_decay=0.1), start())[0] - expected[0]).abs().max()) < 0.1 * RATE


def test_orthogonalised_singular_vectors_stay_and_singular_values_follow_the_polynomial():
    matrix = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.square().sum(1, keepdim=True).sqrt()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    expected = u @ torch.diag_embed(s) @ v
    torch.testing.assert_close(orthogonalised(matrix, torch.float64), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(orthogonalised(matrix.mT, torch.float64), expected.mT, rtol=1e-9, atol=1e-9)


def test_the_update_of_a_matrix_has_the_root_mean_square_of_adamws():
    shape = (64, 128)
    weights, rule = torch.zeros(math.prod(shape)), Muon((Block(0, shape),))
    slope = torch.randn(math.prod(shape), generator=torch.Generator().manual_seed(0))
    moved, _ = rule.update(weights, slope, rule.initial(weights), 1.0)
    assert 0.14 < float(moved.square().mean().sqrt()) < 0.24


def soap(weights, slopes, rate, beta, weight_decay, every, bases):
    """Vyas et al. (2024), algorithm 3, for one matrix from its second update on, line by line.

    Args:
        bases: eigenvectors of the preconditioners after the first update, whose signs and order among equal
            eigenvalues no algorithm fixes.
    """
    q_left, q_right = bases
    left, right = (1 - beta) * slopes[0] @ slopes[0].T, (1 - beta) * slopes[0].T @ slopes[0]
    mean, square, path = torch.zeros_like(weights), torch.zeros_like(weights), []
    for t, slope in enumerate(slopes[1:], start=1):
        turned = q_left.T @ slope @ q_right
        mean = beta * mean + (1 - beta) * slope
        square = beta * square + (1 - beta) * turned**2
        step = q_left @ ((q_left.T @ mean @ q_right) / (torch.sqrt(square) + 1e-8)) @ q_right.T
        weights = weights - rate * math.sqrt(1 - beta**t) / (1 - beta**t) * step
        weights = weights - rate * weight_decay * weights
        left = beta * left + (1 - beta) * slope @ slope.T
        right = beta * right + (1 - beta) * slope.T @ slope
        if t % every == 0:
            by_rows = torch.diag(q_left.T @ left @ q_left).argsort(descending=True)
            by_columns = torch.diag(q_right.T @ right @ q_right).argsort(descending=True)
            q_left = torch.linalg.qr(left @ q_left[:, by_rows]).Q
            q_right = torch.linalg.qr(right @ q_right[:, by_columns]).Q
            square = square[by_rows][:, by_columns]
        path.append(weights)
    return torch.stack(path)


@pytest.mark.parametrize(("shape", "every"), [((5, 5), 4), ((4, 6), 1), ((6, 4), 10)])
def test_every_update_is_that_of_soaps_paper(shape, every):
    size, generator = math.prod(shape), torch.Generator().manual_seed(2)
    scale = torch.logspace(-1, 1, size, dtype=torch.float64).reshape(shape)
    slopes = scale * torch.randn(UPDATES, *shape, generator=generator, dtype=torch.float64)
    # A vector in front and one behind, by Adam from the second update on.
    rule = SOAP((Block(3, shape),), 0.9, 0.9, weight_decay=0.1, every=every)
    weights = torch.linspace(-1, 1, size + 5, dtype=torch.float64)
    outer = torch.randn(UPDATES, 5, generator=generator, dtype=torch.float64)
    gradients = torch.cat([outer[:, :3], slopes.flatten(1), outer[:, 3:]], 1)
    state, path, bases, start_of = rule.initial(weights), [], (), None
    for k, slope in enumerate(gradients):
        weights, state = rule.update(weights, slope, state, RATE)
        if k == 0:
            torch.testing.assert_close(
                weights, (torch.linspace(-1, 1, size + 5, dtype=torch.float64) - RATE * slope.sign()) * (1 - RATE * 0.1)
            )
            bases = tuple(state[f"{side}_basis {shape[0]} {shape[1]}"][0] for side in ("left", "right"))
            start_of = weights
        else:
            path.append(weights)
    for basis, square in zip(bases, (slopes[0] @ slopes[0].T, slopes[0].T @ slopes[0]), strict=True):
        torch.testing.assert_close(basis.T @ basis, torch.eye(len(basis), dtype=torch.float64))
        values = basis.T @ square @ basis
        torch.testing.assert_close(values, torch.diag(torch.linalg.eigvalsh(square).flip(0)), rtol=0, atol=1e-9)
    path = torch.stack(path)
    matrix = start_of[3 : 3 + size].reshape(shape)
    expected = soap(matrix, slopes, RATE, 0.9, 0.1, every, bases)
    torch.testing.assert_close(path[:, 3 : 3 + size].unflatten(1, shape), expected, rtol=1e-6, atol=1e-8)
    adam = Adam(0.9, 0.9)
    vectors, memory = torch.cat([start_of[:3], start_of[3 + size :]]), adam.initial(torch.zeros(5, dtype=torch.float64))
    for k in range(1, UPDATES):
        vectors, memory = adam.update(vectors, outer[k], memory, RATE)
        vectors = vectors * (1 - RATE * 0.1)
        ours = torch.cat([path[k - 1, :3], path[k - 1, 3 + size :]])
        torch.testing.assert_close(ours, vectors, rtol=1e-5, atol=1e-6)


RULES = {
    "adam": Adam(weight_decay=0.1),
    "adamw": Adam(weight_decay=0.1, decoupled=True),
    "sgd": SGD(0.8, True, 0.1),
    "plain sgd": SGD(0.0),
    "lion": Lion(weight_decay=0.1),
    "muon": Muon(BLOCKS, weight_decay=0.1),
    "soap": SOAP(BLOCKS, weight_decay=0.1, every=4),
}
every = pytest.mark.parametrize("name", RULES)


@every
@pytest.mark.parametrize("rates", [0.001, (0.001, 0.002, 0.0005)])
def test_members_are_trained_side_by_side_as_each_alone_with_its_own_rate(name, rates):
    rule, members = RULES[name], 3
    each = [rates] * members if isinstance(rates, float) else list(rates)
    rate = rates if isinstance(rates, float) else torch.tensor(rates).unsqueeze(1)
    together = torch.stack([start() * (member + 1) for member in range(members)])
    alone = [trajectory(rule, weights, each[member]) for member, weights in enumerate(together)]
    path = trajectory(rule, together, rate)
    assert path.shape == (UPDATES, members, SIZE)
    torch.testing.assert_close(path, torch.stack(alone, 1), rtol=1e-3, atol=1e-4)


@every
def test_a_rule_changes_none_of_the_tensors_that_it_is_given(name):
    rule, weights = RULES[name], start()
    state = rule.initial(weights)
    for k in range(3):
        slope = gradient(weights, k)
        given = {**state, "weights": weights, "gradient": slope}
        copies = {name: tensor.clone() for name, tensor in given.items()}
        weights, state = rule.update(weights, slope, state, 0.01)
        assert all(torch.equal(given[name], copies[name]) for name in given)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())


def test_nesterovs_momentum_without_momentum_is_an_error():
    with pytest.raises(ValueError, match="needs momentum > 0"):
        SGD(momentum=0.0, nesterov=True)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_the_blocks_are_the_matrices_of_the_model_gate_by_gate(kind):
    generator = torch.Generator().manual_seed(0)
    model = LSTM(1, 8, 2, 0.0, 4, generator) if kind == "lstm" else Transformer(1, 8, 2, 2, 12, 0.0, 4, generator)
    layout = Layout(model)
    flat = layout.flatten(model)
    weights, matrices = layout.views(flat), model.matrices()
    blocks = matrix_blocks(layout)
    assert len(blocks) == len(matrices)
    for block, matrix in zip(blocks, matrices, strict=True):
        assert torch.equal(flat[block.start : block.stop].unflatten(0, block.shape), matrix.of(weights))
    names = {matrix.name for matrix in matrices}
    outer = {name for name in names if name in ("readout", "context_embedding", "target_embedding")}
    assert len(hidden_blocks(layout)) == len(names - outer) == {"transformer": 24 + 8, "lstm": 4 * 2 * 4}[kind]
    assert kind == "transformer" or all(any(name.endswith(gate) for gate in GATES) for name in names - outer)


def test_a_partition_puts_together_what_it_took_apart():
    partition, vectors = Partition(BLOCKS, SIZE), torch.arange(2.0 * SIZE).unflatten(0, (2, SIZE))
    stacks, rest = partition.split(vectors)
    assert {shape: stack.shape for shape, stack in stacks.items()} == {
        (4, 6): (2, 1, 4, 6),
        (6, 4): (2, 2, 6, 4),
        (5, 5): (2, 1, 5, 5),
    }
    assert rest.shape == (2, 9)
    assert torch.equal(partition.join(stacks, rest), vectors)
