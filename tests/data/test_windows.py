"""Windows: no leak through scaling or splits, nothing dropped without being counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.data.windows.arrays import SPLITS, pack, unpack
from transformer_spectrum.data.windows.cutting import cut as pieces_of
from transformer_spectrum.data.windows.cutting import make_windows
from transformer_spectrum.data.windows.dropping import usable_windows
from transformer_spectrum.data.windows.scaling import scale_by_context
from transformer_spectrum.data.windows.splitting import split_entities, split_times
from transformer_spectrum.runtime.errors import InputError


def series(count: int, steps: int, start: int = 0, seed: int = 0) -> list[Series]:
    values = np.random.default_rng(seed).normal(size=(count, steps, 1)).cumsum(axis=1)
    return [Series(f"s{i}", start, one) for i, one in enumerate(values)]


def cut(all_series, **changes):
    settings = {
        "length": 20,
        "horizon": 5,
        "stride": None,
        "by": "entity",
        "validation": 0.2,
        "test": 0.2,
        "scaling": "standard",
        "generator": np.random.default_rng(0),
    }
    return make_windows(all_series, **{**settings, **changes})


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_scaling_does_not_see_the_horizon(scaling):
    values = np.random.default_rng(1).normal(size=(3, 20, 2))
    before = scale_by_context(values, 15, scaling)
    values[:, 15:] += 1e6
    after = scale_by_context(values, 15, scaling)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_standard_scaling_gives_the_context_mean_zero_and_variance_one():
    windows, _ = cut(series(10, 20))
    context = windows["train"].context.astype(np.float64)
    np.testing.assert_allclose(context.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(context.std(axis=1), 1, atol=1e-6)


def test_robust_and_standard_scaling_agree_on_gaussian_data():
    values = np.random.default_rng(2).normal(3.0, 2.0, size=(1, 100_001, 1))
    _, scale = scale_by_context(values, 100_000, "robust")
    assert scale.item() == pytest.approx(2.0, rel=0.02)


def test_data_units_are_recovered():
    one = series(10, 20)
    windows, _ = cut(one)
    test = windows["test"]
    whole = test.in_data_units(np.concatenate([test.context, test.target], axis=1))
    for entity, values in zip(test.entity, whole, strict=True):
        np.testing.assert_allclose(values, one[int(entity[1:])].values, atol=1e-5)


def test_windows_do_not_overlap_by_default():
    windows, counts = cut(series(5, 67))
    assert counts["train"]["windows"] == 3 * 3
    assert set(windows["train"].start.tolist()) == {0, 20, 40}


def test_a_stride_makes_windows_overlap_inside_a_split_only():
    windows, _ = cut(series(4, 200), stride=1, by="time", validation=0.1, test=0.1)
    ends = {name: (windows[name].start.min(), windows[name].start.max() + 20) for name in SPLITS}
    assert len(windows["train"]) > 100
    assert ends["train"][1] <= ends["validation"][0]
    assert ends["validation"][1] <= ends["test"][0]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(5, 120), min_size=3, max_size=8),
    starts=st.lists(st.integers(0, 50), min_size=8, max_size=8),
    length=st.integers(4, 15),
    stride=st.none() | st.integers(1, 20),
    by=st.sampled_from(["entity", "time"]),
    share=st.floats(0.05, 0.45),
)
def test_no_window_crosses_a_split_and_every_window_is_a_piece_of_its_series(
    lengths, starts, length, stride, by, share
):
    made = [
        Series(f"s{i}", start, np.random.default_rng(i).normal(size=(steps, 1)))
        for i, (steps, start) in enumerate(zip(lengths, starts, strict=False))
    ]
    try:
        windows, counts = cut(made, length=length, horizon=2, stride=stride, by=by, validation=share, test=share)
    except InputError:
        return
    for name in SPLITS:
        part = windows[name]
        assert counts[name]["windows"] == len(part) > 0
        whole = part.in_data_units(np.concatenate([part.context, part.target], axis=1))
        for entity, start, values in zip(part.entity, part.start, whole, strict=True):
            one = made[int(entity[1:])]
            np.testing.assert_allclose(values, one.values[start - one.start :][:length], atol=1e-4)
    if by == "entity":
        groups = [set(windows[name].entity.tolist()) for name in SPLITS]
        assert sum(len(group) for group in groups) == len(set.union(*groups))
    else:
        last = {name: windows[name].start.max() + length for name in SPLITS}
        first = {name: windows[name].start.min() for name in SPLITS}
        assert last["train"] <= first["validation"]
        assert last["validation"] <= first["test"]


def test_each_split_gets_its_own_share_of_the_entities():
    windows, counts = cut(series(20, 40), validation=0.1, test=0.3)
    assert {name: len(set(windows[name].entity.tolist())) for name in SPLITS} == {
        "train": 12,
        "validation": 2,
        "test": 6,
    }
    assert {name: counts[name]["cut"] for name in SPLITS} == {"train": 24, "validation": 4, "test": 12}


def test_each_split_gets_its_own_share_of_the_time_and_the_test_split_the_latest():
    windows, _ = cut(series(3, 200), by="time", validation=0.1, test=0.3)  # ten blocks of 20 steps
    starts = {name: sorted(set(windows[name].start.tolist())) for name in SPLITS}
    assert starts == {"train": [0, 20, 40, 60, 80, 100], "validation": [120], "test": [140, 160, 180]}


@pytest.mark.parametrize(
    ("count", "validation", "test", "sizes"),
    [
        (7, 0.25, 0.4, (2, 2, 3)),  # 1.75 and 2.8, rounded
        (10, 0.04, 0.04, (8, 1, 1)),  # at least one
        (5, 0.9, 0.9, (1, 1, 3)),  # and one for each of the others
        (3, 0.1, 0.1, (1, 1, 1)),
        (10, 0.3, 0.1, (6, 3, 1)),
    ],
)
def test_shares_are_rounded_and_leave_something_for_every_split(count, validation, test, sizes):
    members = split_entities(count, validation, test, np.random.default_rng(0))
    assert tuple(len(members[name]) for name in SPLITS) == sizes
    assert sorted(np.concatenate(list(members.values())).tolist()) == list(range(count))
    assert all(numbers.tolist() == sorted(numbers.tolist()) for numbers in members.values())
    spans = split_times(7, 7 + 10 * count + 4, 10, validation, test)
    assert tuple((end - begin) // 10 for begin, end in spans.values()) == sizes
    assert [*spans["train"], *spans["validation"], *spans["test"]] == sorted(
        [7, 7 + 10 * count + 4] + 2 * [spans["validation"][0], spans["test"][0]]
    )


@pytest.mark.parametrize("stride", [1, 3, 20, None])
def test_every_start_that_fits_into_a_series_gives_a_window(stride):
    windows, counts = cut(series(5, 71, start=100), stride=stride)
    starts = list(range(100, 152, stride or 20))  # the last window may end with the series
    assert sorted(set(windows["train"].start.tolist())) == starts
    assert counts["train"]["cut"] == 3 * len(starts)
    assert windows["train"].context.shape[1:] == (15, 1)
    assert windows["train"].target.shape[1:] == (5, 1)


def test_series_that_begin_and_end_elsewhere_are_cut_on_one_axis():
    early, late = series(1, 60, start=0)[0], series(1, 60, start=40)[0]
    windows, _ = cut([early, late], by="time", validation=0.2, test=0.2)  # blocks of 20: [0, 60), [60, 80), [80, 100)
    assert windows["train"].start.tolist() == [0, 20, 40, 40]
    assert windows["validation"].start.tolist() == [60]
    assert windows["test"].start.tolist() == [80]
    assert [start for start, _ in pieces_of(late, 0, 75, 20, 5)] == [40, 45, 50, 55]
    np.testing.assert_array_equal(pieces_of(late, 0, 75, 20, 5)[1][1], late.values[5:25])


def test_a_series_too_short_for_a_window_moves_no_split():
    early, long = series(1, 10, start=-300)[0], series(2, 100)
    windows, counts = cut([early, *long], by="time", validation=0.2, test=0.2)
    alone, _ = cut(long, by="time", validation=0.2, test=0.2)
    assert counts["series"] == {"usable": 2, "too_short": 1}
    for split in SPLITS:
        assert windows[split].start.tolist() == alone[split].start.tolist()


@pytest.mark.parametrize(("scaling", "location", "scale"), [("standard", 4.0, 3.0), ("robust", 3.5, 2.96522)])
def test_location_and_scale_are_those_of_the_context_by_their_formulas(scaling, location, scale):
    # Mean 4, population variance 9; median 3.5, quartiles 1.75 and 5.75 by linear interpolation, 4 / 1.34898.
    steps = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 8.0, 50.0]).reshape(1, 9, 1)
    measured = scale_by_context(steps, 8, scaling)
    assert measured[0].item() == pytest.approx(location)
    assert measured[1].item() == pytest.approx(scale, rel=1e-5)


def test_a_window_with_one_constant_feature_among_others_is_dropped():
    walks = series(3, 20)
    two = [(one.entity, 0, np.concatenate([one.values, one.values[::-1]], axis=1)) for one in walks]
    two[0][2][:15, 1] = 7.3  # constant in its context, and not behind it
    two[1][2][:12, 0] = 7.3  # no interquartile range
    windows, counts = usable_windows(two, 15, "robust")
    assert windows.entity.tolist() == ["s2"]
    assert (counts["dropped_constant"], counts["dropped_zero_scale"], counts["windows"]) == (1, 1, 1)


def test_equal_values_that_leave_rounding_noise_have_a_scale_of_zero():
    steps = np.full((1, 40, 1), 0.1)
    assert steps[:, :30].std(axis=1).item() > 0
    assert scale_by_context(steps, 30, "standard")[1].item() == 0


def test_constant_contexts_are_dropped_and_counted():
    made = series(10, 40)
    for one in made:
        one.values[:15] = 7.3
    windows, counts = cut(made)
    assert sum(counts[name]["dropped_constant"] for name in SPLITS) == 10
    assert sum(len(windows[name]) for name in SPLITS) == 10


def test_a_scale_of_zero_is_told_apart_from_a_constant_context():
    made = series(10, 40)
    for one in made:
        one.values[:12] = 7.3
    _, counts = cut(made, scaling="robust")
    assert sum(counts[name]["dropped_zero_scale"] for name in SPLITS) == 10
    assert sum(counts[name]["dropped_constant"] for name in SPLITS) == 0


def test_windows_that_leave_float32_are_dropped_and_counted():
    made = series(10, 40)
    for one in made:
        one.values[37] = 1e200
    windows, counts = cut(made)
    assert sum(counts[name]["dropped_overflow"] for name in SPLITS) == 10
    assert all(np.isfinite(windows[name].target).all() for name in SPLITS)


def test_windows_with_missing_values_are_dropped_and_counted():
    made = series(10, 40)
    for one in made:
        one.values[25] = np.nan
    windows, counts = cut(made)
    assert sum(counts[name]["dropped_missing_values"] for name in SPLITS) == 10
    assert np.isfinite(windows["train"].context).all()


def test_short_series_are_counted():
    _, counts = cut(series(6, 20) + series(2, 19))
    assert counts["series"] == {"usable": 6, "too_short": 2}


@pytest.mark.parametrize(
    ("made", "changes", "words"),
    [
        (series(6, 20), {"horizon": 20}, "data.output_length = 20 with data.sequence_length = 20"),
        (series(6, 19), {}, "data.sequence_length = 20: the longest of 6 series has 19 steps"),
        (series(2, 20), {}, "needs at least 3, or data.split.by = time"),
        (series(6, 40), {"by": "time"}, "three splits need at least 60"),
        ([Series(f"s{i}", 0, np.ones((20, 1))) for i in range(5)], {}, "no usable train window"),
        ([], {}, "the longest of 0 series has 0 steps"),
    ],
)
def test_windows_that_cannot_be_made_are_told_with_the_rule(made, changes, words):
    with pytest.raises(InputError) as caught:
        cut(made, **changes)
    assert words in str(caught.value)


def test_the_same_generator_gives_the_same_split():
    one, _ = cut(series(30, 20))
    two, _ = cut(series(30, 20))
    other, _ = cut(series(30, 20), generator=np.random.default_rng(1))
    assert one["test"].entity.tolist() == two["test"].entity.tolist()
    assert one["test"].entity.tolist() != other["test"].entity.tolist()


def test_packed_windows_unpack_to_themselves():
    windows, _ = cut(series(10, 20))
    again = unpack(pack(windows))
    for name in SPLITS:
        for part in ("context", "target", "location", "scale", "entity", "start"):
            np.testing.assert_array_equal(getattr(windows[name], part), getattr(again[name], part))
