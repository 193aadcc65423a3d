"""Rows of a projection that belong to one attention head, tried on the transformer itself."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transformer_spectrum.cli.main import main
from transformer_spectrum.models import transformer
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.heads import heads
from transformer_spectrum.weights.matrices.matrix import Cut, Matrix, singular_values

HEADS, WIDTH = 4, 12
ATTENTIONS = ("encoder.0.self_attention", "decoder.0.self_attention", "decoder.0.cross_attention")  # as they run
PROJECTIONS = ("query", "key", "value")


def model() -> Transformer:
    return Transformer(
        features=1,
        embed_dim=WIDTH,
        heads=HEADS,
        layers=1,
        feedforward_dim=16,
        dropout=0.0,
        patch_length=2,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.fixture
def attend(monkeypatch):
    """Runs a model and returns what each attention gets: one (query, key, value) of (B, heads, T, d / heads) a call."""
    calls = []
    real = transformer.functional.scaled_dot_product_attention

    def recorded(query, key, value, **options):
        calls.append((query, key, value))
        return real(query, key, value, **options)

    monkeypatch.setattr(transformer.functional, "scaled_dot_product_attention", recorded)

    def run(forecaster):
        calls.clear()
        generator = torch.Generator().manual_seed(1)
        context, target = torch.randn(3, 8, 1, generator=generator), torch.randn(3, 6, 1, generator=generator)
        with torch.no_grad():
            forecaster(context, target)
        return list(calls)

    return run


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_zeroing_a_heads_rows_silences_that_head_alone(attend, attention, projection):
    forecaster = model()
    specs = {spec.name: spec for spec in heads(forecaster.matrices(), HEADS)}
    before = attend(forecaster)
    position = ATTENTIONS.index(attention)
    for head in range(HEADS):
        changed = model()
        with torch.no_grad():
            specs[f"{attention}.{projection}.head_{head}"].of(dict(changed.named_parameters())).zero_()
        after = attend(changed)
        assert len(after) == len(before) == len(ATTENTIONS)
        for name, old, new in zip(PROJECTIONS, before[position], after[position], strict=True):
            for h in range(HEADS):
                if (name, h) == (projection, head):
                    assert (new[:, h] == 0).all()  # the initial biases are zero
                    assert (old[:, h] != 0).any()
                else:
                    torch.testing.assert_close(new[:, h], old[:, h], rtol=1e-5, atol=1e-6)


def test_heads_are_named_after_their_projection_and_tile_it():
    forecaster = model()
    whole = {spec.name: spec for spec in forecaster.matrices()}
    specs = heads(forecaster.matrices(), HEADS)
    assert len(specs) == len(ATTENTIONS) * len(PROJECTIONS) * HEADS
    assert [spec.name for spec in specs[:2]] == [
        "encoder.0.self_attention.query.head_0",
        "encoder.0.self_attention.query.head_1",
    ]
    assert {spec.family.label for spec in specs} == {
        "encoder_self_attention_head",
        "decoder_self_attention_head",
        "decoder_cross_attention_head",
    }
    weights = dict(forecaster.named_parameters())
    for first in range(0, len(specs), HEADS):
        cut = specs[first : first + HEADS]
        name = cut[0].name.removesuffix(".head_0")
        assert torch.equal(torch.cat([spec.of(weights) for spec in cut]), whole[name].of(weights))
        assert all(spec.of(weights).shape == spec.shape == (WIDTH // HEADS, WIDTH) for spec in cut)


def test_spectra_of_heads_carry_the_energy_of_the_projection():
    forecaster = model()
    weights = {name: tensor.unsqueeze(0) for name, tensor in forecaster.named_parameters()}
    energy = (singular_values(weights, heads(forecaster.matrices(), HEADS))[0].astype(float) ** 2).sum(axis=1)
    for spec, energies in zip(
        [spec for spec in forecaster.matrices() if spec.name.rpartition(".")[2] in PROJECTIONS],
        energy.reshape(-1, HEADS),
        strict=True,
    ):
        assert energies.sum() == pytest.approx(float((spec.of(weights).detach().double() ** 2).sum()), rel=1e-5)


def test_a_head_of_a_slice_lies_inside_the_slice():
    fused = Matrix("layer.attention.key", Family("key"), "in_proj_weight", (8, 5), cut=Cut(1, 8, 16))
    weights = {"in_proj_weight": torch.arange(24.0)[:, None].expand(24, 5)}
    specs = heads([fused], 2)
    np.testing.assert_array_equal(specs[0].of(weights)[:, 0], [8, 9, 10, 11])
    np.testing.assert_array_equal(specs[1].of(weights)[:, 0], [12, 13, 14, 15])


def test_other_matrices_are_left_out_and_one_head_is_the_whole():
    others = [spec for spec in model().matrices() if spec.name.rpartition(".")[2] not in PROJECTIONS]
    others.append(Matrix("key", Family("embedding", "embedding"), "key.weight", (8, 8)))  # named so, but no attention
    assert heads(others, 3) == []
    weights = dict(model().named_parameters())
    whole = [spec for spec in model().matrices() if spec.name.rpartition(".")[2] in PROJECTIONS]
    for spec, head in zip(whole, heads(whole, 1), strict=True):
        assert torch.equal(spec.of(weights), head.of(weights))


def test_heads_must_divide_the_rows():
    with pytest.raises(ValueError, match=r"5 heads: encoder\.0\.self_attention\.query has 12 rows, no multiple of 5"):
        heads(model().matrices(), 5)
    with pytest.raises(ValueError, match="heads = 0"):
        heads(model().matrices(), 0)


def test_a_checkpoint_without_projections_has_no_heads_to_measure(tmp_path, capsys):
    save_file({"layers.0.mlp.fc1.weight": torch.randn(12, 12)}, tmp_path / "a.safetensors")
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(tmp_path / "a.safetensors"), "--heads", "4"])
    assert ended.value.code == 2
    assert "a.safetensors: 4 heads: no queries, keys or values found by their names" in capsys.readouterr().err
