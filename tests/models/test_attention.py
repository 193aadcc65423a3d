"""Attention: the one for short sequences is torch's, and the textbook's in float64, whatever the scores."""

import math

import pytest
import torch
from torch.nn import functional

from transformer_spectrum.models import attention as module
from transformer_spectrum.models.attention import attention

HEADS, WIDTH = 3, 12


def parts(count=80, queries=7, keys=9, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return [
        factor * torch.randn(count, length, WIDTH, generator=generator)
        for factor, length in ((scale, queries), (scale, keys), (1.0, keys))
    ]


def textbook(query, key, value, causal=False):
    q, k, v = (x.double().unflatten(-1, (HEADS, -1)).transpose(-2, -3) for x in (query, key, value))
    scores = q @ k.mT / math.sqrt(WIDTH // HEADS)
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
    return (scores.softmax(-1) @ v).transpose(-2, -3).flatten(-2).float()


@pytest.fixture
def kernels(monkeypatch):
    """How often torch's own kernel was called."""
    calls = []
    original = functional.scaled_dot_product_attention

    def counted(*arguments, **settings):
        calls.append(arguments[0].shape)
        return original(*arguments, **settings)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    return calls


@pytest.mark.parametrize(("queries", "keys", "causal"), [(7, 9, False), (1, 1, False), (9, 9, True), (20, 20, True)])
def test_many_short_sequences_get_what_the_textbook_says_without_torchs_kernel(queries, keys, causal, kernels):
    q, k, v = parts(queries=queries, keys=keys)
    with torch.no_grad():
        mixed = attention(q, k, v, HEADS, causal)
    assert not kernels
    torch.testing.assert_close(mixed, textbook(q, k, v, causal), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 2.0, 10.0, 1e3])
def test_steep_scores_are_right_too(scale, kernels):
    q, k, v = parts(scale=scale)
    with torch.no_grad():
        mixed = attention(q, k, v, HEADS)
    assert bool(kernels) == (scale >= 10)
    torch.testing.assert_close(mixed, textbook(q, k, v), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_scores_just_inside_the_bound_lose_nothing(sign, kernels):
    steep = 0.999 * module.STEEP * math.log(2) * 2  # of width 4, so the score is a quarter of its square root
    q, k = torch.zeros(2, 80, 9, WIDTH)
    q[..., 0::4], k[..., 0::4] = steep, sign
    k[:, 0] = 0
    v = parts()[2]
    with torch.no_grad():
        mixed = attention(q, k, v, HEADS)
    assert not kernels
    torch.testing.assert_close(mixed, textbook(q, k, v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 80])
def test_what_is_not_finite_stays_so_and_spoils_its_own_sequence_only(wrong, place, count):
    tensors = parts(count)
    tensors[place][count - 1, 2, 0] = wrong
    with torch.no_grad():
        mixed = attention(*tensors, HEADS)
    assert not mixed[count - 1].isfinite().all()
    torch.testing.assert_close(mixed[: count - 1], textbook(*tensors)[: count - 1], rtol=1e-5, atol=1e-6)


def test_a_kernel_that_answers_zero_for_what_is_no_number_is_not_believed(monkeypatch):
    def deaf(query, key, value, is_causal):
        return torch.zeros_like(query)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", deaf)
    q, k, v = parts(count=2)
    for broken in (q, k):
        tensors = [tensor.clone() if tensor is broken else tensor for tensor in (q, k, v)]
        tensors[0 if broken is q else 1][1, 2, 0] = math.nan
        mixed = attention(*tensors, HEADS)
        assert mixed[0].isfinite().all()
        assert not mixed[1].isfinite().all()


def test_leading_dimensions_are_kept_and_slices_need_no_copy():
    wide = torch.randn(4, 20, 9, 3 * WIDTH, generator=torch.Generator().manual_seed(0))
    q, k, v = wide.split(WIDTH, -1)
    with torch.no_grad():
        mixed = attention(q, k, v, HEADS)
    assert mixed.shape == (4, 20, 9, WIDTH)
    torch.testing.assert_close(mixed, textbook(q, k, v), rtol=1e-5, atol=1e-6)


def test_under_autograd_few_sequences_and_long_ones_go_to_torchs_kernel(kernels):
    q, k, v = parts()
    q.requires_grad_()
    (gradient,) = torch.autograd.grad(attention(q, k, v, HEADS).square().sum(), q)
    assert gradient.abs().min() > 0
    with torch.no_grad():
        attention(*parts(count=module.MANY - 1), HEADS)
        attention(*parts(keys=module.SHORT + 1), HEADS)
    assert len(kernels) == 3
