"""The simulated stand-ins: in the schema of the real files, plausible as epidemics, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.signal import find_peaks

from transformer_spectrum.data.fetch import standin
from transformer_spectrum.data.fetch.standin import GENERATION_WEIGHTS, renew, simulate_covid, simulate_rvr
from transformer_spectrum.data.series import rvr
from transformer_spectrum.data.series.covid import check_covid_complete, covid_series, read_covid, trailing_mean
from transformer_spectrum.data.series.rvr import check_rvr_complete, read_rvr, rvr_series

COUNTRIES = ["Sweden", "Austria", "Cote d'Ivoire", "Bonaire, Saba", *[f"Country {i}" for i in range(20)]]


def of_seed(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("covid") / "series.csv"
    simulate_covid(path, of_seed(0), countries=COUNTRIES)
    return read_covid(path)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("rvr") / "series.csv"
    simulate_rvr(path, of_seed(0), regions=rvr.REGIONS)
    return read_rvr(path)


@pytest.mark.parametrize(
    "simulate",
    [
        lambda path, generator: simulate_covid(path, generator, countries=COUNTRIES),
        lambda path, generator: simulate_rvr(path, generator, regions=rvr.REGIONS),
    ],
)
def test_the_seed_decides_every_byte(tmp_path, simulate):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, of_seed(seed))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_the_order_of_the_countries_does_not_matter(tmp_path):
    for name, countries in (("a", COUNTRIES), ("b", [*COUNTRIES[::-1], "World", "Sweden"])):
        simulate_covid(tmp_path / name, of_seed(1), countries=countries)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_simulated_cases_have_the_real_schema(cases):
    check_covid_complete(cases, "x")
    assert list(cases.columns) == ["World", *sorted(COUNTRIES)]
    assert [str(cases.index[i].date()) for i in (0, -1)] == ["2020-01-22", "2023-03-09"]
    np.testing.assert_array_equal(cases["World"], cases[COUNTRIES].sum(axis=1))


def test_simulated_cases_come_in_several_waves(cases):
    series, report = covid_series(cases, COUNTRIES, 7)
    assert report["countries"]["used"] == len(COUNTRIES)
    waves = [len(find_peaks(one.values[:, 0], prominence=0.15 * one.values.max(), distance=30)[0]) for one in series]
    assert np.median(waves) >= 3
    assert min(waves) >= 1


def test_a_weekly_report_stands_on_the_last_day_of_its_week():
    cases = np.arange(20)
    standin._weekly(cases, 3)
    weeks = {9: 3 + 4 + 5 + 6 + 7 + 8 + 9, 16: 10 + 11 + 12 + 13 + 14 + 15 + 16, 19: 17 + 18 + 19}
    assert cases.tolist() == [0, 1, 2, *(weeks.get(day, 0) for day in range(3, 20))]


def test_fewest_cases_are_reported_on_sundays_and_most_at_the_beginning_of_the_week(cases):
    daily = cases.loc["2020-08-01":"2022-03-01", "World"]  # before anyone reports weekly
    by_weekday = daily.groupby(daily.index.day_of_week).mean()
    assert by_weekday.idxmin() == 6
    assert by_weekday.nsmallest(2).index.tolist() == [6, 5]
    assert by_weekday.idxmax() in (0, 1)


def test_simulated_cases_have_the_quirks_of_the_real_ones(cases):
    _, report = covid_series(cases, COUNTRIES, 7)
    assert 0 < report["weekly_reporting"]["count"] < len(COUNTRIES)
    assert cases[COUNTRIES].iloc[0].isna().all()  # blank before the first case
    daily = cases[COUNTRIES].iloc[200:800]  # before anyone reports weekly
    weekend = daily.index.day_of_week >= 5
    assert (daily[weekend].mean() < daily[~weekend].mean()).all()


def test_a_table_without_countries_still_has_the_schema(tmp_path):
    simulate_covid(tmp_path / "series.csv", of_seed(0), countries=[])
    assert list(read_covid(tmp_path / "series.csv").columns) == ["World"]


def test_the_simulated_export_has_the_real_schema(hospitals):
    check_rvr_complete(hospitals, "x")
    names = set(hospitals["jurisdiction"])
    assert names == rvr.STATES | {"PR", "US"} | {f"Region {i}" for i in range(1, 11)}
    assert len(rvr.STATES) == 51
    days = hospitals["collection_date"]
    assert (str(days.min().date()), str(days.max().date())) == ("2020-08-01", "2024-04-27")
    assert len(hospitals) == len(names) * days.nunique()


@pytest.mark.parametrize("field", rvr.FIELDS[2:])
def test_sums_are_the_sums_of_their_members(hospitals, field):
    wide = hospitals.pivot(index="collection_date", columns="jurisdiction", values=field)
    states = sorted(rvr.STATES | {"PR"})
    for name, members in {**rvr.REGIONS, "US": states}.items():
        np.testing.assert_allclose(wide[name], wide[list(members)].sum(axis=1, min_count=len(members)), atol=0.02)


def test_simulated_hospitals_look_like_hospitals(hospitals):
    beds, _ = rvr_series(hospitals, "average_inpatient_beds_occupied")
    flu, _ = rvr_series(hospitals, "total_admissions_all_influenza_confirmed_past_7days")
    assert len(beds) == len(flu) == 52
    for one in beds:  # never empty, never a wild swing from one day's trailing mean to the next
        assert one.values.min() > 0.3 * one.values.max()
        assert np.abs(np.diff(np.log(one.values[:, 0]))).max() < 0.1
    summer, winter = 0.0, 0.0
    for one in flu:
        months = pd.to_datetime(one.start + np.arange(len(one.values)), unit="D").month
        summer += one.values[np.isin(months, (6, 7, 8)), 0].mean()
        winter += one.values[np.isin(months, (12, 1, 2)), 0].mean()
    assert winter > 5 * summer


def test_without_transmission_only_imports_remain():
    imports = np.full((400, 50), 30.0)
    infections = renew(np.zeros((400, 50)), np.zeros((400, 50)), np.full(50, 1e9), imports, 0.0, of_seed(0))
    # 20,000 draws of mean 30 and variance 30 + 30^2 / 60
    assert infections.mean() == pytest.approx(30, abs=5 * np.sqrt((30 + 15) / 20_000))


def test_an_unhindered_epidemic_grows_at_the_euler_lotka_rate():
    """R * sum_k w_k exp(-r k) = 1 (Wallinga & Lipsitch 2007, eq. 2.7)."""
    lags = np.arange(1, len(GENERATION_WEIGHTS) + 1)
    rate = brentq(lambda r: 1.8 * GENERATION_WEIGHTS @ np.exp(-r * lags) - 1, 0, 1)
    shape = (100, 200)
    imports = np.zeros(shape)
    imports[0] = 1000
    infections = renew(np.full(shape, 1.8), np.zeros(shape), np.full(200, 1e15), imports, 0.0, of_seed(0))
    total = infections.sum(axis=1)
    assert np.log(total[-1] / total[40]) / 59 == pytest.approx(rate, rel=0.02)


def test_infections_never_exceed_the_people_that_are_left():
    shape = (300, 5)
    population = np.array([10.0, 100.0, 1000.0, 1e4, 1e5])
    infections = renew(np.full(shape, 8.0), np.zeros(shape), population, np.ones(shape), 0.0, of_seed(0))
    assert (infections.sum(axis=0) <= population).all()
    assert (infections.sum(axis=0) > 0.9 * population).all()


def test_caution_slows_an_epidemic():
    shape = (60, 100)
    peaks = [
        renew(np.full(shape, 3.0), np.zeros(shape), np.full(100, 1e5), np.ones(shape), caution, of_seed(0)).max()
        for caution in (0.0, 200.0)
    ]
    assert peaks[1] < peaks[0] / 3


def test_the_simulated_beds_are_trailing_means(hospitals):
    """A 7-day mean has no weekly rhythm left."""
    beds, _ = rvr_series(hospitals, "average_inpatient_beds_occupied")
    for one in beds:
        change = np.diff(one.values[:, 0])
        centred = change - trailing_mean(change, 7)
        spectrum = np.abs(np.fft.rfft(centred[: len(centred) // 7 * 7])) ** 2
        assert spectrum[len(centred) // 7] < 5 * np.median(spectrum)
