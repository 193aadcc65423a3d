"""Simulated epidemics in the schemas of the two exports, for machines without network.

A stochastic renewal model, all entities at once: new infections are drawn around
R(t) * sum_k w(k) I(t - k) * S(t) / N (Cori et al. 2013, Am. J. Epidemiol. 178(9), eq. 1, with depletion). R moves
with the season, slowly drifting behaviour, caution in the face of many infections, and variants that spread
faster and escape immunity; waves come from these together. Populations are random and are nobody's: no number
here says anything about a country or a state.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

GENERATION_WEIGHTS = np.exp(-0.5 * ((np.arange(1, 15) - 5.0) / 2.5) ** 2)
GENERATION_WEIGHTS /= GENERATION_WEIGHTS.sum()  # w(1..14), mean 5.3 days
COVID_DAYS = np.arange(np.datetime64("2020-01-22"), np.datetime64("2023-03-10"))
RVR_DAYS = np.arange(np.datetime64("2020-08-01"), np.datetime64("2024-04-28"))
WARM_UP_DAYS = 60  # before the first day of RVR, so that trailing windows are full
WEEKDAYS = np.array([1.15, 1.2, 1.1, 1.05, 1.05, 0.8, 0.65])  # share of reports, Monday to Sunday; mean 1


def _drift(days: int, entities: int, spread: float, memory: float, generator: np.random.Generator) -> np.ndarray:
    """exp of a stationary first-order autoregression: (days, entities), median 1; memory in days."""
    keep = np.exp(-1 / memory)
    state = generator.normal(0, spread, entities)
    path = np.empty((days, entities))
    for day, shock in enumerate(generator.normal(0, spread * np.sqrt(1 - keep**2), (days, entities))):
        path[day] = state = keep * state + shock
    return np.exp(path)


def _season(days: np.ndarray, amplitude: float) -> np.ndarray:
    """(days, 1) factor with mean 1 that peaks in mid January."""
    day_of_year = (days - days.astype("datetime64[Y]")).astype(int)
    return 1 + amplitude * np.cos(2 * np.pi * (day_of_year - 15) / 365.25)[:, np.newaxis]


def _variants(days: int, entities: int, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Growth of transmissibility (days, entities) and the daily share of the immune who lose immunity."""
    arrivals = np.linspace(150, days - 120, count) + generator.normal(0, 25, count)
    advantage, escape = generator.uniform(0.15, 0.35, count), generator.uniform(0.25, 0.65, count)
    transmissibility, loss = np.ones((days, entities)), np.full((days, entities), 1 / 400)
    for arrival, faster, escaping in zip(arrivals, advantage, escape, strict=True):
        when = arrival + generator.normal(0, 12, entities)
        taken = 1 / (1 + np.exp(-(np.arange(days)[:, np.newaxis] - when) / 8))  # logistic takeover
        transmissibility *= 1 + faster * taken
        loss += escaping * np.diff(taken, axis=0, prepend=taken[:1])
    return transmissibility, loss


