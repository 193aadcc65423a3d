"""Both models: no target leak, caching equals recomputing, populations equal single networks, torch as oracle."""

import math
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.models.lstm import GATES, LSTM
from transformer_spectrum.models.transformer import Transformer, sinusoidal_positions

CONTEXT, HORIZON = 24, 12


def make(kind: str, patch: int = 1, features: int = 1, dropout: float = 0.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    if kind == "lstm":
        return LSTM(features, 12, 2, dropout, patch, generator)
    return Transformer(features, 16, 4, 2, 24, dropout, patch, generator)


def data(features: int = 1, batch: int = 3):
    generator = torch.Generator().manual_seed(9)
    return (
        torch.randn(batch, CONTEXT, features, generator=generator),
        torch.randn(batch, HORIZON, features, generator=generator),
    )


both = pytest.mark.parametrize("kind", ["transformer", "lstm"])
patches = pytest.mark.parametrize("patch", [1, 3, 4])


@both
@patches
@pytest.mark.parametrize("step", range(HORIZON))
def test_output_does_not_see_the_target_it_predicts(kind, patch, step):
    model, (context, target) = make(kind, patch), data()
    before = model(context, target)
    moved = target.clone()
    moved[:, step] += 3.0
    change = (model(context, moved) - before).abs().amax(dim=(0, 2))
    next_token = (step // patch + 1) * patch
    assert change[:next_token].max() == 0
    if next_token < HORIZON:
        assert change[next_token:].min() > 0  # and it does use what came before


@both
def test_output_sees_the_whole_context(kind):
    model, (context, target) = make(kind), data()
    context.requires_grad_()
    (gradient,) = torch.autograd.grad(model(context, target)[:, 0].sum(), context)
    assert (gradient.abs().amax(dim=(0, 2)) > 0).all()


@both
@patches
@pytest.mark.parametrize("features", [1, 2])
def test_forecast_with_kept_state_equals_feeding_back_by_full_passes(kind, patch, features):
    model, (context, target) = make(kind, patch, features), data(features)
    fed = torch.zeros_like(target)
    for token in range(HORIZON // patch):
        piece = slice(token * patch, (token + 1) * patch)
        fed[:, piece] = model(context, fed)[:, piece].detach()
    torch.testing.assert_close(model.forecast(context, HORIZON), fed, atol=1e-5, rtol=1e-4)


@both
@pytest.mark.parametrize("batch", [1, 3])
def test_a_weight_that_is_no_number_is_seen_in_every_forecast(kind, batch):
    model, (context, target) = make(kind), data(batch=batch)
    for parameter in model.parameters():
        sound = parameter.detach().clone()
        parameter.data.fill_(math.nan)
        assert not model(context, target).flatten(1).isfinite().all(1).any()
        assert not model.forecast(context, HORIZON).flatten(1).isfinite().all(1).any()
        parameter.data.copy_(sound)


@both
def test_forecast_does_not_depend_on_training_mode_and_leaves_it(kind):
    model, (context, _) = make(kind, dropout=0.5), data()
    model.eval()
    quiet = model.forecast(context, HORIZON)
    model.train()
    assert torch.equal(model.forecast(context, HORIZON), quiet)
    assert model.training


@both
def test_dropout_acts_in_training_mode_only(kind):
    model, (context, target) = make(kind, dropout=0.5), data()
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model(context, target), model(context, target))
    model.eval()
    assert torch.equal(model(context, target), model(context, target))


@both
@patches
def test_a_population_gives_each_member_what_the_plain_model_gives_it(kind, patch):
    model, (context, target) = make(kind, patch), data()
    layout = Layout(model)
    flat = layout.flatten(model)
    population = flat + 0.1 * torch.randn(5, layout.size, generator=torch.Generator().manual_seed(1))
    together = model.predict(layout.views(population), context, target)
    rolled = model.roll_out(layout.views(population), context, HORIZON)
    assert together.shape == (5, *target.shape)
    for member, output, free in zip(population, together, rolled, strict=True):
        layout.load(model, member)
        torch.testing.assert_close(output, model(context, target), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(free, model.forecast(context, HORIZON), atol=1e-5, rtol=1e-5)


@both
def test_flat_weights_round_trip_and_their_views_share_memory(kind):
    model = make(kind)
    layout = Layout(model)
    flat = layout.flatten(model)
    assert flat.numel() == layout.size == sum(p.numel() for p in model.parameters())
    views = layout.views(flat)
    for name, parameter in model.named_parameters():
        assert torch.equal(views[name], parameter)
    flat.zero_()
    assert all((view == 0).all() for view in views.values())
    layout.load(model, flat)
    assert all((p == 0).all() for p in model.parameters())


@both
def test_the_seed_decides_the_initial_weights(kind):
    one, same, other = make(kind), make(kind), make(kind, seed=1)
    layout = Layout(one)
    assert torch.equal(layout.flatten(one), layout.flatten(same))
    assert not torch.equal(layout.flatten(one), layout.flatten(other))


@both
def test_a_patch_that_does_not_divide_is_refused(kind):
    model, (context, target) = make(kind, patch=5), data()
    with pytest.raises(ValueError, match=r"model\.patch_length = 5"):
        model(context, target)
    with pytest.raises(ValueError, match=r"model\.patch_length = 5"):
        model.forecast(context[:, :20], HORIZON)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"model\.heads = 5"):
        Transformer(1, 16, 5, 1, 8, 0.0, 1, torch.Generator())


def copy_attention(ours, name: str, theirs: nn.MultiheadAttention) -> None:
    parts = [ours[f"{name}.{part}.weight"] for part in ("query", "key", "value")]
    theirs.in_proj_weight.copy_(torch.cat(parts))
    theirs.in_proj_bias.copy_(torch.cat([ours[f"{name}.{part}.bias"] for part in ("query", "key", "value")]))
    theirs.out_proj.weight.copy_(ours[f"{name}.output.weight"])
    theirs.out_proj.bias.copy_(ours[f"{name}.output.bias"])


def copy_layer(ours, name: str, theirs, norms: tuple[str, ...]) -> None:
    copy_attention(ours, f"{name}.self_attention", theirs.self_attn)
    if "cross_norm" in norms:
        copy_attention(ours, f"{name}.cross_attention", theirs.multihead_attn)
    pairs = [("feed_forward.expand", theirs.linear1), ("feed_forward.contract", theirs.linear2)]
    pairs += [(norm, getattr(theirs, f"norm{i + 1}")) for i, norm in enumerate(norms)]
    for part, module in pairs:
        module.weight.copy_(ours[f"{name}.{part}.weight"])
        module.bias.copy_(ours[f"{name}.{part}.bias"])


def test_the_transformer_is_torchs_transformer_with_separate_matrices():
    model, (context, target) = make("transformer", patch=3), data()
    layout = Layout(model)
    flat = layout.flatten(model) + 0.1 * torch.randn(layout.size, generator=torch.Generator().manual_seed(2))
    layout.load(model, flat)
    ours = model.state_dict()
    oracle = nn.Transformer(16, 4, 2, 2, 24, dropout=0.0, batch_first=True)
    with torch.no_grad():
        for i in range(2):
            copy_layer(ours, f"encoder.{i}", oracle.encoder.layers[i], ("self_norm", "feed_norm"))
            copy_layer(ours, f"decoder.{i}", oracle.decoder.layers[i], ("self_norm", "cross_norm", "feed_norm"))
        for name in ("encoder", "decoder"):
            getattr(oracle, name).norm.weight.copy_(ours[f"{name}_norm.weight"])
            getattr(oracle, name).norm.bias.copy_(ours[f"{name}_norm.bias"])
        given, wanted = model.tokens(context), model.tokens(target)
        source = model.context_embedding(given) + sinusoidal_positions(8, 16)
        shifted = model.target_embedding(model.shifted(given, wanted)) + sinusoidal_positions(4, 16)
        mask = nn.Transformer.generate_square_subsequent_mask(4)
        output = model.steps(model.readout(oracle(source, shifted, tgt_mask=mask)))
    torch.testing.assert_close(model(context, target), output, atol=2e-6, rtol=1e-5)


def test_the_lstm_is_torchs_lstm():
    model, (context, target) = make("lstm", patch=3), data()
    ours = model.state_dict()
    outputs, state = model.tokens(context), None
    with torch.no_grad():
        for side in ("encoder", "decoder"):
            oracle = nn.LSTM(3, 12, 2, batch_first=True)
            for i in range(2):
                getattr(oracle, f"weight_ih_l{i}").copy_(ours[f"{side}.{i}.input.weight"])
                getattr(oracle, f"bias_ih_l{i}").copy_(ours[f"{side}.{i}.input.bias"])
                getattr(oracle, f"weight_hh_l{i}").copy_(ours[f"{side}.{i}.state.weight"])
                getattr(oracle, f"bias_hh_l{i}").copy_(ours[f"{side}.{i}.state.bias"])
            read = outputs if side == "encoder" else model.shifted(model.tokens(context), model.tokens(target))
            outputs, state = oracle(read, state)
        output = model.steps(model.readout(outputs))
    torch.testing.assert_close(model(context, target), output, atol=2e-6, rtol=1e-5)


def test_positions_are_those_of_the_paper():
    table = sinusoidal_positions(50, 6)
    assert table[7, 2].item() == pytest.approx(math.sin(7 / 10000 ** (2 / 6)), abs=1e-6)
    assert table[7, 3].item() == pytest.approx(math.cos(7 / 10000 ** (2 / 6)), abs=1e-6)
    assert sinusoidal_positions(5, 7).shape == (5, 7)


def test_the_transformer_names_every_weight_matrix_once():
    model = make("transformer")
    names = {spec.name for spec in model.matrices()}
    assert len(names) == len(model.matrices()) == 2 * 6 + 2 * 10 + 3
    for i in range(2):
        for part in ("query", "key", "value", "output"):
            assert f"encoder.{i}.self_attention.{part}" in names
            assert f"decoder.{i}.cross_attention.{part}" in names
    families = {spec.family.label for spec in model.matrices()}
    assert families == {
        "embedding",
        "encoder_self_attention",
        "decoder_self_attention",
        "decoder_cross_attention",
        "feed_forward",
        "readout",
    }


def test_the_lstm_names_every_gate_once():
    model = make("lstm")
    specs = model.matrices()
    assert len({spec.name for spec in specs}) == len(specs) == 2 * 2 * 2 * len(GATES) + 1
    weights = model.state_dict()
    gates = [spec for spec in specs if spec.name.startswith("encoder.0.state.")]
    torch.testing.assert_close(torch.cat([spec.of(weights) for spec in gates]), weights["encoder.0.state.weight"])


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors alive that were made inside, by their storages."""

    def __init__(self, known):
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.sizes, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, list | tuple) else [made]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.known and storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.sizes.values()))
        return made


@both
@pytest.mark.parametrize(("context", "horizon", "patch"), [(240, 60, 12), (240, 60, 2), (24, 96, 4)])
@pytest.mark.parametrize("members", [1, 4])
def test_no_more_is_held_at_once_than_the_model_says_and_half_of_it_is(kind, context, horizon, patch, members):
    model = make(kind, patch)
    layout = Layout(model)
    views = layout.views(
        layout.flatten(model).expand(members, -1).contiguous() if members > 1 else layout.flatten(model)
    )
    given, wanted = torch.randn(16, context, 1), torch.randn(16, horizon, 1)
    positions = [model._positions] if kind == "transformer" else []
    model.eval()
    with torch.no_grad(), Live([*views.values(), given, wanted, *positions]) as live:
        model.predict(views, given, wanted)
    stated = 4 * members * 16 * model.activations(context, horizon)
    assert 0.5 * stated < live.peak <= stated


def test_a_forecaster_without_arithmetic_cannot_be_made():
    with pytest.raises(TypeError, match="predict"):
        Forecaster(1, 1)
