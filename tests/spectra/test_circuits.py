"""Products of attention's factors that no basis can change."""

import numpy as np
import pytest
import torch

from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.spectra import circuits
from transformer_spectrum.spectra.circuits import (
    circuit_metrics,
    circuit_spectra,
    product_singular_values,
    shuffled_change_factors,
)
from transformer_spectrum.spectra.forecaster_circuits import (
    forecaster_circuits,
    norms_read,
    shuffled_forecaster_circuits,
)

HEADS, WIDTH = 4, 24


def gaussian(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def forecaster(seed=0, layers=2):
    model = Transformer(1, WIDTH, HEADS, layers, 32, 0.0, 4, torch.Generator().manual_seed(seed)).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # gains and biases that tell each other apart
                parameter.copy_(1 + 0.3 * gaussian(sum(map(ord, name)), len(parameter)))
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


# -- closed forms ----------------------------------------------------------------------------------------------
def test_a_product_has_the_singular_values_of_what_it_forms():
    for rows, inner, columns in ((12, 3, 9), (4, 6, 5), (3, 8, 20), (7, 1, 7)):
        left, right = gaussian(rows, 5, rows, inner), gaussian(columns, 5, inner, columns)
        values = product_singular_values(left, right)
        formed = torch.linalg.svdvals(left @ right)[:, : min(rows, inner, columns)]
        assert values.shape == (5, min(rows, inner, columns))
        torch.testing.assert_close(values, formed, rtol=1e-11, atol=1e-12)


def test_orthonormal_heads_have_the_singular_values_that_are_planted():
    rows = torch.linalg.qr(gaussian(0, 8, 8))[0]
    query, key = torch.diag(torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8.0]).double()) @ rows, rows
    values = circuit_spectra(query, key, key, query.mT, heads=2)
    np.testing.assert_allclose(values.query_key, [[4, 3, 2, 1], [8, 7, 6, 5]], rtol=1e-12)
    np.testing.assert_allclose(values.output_value, [[4, 3, 2, 1], [8, 7, 6, 5]], rtol=1e-12)


# -- invariance ------------------------------------------------------------------------------------------------
def test_a_change_of_basis_inside_each_head_changes_every_matrix_and_no_circuit():
    query, key, value, output = (gaussian(seed, WIDTH, WIDTH) for seed in range(4))
    before = circuit_spectra(query, key, value, output, HEADS)
    width = WIDTH // HEADS
    turned = [factor.clone() for factor in (query, key, value, output)]
    for head in range(HEADS):
        rows = slice(head * width, (head + 1) * width)
        basis, second = gaussian(10 + head, width, width), gaussian(20 + head, width, width)
        turned[0][rows] = basis @ query[rows]
        turned[1][rows] = torch.linalg.inv(basis).mT @ key[rows]
        turned[2][rows] = second @ value[rows]
        turned[3][:, rows] = output[:, rows] @ torch.linalg.inv(second)
    after = circuit_spectra(*turned, HEADS)
    for first, last in zip(before, after, strict=True):
        assert np.abs(first - last).max() < 1e-10 * first.max()
    assert (torch.linalg.svdvals(turned[0]) - torch.linalg.svdvals(query)).abs().max() > 0.1


def test_circuits_do_not_heed_how_heads_of_float32_weights_are_scaled():
    query, key = gaussian(5, 16, 16).float(), gaussian(6, 16, 16).float()
    plain = circuit_spectra(query, key, key, query.mT, heads=4).query_key
    scaled = circuit_spectra(2.0**20 * query, 2.0**-20 * key, key, query.mT, heads=4).query_key
    np.testing.assert_allclose(scaled, plain, rtol=1e-12)


# -- oracle: formed products -----------------------------------------------------------------------------------
@pytest.mark.parametrize(("heads", "key_heads"), [(4, None), (4, 2), (6, 1), (1, 1)])
def test_grouped_queries_share_the_keys_and_values_of_their_group(heads, key_heads):
    groups = key_heads or heads
    query, key = gaussian(0, 3, heads * 4, 10), gaussian(1, 3, groups * 4, 7)
    value, output = gaussian(2, 3, groups * 2, 7), gaussian(3, 3, 12, heads * 2)
    values = circuit_spectra(query, key, value.numpy(), output, heads, key_heads)
    assert values.query_key.shape == (3, heads, 4)
    assert values.output_value.shape == (3, heads, 2)
    for layer in range(3):
        for head in range(heads):
            group = head // (heads // groups)
            q, k = query[layer, 4 * head : 4 * head + 4], key[layer, 4 * group : 4 * group + 4]
            v, o = value[layer, 2 * group : 2 * group + 2], output[layer, :, 2 * head : 2 * head + 2]
            for formed, result in ((q.T @ k, values.query_key), (o @ v, values.output_value)):
                expected = np.linalg.svd(formed.numpy(), compute_uv=False)[: result.shape[-1]]
                np.testing.assert_allclose(result[layer, head], expected, rtol=1e-10, atol=1e-12)


