"""One vocabulary: a matrix is of the same family wherever it is met, and of the class of its family and shape."""

import pytest
import torch
from torch import nn

import transformer_spectrum as ts
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.weights.anatomy.dissection import dissect
from transformer_spectrum.weights.matrices.families import BLOCKS, Family, moving_families, moving_family
from transformer_spectrum.weights.matrices.heads import heads
from transformer_spectrum.weights.matrices.shapes import shape_classes


def forecaster(architecture):
    generator = torch.Generator().manual_seed(0)
    if architecture == "lstm":
        return LSTM(features=2, hidden=6, layers=2, dropout=0.0, patch_length=3, generator=generator)
    return Transformer(2, 8, heads=2, layers=2, feedforward_dim=12, dropout=0.0, patch_length=3, generator=generator)


ARCHITECTURES = pytest.mark.parametrize("architecture", ["transformer", "lstm"])


@ARCHITECTURES
@pytest.mark.parametrize("prefix", ["", "module.", "net.forecaster."])
def test_a_module_and_its_state_dict_hold_the_same_matrices_of_the_same_families(architecture, prefix):
    model = forecaster(architecture)
    weights = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    read = dissect({name: tuple(tensor.shape) for name, tensor in weights.items()}, {}).matrices
    assert len(read) == len(model.matrices())
    for own, stored in zip(model.matrices(), read, strict=True):
        assert (prefix + own.name, own.family, own.shape) == (stored.name, stored.family, stored.shape)
        assert torch.equal(own.of(model.state_dict()), stored.of(weights))
        assert own.family.block in BLOCKS
        assert own.family.role not in ("other", "")


@ARCHITECTURES
def test_recorded_steps_are_of_the_families_of_their_matrices(architecture):
    model = forecaster(architecture)
    shapes = {matrix.name: (3, *matrix.shape) for matrix in model.matrices()}
    stored = dissect(shapes, {}, {"run": '{"steps": [0, 1, 4]}'}).matrices
    assert [matrix.name for matrix in stored[:3]] == [f"{model.matrices()[0].name}@{step}" for step in (0, 1, 4)]
    assert [matrix.family for matrix in stored[::3]] == [matrix.family for matrix in model.matrices()]


@ARCHITECTURES
def test_the_library_names_the_same_families_of_a_module_and_of_its_state_dict(architecture):
    model = forecaster(architecture)
    of_module, of_state = ts.analyze(model), ts.analyze(model.state_dict())
    assert of_module.families.tolist() == of_state.families.tolist()
    assert set(of_module.families) <= set(BLOCKS)


def test_the_roles_of_a_transformer_are_those_of_any_attention():
    own = {matrix.name: matrix.family for matrix in forecaster("transformer").matrices()}
    assert own["decoder.1.cross_attention.key"] == Family("cross_key", "decoder_cross_attention")
    assert own["encoder.0.self_attention.output"].role == "attention_output"
    assert own["encoder.0.feed_forward.expand"] == Family("feed_forward_up", "feed_forward")


def test_models_of_others_have_roles_alone_even_with_an_encoder_a_decoder_and_a_readout():
    other = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
    model = nn.ModuleDict({"encoder": other.encoder, "decoder": other.decoder, "readout": nn.Linear(8, 3)})
    read = dissect({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, {}).matrices
    assert {matrix.family.block for matrix in read} == {""}
    assert {matrix.family.label for matrix in read} == {
        *("query", "key", "value", "attention_output"),
        *("cross_query", "cross_key", "cross_value", "cross_attention_output"),
        *("feed_forward_up", "feed_forward_down", "readout"),
    }


def test_heads_are_the_same_rows_from_a_module_and_from_its_state_dict():
    model = forecaster("transformer")
    weights = model.state_dict()
    read = dissect({name: tuple(tensor.shape) for name, tensor in weights.items()}, {}).matrices
    for own, stored in zip(heads(model.matrices(), 2), heads(read, 2), strict=True):
        assert (own.name, own.family, own.shape, own.head) == (stored.name, stored.family, stored.shape, stored.head)
        assert own.family.piece == "head"
    assert heads(forecaster("lstm").matrices(), 2) == []


def test_families_are_split_by_shape_but_not_by_transposition():
    families = ["readout", "feed_forward", "feed_forward", "embedding", "embedding", "other", "embedding"]
    shapes = [(1, 64), (128, 64), (64, 128), (64, 12), (64, 1), (5, 5), (12, 64)]
    classes = {label: members.tolist() for label, members in shape_classes(families, shapes).items()}
    assert classes == {
        "feed_forward": [1, 2],
        "embedding_64x12": [3, 6],
        "embedding_64x1": [4],
        "readout": [0],
        "other": [5],
    }
    assert list(classes) == ["feed_forward", "embedding_64x12", "embedding_64x1", "readout", "other"]


def test_the_family_that_moves_is_one_wherever_it_is_asked_for():
    """A transformer's feed-forward matrices; of an LSTM the gates that come first; else the first of all."""
    transformer = ["encoder_self_attention", "feed_forward", "embedding", "readout"]
    assert (moving_families(transformer), moving_family(transformer)) == (["feed_forward"], "feed_forward")
    lstm = list(shape_classes(["readout", "decoder_gates", *["encoder_gates"] * 3], [(1, 9), *[(9, 9)] * 3, (9, 4)]))
    assert moving_families(lstm) == ["encoder_gates_9x9", "encoder_gates_9x4", "decoder_gates"]
    assert moving_family(lstm) == "encoder_gates_9x9"
    assert moving_families(["readout", "query"]) == ["readout", "query"]
    with pytest.raises(ValueError, match="no families"):
        moving_family([])
