"""Endpoints from recorded metrics, and what they are called."""

import numpy as np
import pytest
import torch

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.metrics import stable_rank
from transformer_spectrum.spectra.nulls import shuffled_change_singular_values
from transformer_spectrum.study.inference import endpoints
from transformer_spectrum.weights.matrices.families import BLOCKS

FAMILIES = [
    "feed_forward",
    "feed_forward",
    "encoder_self_attention",
    "decoder_cross_attention",
    "decoder_cross_attention",
]


def test_feed_forward_and_attention_weigh_alike_whatever_their_numbers():
    values = np.array([[1.0, 3.0, 10.0, 20.0, 60.0]])
    assert endpoints.group_mean(values, FAMILIES) == pytest.approx([(2.0 + 30.0) / 2])
    assert endpoints.group_mean(np.hstack([values, [[1e9]]]), [*FAMILIES, "readout"]) == pytest.approx([16.0])


def test_a_matrix_without_a_value_leaves_its_mean_and_a_group_without_any_leaves_none():
    values = np.array([[np.nan, 3.0, 10.0, 20.0, 60.0], [1.0, 3.0, np.nan, np.nan, np.nan]])
    assert endpoints.group_mean(values, FAMILIES) == pytest.approx([16.5, np.nan], nan_ok=True)


def test_an_lstm_has_its_gates_in_their_place():
    values = np.array([[1.0, 3.0, 7.0, 100.0]])
    assert endpoints.group_mean(values, ["encoder_gates", "encoder_gates", "decoder_gates", "readout"]) == [4.5]
    with pytest.raises(InputError, match="none is of feed-forward"):
        endpoints.group_mean(values, ["readout"] * 4)
    with pytest.raises(InputError, match="3 of 4"):
        endpoints.group_mean(values, ["readout"] * 3)


def test_the_groups_are_families_of_the_forecasters():
    named = {
        family
        for groups in (endpoints.GROUPS, endpoints.RECURRENT_GROUPS)
        for names in groups.values()
        for family in names
    }
    assert named == set(BLOCKS) - {"embedding", "readout"}


def test_p1_of_a_change_that_is_halved_in_rank_everywhere_falls_by_ln_2():
    ranks = np.exp(np.random.default_rng(0).uniform(1, 3, size=(4, 5)))
    higher = endpoints.change_log_stable_rank(ranks, FAMILIES)
    assert endpoints.change_log_stable_rank(ranks / 2, FAMILIES) == pytest.approx(higher - np.log(2))


def test_p2_is_the_change_of_the_log_rank_less_that_of_a_path_without_direction():
    generator = np.random.default_rng(1)
    initial = generator.normal(size=(5, 8, 8))
    change = 0.3 * generator.normal(size=(5, 8, 8))
    change[:, :, 0] += 2.0
    singular_values = np.linalg.svd(initial + change, compute_uv=False)
    draws = shuffled_change_singular_values(initial, change, 7, torch.Generator().manual_seed(0))
    start = np.log(stable_rank(np.linalg.svd(initial, compute_uv=False)))
    own = np.log(stable_rank(singular_values)) - start
    null = np.mean([np.log(stable_rank(draw)) - start for draw in draws], axis=0)
    expected = ((own - null)[:2].mean() + (own - null)[2:].mean()) / 2
    value = endpoints.path_log_stable_rank(stable_rank(singular_values)[None], stable_rank(draws)[:, None], FAMILIES)
    assert value == pytest.approx([expected])
    assert expected < 0


def test_the_relative_norm_is_a_log_ratio_and_none_where_nothing_moved():
    values = endpoints.log_relative_norm(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([2.0, 0.0]))
    assert values == pytest.approx(np.array([[np.nan, np.nan], [0.0, np.nan]]), nan_ok=True)


def test_endpoints_have_names_of_their_own_and_two_are_primary():
    names = [each.name for each in endpoints.ENDPOINTS]
    assert len(set(names)) == len(names)
    assert [each.name for each in endpoints.ENDPOINTS if each.role == "primary"] == [
        endpoints.CHANGE_RANK,
        endpoints.PATH_RANK,
    ]
    with pytest.raises(InputError, match="endpoint = rank"):
        endpoints.endpoint("rank")