def renew(
    reproduction: np.ndarray,
    loss: np.ndarray,
    population: np.ndarray,
    imports: np.ndarray,
    caution: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Infections of a renewal process with immunity that wanes and people who take care.

    Args:
        reproduction: (T, E) R(t) without immunity or caution.
        loss: (T, E) share of the immune who become susceptible again; a day.
        population: (E,) people.
        imports: (T, E) infections from outside; expected count a day.
        caution: R falls by exp(-caution * share of the population infected a day).
        generator: of all draws.
    Returns:
        (T, E) new infections; whole numbers, at most the population each day.

    >>> ones = np.ones((30, 1))
    >>> generator, people = np.random.default_rng(0), np.array([1e6])
    >>> infections = renew(1.5 * ones, 0 * ones, people, imports=10 * ones, caution=0.0, generator=generator)
    >>> infections.shape, bool(infections[-1, 0] > 10 * infections[0, 0])  # R = 1.5: it grows
    ((30, 1), True)
    """
    length, width = reproduction.shape
    memory = len(GENERATION_WEIGHTS)
    infections = np.zeros((memory + length, width))
    immune = np.zeros(width)
    for day in range(length):
        pressure = GENERATION_WEIGHTS[::-1] @ infections[day : day + memory]
        susceptible = np.maximum(population - immune, 0)
        care = np.exp(-caution * pressure / population)
        expected = reproduction[day] * care * pressure * susceptible / population + imports[day]
        drawn = generator.poisson(expected * generator.gamma(60, 1 / 60, width))
        infections[memory + day] = np.minimum(drawn, susceptible.astype(np.int64))
        immune = immune * (1 - np.minimum(loss[day], 1)) + infections[memory + day]
    return infections[memory:]


def _trailing_sum(values: np.ndarray, days: int) -> np.ndarray:
    """(T, E) -> (T - days + 1, E)."""
    return np.lib.stride_tricks.sliding_window_view(values, days, axis=0).sum(axis=-1)


def _weekly(cases: np.ndarray, begin: int) -> None:
    """Gathers the days from `begin` into one report a week, in place; (T,)."""
    for day in range(begin, len(cases), 7):
        week = cases[day : day + 7]
        week[-1], week[:-1] = week.sum(), 0


def simulate_covid(path: Path, generator: np.random.Generator, *, countries: Sequence[str]) -> None:
    """Writes daily new cases, wide: date, World, then a column for each country.

    With the quirks of the real table: blanks before the first case, few reports at weekends, and a quarter of the
    countries reporting once a week from some day in the last 300 on.

    Args:
        path: the CSV to write.
        generator: of all draws; the same state gives the same bytes.
        countries: column names.

    >>> simulate_covid(Path("cases.csv"), np.random.default_rng(0), countries=["Malta", "Sweden"])
    >>> Path("cases.csv").read_text().splitlines()[0]
    'date,World,Malta,Sweden'
    """
    names = sorted(set(countries) - {"World"})
    length, width = len(COVID_DAYS), len(names)
    population = np.exp(generator.normal(np.log(8e6), 1.0, width)).round()
    transmissibility, loss = _variants(length, width, 5, generator)
    reproduction = 1.9 * transmissibility * _season(COVID_DAYS, 0.2) * _drift(length, width, 0.2, 40.0, generator)
    arrived = np.arange(length)[:, np.newaxis] >= generator.integers(2, 60, width)
    infections = renew(reproduction, loss, population, arrived * population * 2e-7, 120.0, generator)
    share = np.minimum(0.3 * _drift(length, width, 0.3, 90.0, generator), 0.9)
    weekday = WEEKDAYS[(COVID_DAYS.astype(int) + 3) % 7][:, np.newaxis] ** generator.uniform(0.3, 2.0, width)
    cases = generator.poisson(infections * share * weekday * generator.gamma(60, 1 / 60, (length, width)))
    for column in np.flatnonzero(generator.random(width) < 0.25):
        _weekly(cases[:, column], int(generator.integers(length - 300, length - 200)))
    begun = np.cumsum(cases, axis=0) > 0
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["date", "World", *names])
        for day, row, seen in zip(COVID_DAYS, cases, begun, strict=True):
            cells = [f"{value:.1f}" if is_known else "" for value, is_known in zip(row, seen, strict=True)]
            writer.writerow([str(day), f"{row.sum():.1f}", *cells])


def _beds(days: np.ndarray, population: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(T, E) occupied beds each day: the ordinary use of capacity and an epidemic's patients on top."""
    length, width = len(days), len(population)
    transmissibility, loss = _variants(length, width, 6, generator)
    reproduction = 1.6 * transmissibility * _season(days, 0.2) * _drift(length, width, 0.1, 30.0, generator)
    infections = renew(reproduction, loss, population, np.ones((length, 1)) * population * 1e-6, 200.0, generator)
    patients = np.zeros((length, width))
    staying = np.zeros(width)
    for day, admitted in enumerate(generator.binomial(infections.astype(np.int64), 0.02)):
        patients[day] = staying = staying * (1 - 1 / 8) + admitted  # 8 days on average
    ordinary = population * generator.uniform(1.6e-3, 2.4e-3, width) * _drift(length, width, 0.03, 60.0, generator)
    weekday = np.where((days.astype(int) + 3) % 7 >= 5, 0.96, 1.0)[:, np.newaxis]
    return ordinary * weekday * generator.normal(1, 0.005, (length, width)) + patients


def _flu(days: np.ndarray, population: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(T, E) influenza admissions each day: a wave each winter, next to none in the first."""
    length, width = len(days), len(population)
    winter = (days.astype("datetime64[M]") - np.datetime64("2020-07")).astype(int) // 12
    severity = np.concatenate([[0.6], generator.uniform(0.92, 1.12, winter.max())])[np.maximum(winter, 0)]
    reproduction = 1.12 * severity[:, np.newaxis] * _season(days, 0.3) * _drift(length, width, 0.05, 30.0, generator)
    loss = np.full((length, width), 1 / 250)
    infections = renew(reproduction, loss, population, np.ones((length, 1)) * population * 2e-6, 100.0, generator)
    return generator.binomial(infections.astype(np.int64), 0.002).astype(np.float64)


def simulate_rvr(path: Path, generator: np.random.Generator, *, regions: Mapping[str, Sequence[str]]) -> None:
    """Writes the long hospital export: quoted fields, one row for each jurisdiction and day, sums included.

    Args:
        path: the CSV to write.
        generator: of all draws; the same state gives the same bytes.
        regions: region -> its states. The nation, "US", is the sum of all.

    >>> simulate_rvr(Path("beds.csv"), np.random.default_rng(0), regions={"Region 1": ["CT", "MA"]})
    >>> sorted({line.split(",")[0] for line in Path("beds.csv").read_text().splitlines()[1:]})
    ['"CT"', '"MA"', '"Region 1"', '"US"']
    """
    states = sorted(state for members in regions.values() for state in members)
    days = np.arange(RVR_DAYS[0] - WARM_UP_DAYS, RVR_DAYS[-1] + 1)
    population = np.exp(generator.normal(np.log(4.5e6), 1.0, len(states))).round()
    beds = _trailing_sum(_beds(days, population, generator), 7)[-len(RVR_DAYS) :] / 7
    flu = _trailing_sum(_flu(days, population, generator), 7)[-len(RVR_DAYS) :]
    # Reporting of influenza began later than that of beds.
    flu[np.arange(len(RVR_DAYS))[:, np.newaxis] < generator.integers(0, 90, len(states))] = np.nan
    columns = {state: (beds[:, i].round(2), flu[:, i]) for i, state in enumerate(states)}
    for name, members in {**regions, "US": states}.items():
        columns[name] = tuple(np.sum([columns[state][k] for state in members], axis=0) for k in (0, 1))
    with path.open("w", newline="", encoding="utf-8") as stream:
        stream.write('"jurisdiction","collection_date","average_inpatient_beds_1","total_admissions_all_influenza"\n')
        for name in sorted(columns):
            for day, occupied, admitted in zip(RVR_DAYS, *columns[name], strict=True):
                cell = "" if np.isnan(admitted) else f'"{admitted:.0f}"'
                stream.write(f'"{name}","{day}T00:00:00.000","{occupied:.2f}",{cell}\n')
