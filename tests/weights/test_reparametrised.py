"""Weights that torch's reparametrizations compute are formed from a state dict as the live module forms them."""

import copy

import pytest
import torch
from states import in_use as of_state
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def shaken(module, seed=0):
    """The module after a training: its parameters are no longer what the reparametrization began with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def formed(module, prefix=""):
    return of_state({prefix + name: tensor for name, tensor in module.state_dict().items()})


def lines(of):
    return {skipped.name: skipped.reason for skipped in of.skipped}


MODULES = {
    "linear": lambda: nn.Linear(7, 5),
    "convolution": lambda: nn.Conv1d(4, 6, 3),
    "transposed convolution": lambda: nn.ConvTranspose2d(4, 6, 3),
    "square transposed convolution": lambda: nn.ConvTranspose1d(6, 6, 1),
    "embedding": lambda: nn.Embedding(9, 4),
    "one row": lambda: nn.Linear(7, 1),
    "one column": lambda: nn.Linear(1, 7),
}
OLD, NEW = nn.utils.weight_norm, parametrizations.weight_norm


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("apply", [OLD, NEW], ids=["old", "new"])
def test_weight_norm_of_any_axis_gives_the_weight_of_the_module(apply, dim, make):
    torch.manual_seed(0)
    module = shaken(apply(make(), dim=dim))
    in_use = formed(module, "layer.")
    g, v = (module.weight_g, module.weight_v) if apply is OLD else module.parametrizations.weight.parameters()
    axes = [axis for axis in range(v.ndim) if axis != dim]
    expected = (
        g * v / torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    )  # by the paper: torch's own kernel aborts for some of these
    torch.testing.assert_close(in_use.read("layer.weight"), expected.reshape(v.shape).detach())
    assert set(in_use.tensors) <= {"layer.weight", "layer.bias"}
    assert "weight_norm" in in_use.note("layer.weight")
    assert len(in_use.pieces("layer.weight")) == 2


def test_a_recurrent_weight_keeps_its_own_name():
    torch.manual_seed(0)
    module = shaken(OLD(nn.LSTM(3, 4), "weight_hh_l0"))
    in_use = formed(module, "rnn.")
    torch.testing.assert_close(
        in_use.read("rnn.weight_hh_l0"), torch._weight_norm(module.weight_hh_l0_v, module.weight_hh_l0_g, 0).detach()
    )
    assert in_use.pieces("rnn.weight_ih_l0") == ("rnn.weight_ih_l0",)


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("apply", [nn.utils.spectral_norm, parametrizations.spectral_norm], ids=["old", "new"])
def test_spectral_norm_gives_the_weight_of_the_module(apply, make):
    torch.manual_seed(0)
    module = apply(make())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    module(example(module))  # u and v follow
    module.eval()
    module(example(module))
    in_use = formed(module, "layer.")
    torch.testing.assert_close(in_use.read("layer.weight"), module.weight.detach(), rtol=1e-5, atol=1e-6)
    assert not in_use.skipped


def example(module):
    if isinstance(module, nn.Embedding):
        return torch.tensor([1, 2])
    inputs = module.in_features if isinstance(module, nn.Linear) else module.in_channels
    axes = {nn.Conv1d: 1, nn.ConvTranspose1d: 1, nn.ConvTranspose2d: 2}.get(
        next(kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules")), 0
    )
    return torch.randn(2, inputs, *(9,) * axes)


@pytest.mark.parametrize("parameter", ["weight", "in_proj_weight"])
def test_pruned_weights_are_the_original_times_the_mask(parameter):
    torch.manual_seed(0)
    module = nn.Linear(8, 6) if parameter == "weight" else nn.MultiheadAttention(8, 2)
    prune.random_unstructured(module, parameter, amount=0.5)
    prune.ln_structured(module, parameter, amount=0.25, n=2, dim=0)
    in_use = formed(module, "layer.")
    assert torch.equal(in_use.read(f"layer.{parameter}"), getattr(module, parameter).detach())
    assert not [name for name in in_use.tensors if name.endswith(("_orig", "_mask"))]


def test_a_pruned_direction_of_weight_norm_is_formed_in_two_steps():
    torch.manual_seed(0)
    module = OLD(nn.Linear(8, 6))
    mask = torch.ones(6, 8)
    mask[:, ::2] = 0
    prune.custom_from_mask(module, "weight_v", mask)
    in_use = formed(module)
    expected = torch._weight_norm(module.weight_v_orig * mask, module.weight_g, 0).detach()
    torch.testing.assert_close(in_use.read("weight"), expected)
    assert set(in_use.pieces("weight")) == {"weight_g", "weight_v_orig", "weight_v_mask"}


def test_a_mask_of_the_shape_of_the_weight_beside_it_is_applied_and_one_of_other_numbers_is_not():
    weight = torch.randn(6, 8)
    mask = (torch.arange(48).reshape(6, 8) % 3 > 0).float()
    assert torch.equal(of_state({"made.weight": weight, "made.mask": mask}).read("made.weight"), weight * mask)
    with pytest.raises(ValueError, match="other numbers than 0 and 1"):
        of_state({"made.weight": weight, "made.mask": mask - 2}).read("made.weight")


@pytest.mark.parametrize("scores", ["mask_scores", "popup_scores"])
def test_a_weight_under_scores_is_left_out_with_them(scores):
    in_use = of_state({"fc.weight": torch.randn(6, 8), f"fc.{scores}": torch.randn(6, 8), "b.weight": torch.ones(4, 4)})
    assert set(in_use.tensors) == {"b.weight"}
    assert all("act by their scores" in reason for reason in lines(in_use).values())
    assert in_use.left_out_weights == 48


@pytest.mark.parametrize("shape", [(6, 6), (4, 7), (7, 4)])
@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
def test_orthogonal_weights_have_singular_values_of_one_and_are_the_modules_by_the_usual_map(shape, orthogonal_map):
    torch.manual_seed(0)
    module = parametrizations.orthogonal(nn.Linear(*shape, bias=False), orthogonal_map=orthogonal_map)
    with torch.no_grad():
        module.parametrizations.weight.original.add_(0.2 * torch.randn(shape[::-1]).tril(-1))
    weight = formed(module, "layer.").read("layer.weight").float()
    torch.testing.assert_close(torch.linalg.svdvals(weight), torch.ones(min(shape)))
    usual = "matrix_exp" if shape[0] == shape[1] else "householder"
    if orthogonal_map in (None, usual):
        torch.testing.assert_close(weight, module.weight.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley"])
def test_a_square_orthogonal_weight_is_formed_whatever_has_happened_to_the_diagonal_of_its_original(orthogonal_map):
    torch.manual_seed(0)
    module = parametrizations.orthogonal(nn.Linear(6, 6, bias=False), orthogonal_map=orthogonal_map)
    with torch.no_grad():
        module.parametrizations.weight.original.mul_(0.99).add_(0.1 * torch.randn(6, 6))
    in_use = formed(module, "layer.")
    weight = in_use.read("layer.weight").float()
    torch.testing.assert_close(torch.linalg.svdvals(weight), torch.linalg.svdvals(module.weight.detach()))
    assert "the file does not name the map" in in_use.note("layer.weight")
    if orthogonal_map != "cayley":
        torch.testing.assert_close(weight, module.weight.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_an_orthogonal_original_whose_diagonal_has_decayed_is_left_out_since_its_maps_differ_then(shape):
    torch.manual_seed(0)
    module = parametrizations.orthogonal(nn.Linear(*shape, bias=False), orthogonal_map="householder")
    with torch.no_grad():
        module.parametrizations.weight.original.mul_(0.99)
    assert torch.linalg.svdvals(module.weight)[-1] < 0.5, "Householder's columns are cut off"
    with pytest.raises(ValueError, match="its maps make different weights"):
        formed(module, "layer.").read("layer.weight")


class Symmetric(nn.Module):
    def forward(self, original):
        return original.triu() + original.triu(1).mT


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([2.0]))

    def forward(self, original):
        return original * self.gain


UNKNOWN = {
    "a function that keeps nothing": lambda module: parametrize.register_parametrization(module, "weight", Symmetric()),
    "a function of one's own": lambda module: parametrize.register_parametrization(module, "weight", Scaled()),
    "orthogonal without its base": lambda module: parametrizations.orthogonal(module, use_trivialization=False),
    "a function that keeps nothing before a known one": lambda module: parametrizations.spectral_norm(
        parametrize.register_parametrization(module, "weight", Symmetric())
    ),
    "weight_norm before one's own": lambda module: parametrize.register_parametrization(
        NEW(module), "weight", Scaled()
    ),
}


@pytest.mark.parametrize("apply", UNKNOWN.values(), ids=UNKNOWN)
def test_what_no_file_tells_is_left_out_with_its_reason(apply):
    in_use = formed(apply(nn.Linear(6, 6)), "layer.")
    assert set(in_use.tensors) == {"layer.bias"}
    assert all("parametrization" in reason for reason in lines(in_use).values())
    assert in_use.left_out_weights == 36


def test_chained_parametrizations_are_applied_in_their_order():
    torch.manual_seed(0)
    module = parametrizations.spectral_norm(NEW(nn.Linear(6, 4))).eval()
    with torch.no_grad():
        module.parametrizations.weight.original0.mul_(3.0)
    in_use = formed(module)
    torch.testing.assert_close(in_use.read("weight"), module.weight.detach())
    assert in_use.note("weight").index("weight_norm") < in_use.note("weight").index("spectral_norm")


def test_an_original_without_its_rule_or_with_vectors_of_another_shape_is_left_out():
    original = torch.randn(5, 7)
    for beside in ({}, {"fc.weight_u": torch.ones(4), "fc.weight_v": torch.ones(7)}):
        in_use = of_state({"fc.weight_orig": original, **beside})
        assert "fc.weight" not in in_use.tensors
        assert "fc.weight_orig" in lines(in_use)
    beside = of_state({"fc.weight_orig": original, "fc.weight": original / 2, "fc.weight_u": torch.ones(5)})
    assert torch.equal(beside.read("fc.weight"), original / 2)
    assert "lies beside it" in lines(beside)["fc.weight_orig"]


def test_a_weight_that_training_drops_entries_of_is_its_raw_form():
    lstm = {f"rnn.module.{name}": tensor for name, tensor in nn.LSTM(3, 4).state_dict().items()}
    raw = torch.randn(16, 4)
    for state in ({**lstm, "rnn.weight_hh_l0_raw": raw}, {"rnn.module.weight_hh_l0_raw": raw}):
        in_use = of_state(state)
        assert torch.equal(in_use.read("rnn.module.weight_hh_l0"), raw)
        assert "rnn.weight_hh_l0_raw" not in in_use.tensors


def test_names_that_only_look_like_weight_norm_stay_as_they_are():
    state = {"attention.weight_v": torch.randn(4, 4), "attention.weight_g": torch.randn(4, 4), "w_v": torch.randn(4, 4)}
    in_use = of_state(state)
    assert set(in_use.tensors) == set(state)
    odd = of_state({"fc.weight_v": torch.randn(4, 6), "fc.weight_g": torch.ones(3, 1)})
    assert not odd.tensors
    assert "which torch never makes" in lines(odd)["fc.weight_v"]


def test_the_pieces_never_change():
    module = OLD(nn.Linear(5, 4))
    before = copy.deepcopy(module.state_dict())
    formed(module).read("weight")
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
