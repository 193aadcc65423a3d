"""Shares of variance of tables whose components are known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.inference import variance
from transformer_spectrum.study.inference.variance import attribution

FACTORS = ["optimizer", "loss"]


def contrast_of(levels, component):
    """Effects of that many levels with mean 0 and mean square `component`."""
    effects = np.linspace(-1, 1, levels)
    return effects * np.sqrt(component / (effects**2).mean())


def table(cells, names=(*FACTORS, "seed")):
    places = list(itertools.product(*map(range, cells.shape)))
    return pd.DataFrame(places, columns=list(names)).assign(value=cells.ravel())


def simulated(generator, seeds=6, crossed=0.16):
    """optimizer 1, loss .25, optimizer x loss `crossed`, seed .25, the rest .16."""
    cells = contrast_of(3, 1.0)[:, None, None] + contrast_of(3, 0.25)[:, None]
    pattern = np.outer([-1, 0, 1], [-1.0, 0, 1])
    cells = cells + (pattern * np.sqrt(crossed / (pattern**2).mean()))[:, :, None]
    return table(cells + 0.5 * generator.normal(size=seeds) + 0.4 * generator.normal(size=(3, 3, seeds)))


def test_squares_fall_apart_exactly_and_are_those_of_the_textbook():
    frame = simulated(np.random.default_rng(1))
    shares = attribution(frame, FACTORS, draws=10).set_index("term")
    centred = frame["value"] - frame["value"].mean()
    assert shares["squares"].sum() == pytest.approx((centred**2).sum())
    assert shares["squares_share"].sum() == pytest.approx(1.0)
    assert shares["degrees"].sum() == len(frame) - 1
    for factor in (*FACTORS, "seed"):
        means = centred.groupby(frame[factor]).transform("mean")
        assert shares.loc[factor, "squares"] == pytest.approx((means**2).sum())
    means = [centred.groupby(frame[factor]).transform("mean") for factor in FACTORS]
    both = centred.groupby([frame[factor] for factor in FACTORS]).transform("mean")
    assert shares.loc["optimizer x loss", "squares"] == pytest.approx(((both - sum(means)) ** 2).sum())


def test_an_additive_table_without_noise_has_its_components_and_nothing_else():
    cells = contrast_of(3, 1.0)[:, None, None] + contrast_of(2, 0.5)[:, None] + contrast_of(4, 0.3)
    shares = attribution(table(cells), FACTORS, draws=10).set_index("term")
    assert shares["component"].to_dict() == pytest.approx(
        {
            "optimizer": 1.0,
            "loss": 0.5,
            "seed": 0.3 * 4 / 3,
            "optimizer x loss": 0.0,
            "optimizer x seed": 0.0,
            "loss x seed": 0.0,
            "optimizer x loss x seed": 0.0,
        },
        abs=1e-12,
    )


def test_simulated_components_are_recovered_without_bias():
    generator = np.random.default_rng(2)
    studies = [attribution(simulated(generator, crossed=0.0), FACTORS, draws=2) for _ in range(300)]
    components = np.array([study["component"] for study in studies])
    terms = dict(
        zip(
            studies[0]["term"],
            zip(components.mean(axis=0), components.std(axis=0) / 300**0.5, strict=True),
            strict=True,
        )
    )
    expected = {
        "optimizer": 1.0,
        "loss": 0.25,
        "optimizer x loss": 0.0,
        "seed": 0.25 + 0.16 / 9,
        "optimizer x seed": 0.16 * 2 / 9,
        "loss x seed": 0.16 * 2 / 9,
        "optimizer x loss x seed": 0.16 * 4 / 9,
    }
    for term, component in expected.items():
        mean, error = terms[term]
        assert mean == pytest.approx(component, abs=4 * error), term


def test_over_all_samples_of_seeds_the_resampled_components_have_those_of_the_table_as_their_mean():
    cells = np.random.default_rng(6).normal(size=(2, 3, 4))
    samples = [np.array(sample) for sample in itertools.product(range(4), repeat=4)]
    mean = np.mean([variance._resampled_components(cells, sample) for sample in samples], axis=0)
    assert mean == pytest.approx(attribution(table(cells), FACTORS, draws=2)["component"].to_numpy())


def test_most_intervals_hold_the_true_share():
    generator = np.random.default_rng(3)
    total, held = 1.0 + 0.25 + 0.16 + 0.25 + 0.16, {"optimizer": 0, "loss": 0, "optimizer x loss": 0}
    truth = {"optimizer": 1.0 / total, "loss": 0.25 / total, "optimizer x loss": 0.16 / total}
    for _ in range(60):
        shares = attribution(simulated(generator), FACTORS, draws=200).set_index("term")
        for term, share in truth.items():
            held[term] += bool(shares.loc[term, "low"] <= share <= shares.loc[term, "high"])
    assert all(count >= 51 for count in held.values()), held


def test_the_order_of_rows_does_not_matter_and_the_bootstrap_is_seeded():
    frame = simulated(np.random.default_rng(4))
    first = attribution(frame, FACTORS, draws=50)
    pd.testing.assert_frame_equal(first, attribution(frame, FACTORS, draws=50))
    shuffled = attribution(frame.sample(frac=1, random_state=0), FACTORS, draws=50)
    assert shuffled["component"].to_numpy() == pytest.approx(first["component"].to_numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.iloc[:-1], "balanced"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "balanced"),
        (lambda frame: frame[frame["seed"] == 0], "seed: has 1 level"),
        (lambda frame: frame.drop(columns="loss"), "no column loss"),
        (lambda frame: frame.assign(value=np.nan), "must be finite"),
    ],
)
def test_a_table_that_is_not_balanced_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        attribution(change(simulated(np.random.default_rng(5))), FACTORS)