def test_a_stack_has_what_each_attention_has_alone():
    factors = [gaussian(seed, 3, 16, 16) for seed in range(4)]
    together = circuit_spectra(*factors, 4)
    for layer in range(3):
        lone = circuit_spectra(*(factor[layer] for factor in factors), 4)
        for batched, single in zip(together, lone, strict=True):
            np.testing.assert_allclose(batched[layer], single, rtol=1e-12)


def test_every_circuit_of_the_forecaster_is_the_product_that_its_name_says():
    weights = forecaster()
    result = forecaster_circuits(weights, HEADS)
    assert result.singular_values.shape == result.folded.shape == (6 * 2 * HEADS, WIDTH // HEADS)
    assert len({circuit.name for circuit in result.circuits}) == len(result.circuits) == 48
    assert sorted({circuit.family for circuit in result.circuits}) == [
        f"{block}_{kind}"
        for block in ("decoder_cross_attention", "decoder_self_attention", "encoder_self_attention")
        for kind in ("output_value", "query_key")
    ]
    norms = {  # written down from models.transformer
        "encoder.0.self_attention": (None, None),
        "encoder.1.self_attention": ("encoder.0.feed_norm", "encoder.0.feed_norm"),
        "decoder.0.self_attention": (None, None),
        "decoder.0.cross_attention": ("decoder.0.self_norm", "encoder_norm"),
        "decoder.1.self_attention": ("decoder.0.feed_norm", "decoder.0.feed_norm"),
        "decoder.1.cross_attention": ("decoder.1.self_norm", "encoder_norm"),
    }
    width = WIDTH // HEADS
    for position, circuit in enumerate(result.circuits):
        rows = slice(circuit.head * width, (circuit.head + 1) * width)
        q, k, v = (weights[f"{circuit.attention}.{name}.weight"][rows] for name in ("query", "key", "value"))
        o = weights[f"{circuit.attention}.output.weight"][:, rows]
        gains = [torch.ones(WIDTH) if norm is None else weights[f"{norm}.weight"] for norm in norms[circuit.attention]]
        plain, folded = q.T @ k, torch.diag(gains[0].double()) @ q.T @ k @ torch.diag(gains[1].double())
        if circuit.kind == "output_value":
            plain, folded = o @ v, o @ v @ torch.diag(gains[1].double())
        for formed, values in ((plain, result.singular_values), (folded, result.folded)):
            expected = torch.linalg.svdvals(formed)[:width]
            np.testing.assert_allclose(values[position], expected, rtol=1e-10, atol=1e-12)
        normed = norms[circuit.attention] != (None, None)
        assert np.allclose(result.folded[position], result.singular_values[position]) == (not normed)


def test_the_norms_that_are_named_are_those_that_the_model_reads():
    model = Transformer(1, WIDTH, HEADS, 2, 32, 0.0, 4, torch.Generator().manual_seed(1)).double()
    context, target = gaussian(2, 3, 16, 1), gaussian(3, 3, 8, 1)
    for attention, side in (
        ("encoder.1.self_attention", "query"),
        ("decoder.1.self_attention", "key"),
        ("decoder.1.cross_attention", "query"),
        ("decoder.0.cross_attention", "key"),
    ):
        norm = getattr(norms_read(attention), side)
        weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        normed_sums = []
        original = model._norm

        def watch(weights, name, x, original=original, normed_sums=normed_sums, norm=norm):
            normed = original(weights, name, x)
            if name == norm:
                normed_sums.append(normed)
            return normed

        model._norm = watch
        read = []
        projections = model._keys_values if side == "key" else model._attend

        def note(weights, name, x, *rest, projections=projections, read=read, attention=attention, **options):
            if name == attention:
                read.append(x)
            return projections(weights, name, x, *rest, **options)

        setattr(model, "_keys_values" if side == "key" else "_attend", note)
        model.predict(weights, context, target)
        assert len(read) == 1
        assert any(normed is read[0] for normed in normed_sums), attention
        del model._norm
        delattr(model, "_keys_values" if side == "key" else "_attend")


# -- null ------------------------------------------------------------------------------------------------------
def test_the_null_of_circuits_is_the_product_of_factors_with_shuffled_changes():
    initial, weights = forecaster(0, layers=1), forecaster(1, layers=1)
    null = shuffled_forecaster_circuits(initial, weights, HEADS, 3, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    attentions = ["encoder.0.self_attention", "decoder.0.self_attention", "decoder.0.cross_attention"]
    for draw in range(3):
        drawn = dict(weights)
        for projection in ("query", "key", "value", "output"):
            for attention in attentions:
                name = f"{attention}.{projection}.weight"
                change = (weights[name] - initial[name]).flatten()
                order = torch.randperm(len(change), generator=generator)
                drawn[name] = initial[name] + change[order].view(WIDTH, WIDTH)
        expected = forecaster_circuits(drawn, HEADS)
        assert null.circuits == expected.circuits
        np.testing.assert_allclose(null.singular_values[draw], expected.singular_values, rtol=1e-9)
        np.testing.assert_allclose(null.folded[draw], expected.folded, rtol=1e-9)


def test_without_a_change_the_null_is_the_circuit_itself():
    weights = forecaster()
    null = shuffled_forecaster_circuits(weights, weights, HEADS, 2, torch.Generator())
    result = forecaster_circuits(weights, HEADS)
    np.testing.assert_allclose(null.folded, np.stack([result.folded] * 2), rtol=1e-12)


# -- metrics and what is refused -------------------------------------------------------------------------------
def test_a_circuit_has_an_entropy_and_a_stable_rank_or_the_reason_why_not():
    result = circuit_metrics(np.array([[[3.0, 3.0, 3.0], [2.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [2.0, 1.0, 1.0]]]))
    assert set(result.values) == set(circuits.METRICS)
    np.testing.assert_allclose(result.values["spectral_entropy"][0], [np.log(3), 0])
    np.testing.assert_allclose(result.values["stable_rank"], [[3, 1], [np.nan, 1.5]])
    assert result.reason.tolist() == [["", ""], [circuits.ZERO_PRODUCT, ""]]


def test_a_model_without_attention_has_no_circuits():
    assert forecaster_circuits({"encoder.0.state": torch.eye(2)}, 4).circuits == ()
    assert shuffled_forecaster_circuits({}, {}, 4, 2, torch.Generator()).folded.shape == (2, 0, 0)


@pytest.mark.parametrize(
    ("shapes", "heads", "key_heads", "complaint"),
    [
        (((8, 8), (8, 8), (8, 8), (8, 8)), 3, None, "query has rows = 8 with 3 heads"),
        (((8, 8), (8, 8), (8, 8), (8, 8)), 4, 3, "key_heads = 3"),
        (((8, 8), (8, 8), (8, 8), (8, 8)), 0, None, "heads = 0"),
        (((8, 8), (8, 8), (4, 8), (8, 8)), 4, 2, "heads of 2 queries and 4 keys"),
        (((8, 8), (4, 8), (8, 8), (8, 8)), 4, 2, "heads of 4 values and 2 outputs"),
        (((8, 8), (8, 8), (8, 6), (8, 8)), 4, None, "key of 8 inputs and value of 6"),
    ],
)
def test_factors_that_do_not_fit_are_refused(shapes, heads, key_heads, complaint):
    with pytest.raises(ValueError, match=complaint):
        circuit_spectra(*(torch.ones(shape) for shape in shapes), heads, key_heads)


def test_gains_and_entries_that_do_not_fit_are_refused():
    factors = [torch.ones(8, 8)] * 4
    with pytest.raises(ValueError, match=r"query_gain of shape \(6,\) for 8 inputs"):
        circuit_spectra(*factors, 2, query_gain=torch.ones(6))
    with pytest.raises(ValueError, match="key_gain: must be finite"):
        circuit_spectra(*factors, 2, key_gain=torch.full((8,), torch.nan))
    with pytest.raises(ValueError, match="value: must be finite"):
        circuit_spectra(*factors[:2], torch.full((8, 8), torch.inf), factors[3], 2)
    with pytest.raises(ValueError, match="no attention"):
        norms_read("encoder.0.feed_forward")
    with pytest.raises(ValueError, match="draws = 0"):
        shuffled_forecaster_circuits({}, {}, 4, 0, torch.Generator())
    stack = tuple(torch.ones(1, 4, 4) for _ in range(4))
    with pytest.raises(ValueError, match="key of shape"):
        shuffled_change_factors(stack, (stack[0], torch.ones(1, 4, 5), *stack[2:]), torch.Generator())
