"""The step at which each spike is born."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from transformer_spectrum.spectra import births
from transformer_spectrum.spectra.analysis import Estimators, analyze
from transformer_spectrum.spectra.births import spike_births


def column(*counts):
    return np.array(counts, dtype=float)[:, None]


def test_a_spike_is_born_at_the_crossing_that_lasts_and_its_first_crossing_stands_beside():
    result = spike_births(column(0, 2, 1, 0, 1, 1, 3), np.array([0, 1, 2, 4, 8, 16, 32]))
    assert result.steps.tolist() == [[8, 32, 32]]
    assert result.crossings.tolist() == [[1, 1, 32]]
    assert not result.censored.any()
    assert (result.reason == "").all()


def test_what_was_never_born_or_did_not_last_says_so():
    counts = np.array([[0.0, 0, np.nan, 1], [0, 2, np.nan, 1], [0, 1, np.nan, 1]])
    result = spike_births(counts, np.array([0, 5, 9]))
    assert result.reason.tolist() == [
        [births.NEVER, births.NEVER],
        ["", births.PASSING],
        [births.NO_COUNT, births.NO_COUNT],
        ["", births.NEVER],
    ]
    assert (np.isnan(result.steps) == (result.reason != "")).all()
    assert result.crossings[1].tolist() == [5, 5]
    assert result.censored.tolist() == [[False, False], [False, False], [False, False], [True, False]]


def test_a_step_without_a_count_neither_ends_a_birth_nor_makes_one():
    result = spike_births(column(np.nan, 1, np.nan, 1, np.nan), np.array([0, 1, 2, 3, 4]))
    assert result.steps.tolist() == [[1]]
    assert result.censored.tolist() == [[True]]  # at the first step that has a count
    assert spike_births(column(0, np.nan, 1, np.nan, 0), np.arange(5)).reason.tolist() == [[births.PASSING]]


def test_as_many_births_are_given_as_are_asked_for():
    counts, steps = column(0, 3), np.array([0, 7])
    assert spike_births(counts, steps, most=1).steps.tolist() == [[7]]
    assert np.isnan(spike_births(counts, steps, most=5).steps[0, 3:]).all()
    assert spike_births(column(0, 0), steps).steps.shape == (1, 0)
    assert spike_births(np.empty((0, 2)), np.empty(0, dtype=int), most=1).reason.tolist() == [[births.NO_COUNT]] * 2


def test_planted_directions_are_born_where_they_leave_the_noise():
    random = np.random.default_rng(0)
    noise = random.standard_normal((64, 64))
    left, right = np.linalg.qr(random.standard_normal((2, 64, 2)))[0]
    strengths = np.array([[0, 0], [1, 0], [30, 0], [40, 1], [50, 30], [50, 40]])  # noise ends at 16
    spectra = [np.linalg.svd(noise + (left * pair) @ right.T, compute_uv=False) for pair in strengths]
    counts = analyze(np.stack(spectra)[:, None], np.array([[64, 64]]), Estimators()).values["mp_spikes"]
    assert spike_births(counts, np.array([0, 1, 2, 4, 8, 16])).steps.tolist() == [[2, 8]]


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(float, (6, 3), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan])))
def test_births_are_those_of_a_plain_search(counts):
    steps = np.array([0, 1, 2, 4, 8, 16])
    result = spike_births(counts, steps, most=3)
    for matrix in range(3):
        for spike in range(1, 4):
            rest = [counts[position:, matrix] for position in range(6)]
            candidates = [
                steps[position]
                for position in range(6)
                if counts[position, matrix] >= spike
                and all(np.isnan(count) or count >= spike for count in rest[position])
            ]
            birth = result.steps[matrix, spike - 1]
            assert birth == candidates[0] if candidates else np.isnan(birth)
    assert not (np.diff(result.steps, axis=1) < 0).any()
    assert not (result.crossings > result.steps).any()


@pytest.mark.parametrize(
    ("counts", "steps", "most", "complaint"),
    [
        (column(0, 1), np.array([0, 0]), None, "rise"),
        (column(0, 1), np.array([3, 1]), None, "rise"),
        (column(0, -1), np.array([0, 1]), None, ">= 0"),
        (column(0, np.inf), np.array([0, 1]), None, "finite"),
        (column(0, 1), np.array([0, 1]), -1, "most = -1"),
    ],
)
def test_what_is_no_count_of_spikes_is_refused(counts, steps, most, complaint):
    with pytest.raises(ValueError, match=complaint):
        spike_births(counts, steps, most)
