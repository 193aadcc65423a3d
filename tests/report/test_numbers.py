"""Every number of the tables, computed once more from the stored histories and weights; see `recomputed`."""

import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recomputed import BEST, BOOTSTRAP, MIN_TAIL, NULLS, OVERLAP_RANK, PLAIN, SEED, SHUFFLES, TRACKED, Recomputed

from transformer_spectrum.analysis.of_training import densities, direction_tables, long_tables, plot_tables
from transformer_spectrum.analysis.of_training.circuits import circuits_at
from transformer_spectrum.analysis.of_training.comparison_file import comparison
from transformer_spectrum.analysis.of_training.metrics_file import HEADLINE_METRICS, effects, headline
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.runtime.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra import power_law, tail_tests
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.effects import HEAVY_TAILED, NO_SPREAD
from transformer_spectrum.spectra.submatrices import farms_alpha
from transformer_spectrum.study.running import spectra_rows


@pytest.fixture(scope="module")
def truth(few_histories, kept):
    return Recomputed(few_histories, kept(few_histories))


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=BOOTSTRAP)


def as_dicts(header, table):
    assert tuple(table.columns) == header
    return [dict(zip(header, row, strict=True)) for row in cells(table)]


def near(value, rel=1e-6):
    return pytest.approx(float(value), rel=rel, abs=1e-9)


def test_the_history_holds_every_metric_of_every_matrix_and_of_its_change_at_every_step(truth, summaries):
    rows = as_dicts(long_tables.SPECTRA_HISTORY, long_tables.spectra_history(summaries))
    assert len(rows) == sum(len(history.steps) for history in truth.histories.values()) * len(truth.names)
    for row in rows:
        optimizer, m, position = row["optimizer"], truth.names.index(row["matrix"]), row["step"]
        expected = truth.of_history[optimizer][position][m]
        assert {name: float(row[name]) for name in METRICS} == {name: near(expected[name]) for name in METRICS}
        history = truth.histories[optimizer]
        assert (row["evaluations"], row["validation_mae"]) == (
            history.evaluations[position],
            history.validation_mae[position],
        )
        start = truth.matrix(optimizer, 0, m)
        walked = np.linalg.norm(truth.change(optimizer, position, m)) / np.linalg.norm(start)
        assert row["distance"] == near(walked, rel=1e-5)
        assert m in truth.families[row["family"]]
        assert (row["rows"], row["columns"]) == truth.shapes[m]
        assert all(row[f"step_{name}"] == "" for name in METRICS)  # not asked for
        changes = {name: row[f"change_{name}"] for name in METRICS}
        if position == 0:
            norms = {name for name, value in changes.items() if value != ""}
            assert norms == {"spectral_norm", "frobenius_norm", "numerical_rank"}
            assert {changes[name] for name in norms} == {0.0}
            assert "zero matrix: " in row["missing"]
        else:
            values = truth.of_change(optimizer, position, m)
            rounded = {"rel": 1e-4 if optimizer == "adam" else 2e-5}  # the history holds them in float32
            found = {name: changes[name] for name in values}
            assert found == {name: near(value, **rounded) for name, value in values.items()}


@pytest.mark.parametrize(("prefix", "null"), [(prefix, null) for prefix, names in NULLS.items() for null in names])
def test_every_null_is_of_the_step_and_the_matrix_it_stands_beside(truth, summaries, prefix, null):
    table = long_tables.spectra_nulls(summaries)
    mine = table[(table["null"] == null) & table["metric"].astype(str).isin([f"{prefix}{name}" for name in PLAIN])]
    rows = as_dicts(long_tables.SPECTRA_NULLS, mine)
    assert len(rows) == sum(map(len, TRACKED.values())) * len(truth.names) * len(PLAIN)
    deviating = 0
    for row in rows:
        optimizer, step, metric = row["optimizer"], row["step"], row["metric"]
        m = truth.names.index(row["matrix"])
        if prefix and not step:
            continue  # nothing has changed yet: held below
        draws = truth.draws(optimizer, step, m, metric, null)
        value = truth.value(optimizer, step, m, metric)
        # Entries are float64, the histories' values float32; what of Adam's changes of rank 3 is rounding may be cut.
        rounded = 1e-6 if prefix and optimizer != "adam" else 2e-4
        assert row["value"] == near(value, rel=rounded)
        if not prefix:
            assert row["initial"] == near(truth.value(optimizer, 0, m, metric), rel=rounded)
        middle, sd = draws.mean(), draws.std(ddof=1)
        assert row["null_mean"] == near(middle)
        assert row["null_sd"] == pytest.approx(sd, rel=1e-5, abs=1e-8 * max(1, abs(middle)))
        assert row["difference"] == pytest.approx(row["value"] - middle, rel=1e-6, abs=1e-7 * max(1, abs(middle)))
        alike = np.sum(abs(draws - np.sort(draws)[(SHUFFLES - 1) // 2]) <= 1e-6 * abs(draws)) >= SHUFFLES / 2
        assert row["reason"] == (NO_SPREAD if alike else "")
        assert row["deviations"] == ("" if alike else near((row["value"] - middle) / sd, rel=1e-4))
        deviating += not alike
    assert deviating > len(rows) / 2


def test_a_metric_without_a_usable_null_says_so_and_the_start_has_no_effect(truth, summaries):
    rows = as_dicts(long_tables.SPECTRA_NULLS, long_tables.spectra_nulls(summaries))
    count = sum(map(len, TRACKED.values())) * len(truth.names) * len(METRICS)
    assert len(rows) == count * sum(map(len, NULLS.values()))
    for row in rows:
        assert (row["reason"] != "") == (row["deviations"] == "")
        assert (row["missing"] != "") == (row["value"] == "")
        if row["metric"] == "condition_number" and row["null"] == "shuffled":
            assert (row["deviations"], row["reason"]) == ("", HEAVY_TAILED)
            assert row["difference"] == near(row["value"] - row["null_mean"])
        if row["null"] in ("shuffled", "initial") and row["metric"] == "frobenius_norm" and row["step"] == 0:
            assert row["reason"] == NO_SPREAD
        if row["null"] == "path" and row["step"] == 0:  # every draw is W_0 itself
            assert row["difference"] == pytest.approx(0, abs=1e-9 * max(1, abs(row["value"])))
            assert row["reason"] in (NO_SPREAD, HEAVY_TAILED)
        if row["null"].startswith("change") and row["step"] == 0 and row["metric"] == "change_stable_rank":
            assert (row["value"], row["null_mean"], row["missing"]) == ("", "", "zero matrix")


def test_the_tests_of_a_tail_are_of_the_step_they_stand_at(truth, summaries):
    rows = as_dicts(long_tables.SPECTRA_TAILS, long_tables.spectra_tails(summaries))
    assert len(rows) == 3 * 2 * len(truth.names)
    p_values = {}
    for row in rows:
        optimizer, step, m = row["optimizer"], row["step"], truth.names.index(row["matrix"])
        matrix = truth.matrix(optimizer, step, m)
        eigenvalues = np.linalg.svd(matrix, compute_uv=False) ** 2
        fit = power_law.clauset_fit(eigenvalues, MIN_TAIL, "two_sided")
        for column, value in zip(
            ("ks_alpha", "ks_alpha_se", "ks_distance", "ks_tail", "ks_xmin"),
            (fit.alpha, fit.standard_error, fit.distance, fit.tail, fit.xmin),
            strict=True,
        ):
            assert float(row[column]) == near(value)
        own, own_sd = truth.null(optimizer, step, [m], "ks_alpha", "path" if step else "initial")
        assert float(row["null_alpha"]) == near(own)
        assert float(row["null_alpha_sd"]) == near(own_sd, rel=1e-5)
        generator = numpy_generator(SEED, f"bootstrap {optimizer if step else 'initial'} {row['matrix']}")
        goodness = tail_tests.goodness_of_fit(eigenvalues, min_tail=MIN_TAIL, draws=BOOTSTRAP, generator=generator)
        assert float(row["goodness_p"]) == near(goodness.p_value)
        assert float(row["goodness_p_se"]) == near(goodness.standard_error)
        p_values[optimizer, step, m] = goodness.p_value
        for rival in ("lognormal", "exponential", "truncated_power_law"):
            ratio = tail_tests.likelihood_ratio(eigenvalues, float(fit.xmin), rival)
            for column, value in ((f"{rival}_ratio", ratio.ratio), (f"{rival}_p", ratio.p_value)):
                assert row[column] == "" if np.isnan(value) else float(row[column]) == near(value, rel=1e-4)
        farms = farms_alpha(matrix[None], side=8)
        assert row["farms_alpha"] == "" if farms.reason[0] else float(row["farms_alpha"]) == near(farms.alpha[0])
    # Else a goodness of another step would pass.
    assert sum(p_values["adam", 0, m] != p_values["adam", 12, m] for m in truth.shapes) > 3
    for optimizer, summary in summaries.items():
        for position, tails in summary.evidence.tails.items():
            for m, tail in enumerate(tails):
                last = truth.of_history[optimizer][TRACKED[optimizer][position]][m]
                assert tail.goodness.distance == near(last["ks_distance"], rel=2e-4)


def test_the_evolution_holds_family_means_beside_their_null(truth, summaries):
    rows = as_dicts(plot_tables.SPECTRA_EVOLUTION, plot_tables.spectra_evolution(summaries))
    assert {row["step"] for row in rows if row["optimizer"] == "ga"} == set(range(18))
    nulls = 0
    for row in rows:
        optimizer, step, family, metric = row["optimizer"], row["step"], row["family"], row["metric"]
        history = truth.histories[optimizer]
        assert row["evaluations"] == step * (66 if optimizer == "adam" else 32)
        assert row["validation_mae"] == history.validation_mae[step]
        assert row["distance"] == near(truth.distance(optimizer, step, family), rel=1e-5)
        if metric.startswith("change_") and (step == 0 or (optimizer == "adam" and metric == "change_mp_spikes")):
            continue  # a zero matrix; one of rank 3 has no bulk
        assert row["value"] == near(truth.mean(optimizer, step, family, metric), rel=2e-5)
        if not metric.startswith("change_"):
            assert row["initial"] == near(truth.mean(optimizer, 0, family, metric))
        if step not in TRACKED[optimizer]:
            assert (row["null_low"], row["null_high"], row["effect"], row["deviations"]) == ("",) * 4
        elif metric.removeprefix("change_") in PLAIN or step == BEST[optimizer]:
            middle, sd = truth.null(optimizer, step, truth.families[family], metric)
            for name, side in (("null_low", -2), ("null_high", 2)):
                assert row[name] == pytest.approx(middle + side * sd, rel=1e-5, abs=1e-8 * max(1, abs(middle)))
            difference = truth.observed(optimizer, step, family, metric) - middle
            assert row["effect"] == pytest.approx(difference, rel=1e-5, abs=1e-8 * max(1, abs(middle)))
            if row["deviations"] != "":
                assert row["deviations"] == near(difference / sd, rel=1e-4)
            nulls += row["deviations"] != ""
    assert nulls > 50


def test_the_headline_numbers_are_means_of_the_last_step_beside_the_null_of_the_path(truth, summaries):
    tree = headline(summaries)
    for optimizer in ("initial", *TRACKED):
        name, position = (truth.first, 0) if optimizer == "initial" else (optimizer, TRACKED[optimizer][-1])
        for family, members in truth.families.items():
            numbers = dict(tree[optimizer][family])
            middle, _ = truth.null(name, position, members, "ks_alpha", "path" if position else "initial")
            assert numbers.pop("ks_alpha_null") == near(middle, rel=1e-5)
            expected = {metric: near(truth.mean(name, position, family, metric), rel=2e-5) for metric in numbers}
            assert numbers == expected
            none = set() if position else {"change_stable_rank"}
            assert set(numbers) == {*HEADLINE_METRICS, "ks_distance", "ks_tail"} - none


def test_the_effects_are_of_the_best_step_and_of_the_family_that_moves(truth, summaries):
    tree = effects(summaries)
    assert tree.pop("reasons") == []
    assert list(tree) == list(TRACKED)
    for optimizer, numbers in tree.items():
        best = BEST[optimizer]
        mae = truth.histories[optimizer].validation_mae
        assert (best, numbers["step"]) == (int(mae.argmin()), best)
        assert numbers["validation_mae"] == near(mae[best], rel=1e-5)
        expected = {"distance": near(truth.distance(optimizer, best, "feed_forward"), rel=1e-5)}
        for metric in ("change_stable_rank", "stable_rank"):
            difference, deviations = truth.effect(optimizer, best, "feed_forward", metric)
            expected[metric] = near(truth.mean(optimizer, best, "feed_forward", metric), rel=2e-5)
            expected[f"{metric}_effect"] = pytest.approx(difference, rel=1e-4, abs=1e-5)
            expected[f"{metric}_deviations"] = pytest.approx(deviations, rel=1e-4, abs=1e-3)
        assert numbers["feed_forward"] == expected


def crossing(positions, target):
    """How far along the records, as a position with a fraction, a path first is at a target; both rising."""
    for later in range(1, len(positions)):
        if positions[later] == target:
            return later
        if positions[later] > target:
            if later == 1:
                return None
            return later - 1 + (target - positions[later - 1]) / (positions[later] - positions[later - 1])
    return None


def test_the_comparison_is_where_each_training_first_is_at_what_all_reach(truth, summaries):
    tree = comparison(summaries, dataset="synthetic", seed=1)
    paths = {}
    for optimizer, history in truth.histories.items():
        walked = [truth.distance(optimizer, step, "feed_forward") for step in range(len(history.steps))]
        paths[optimizer] = {
            "validation_mae": -history.validation_mae,
            "evaluations": history.evaluations.astype(float),
            "distance": np.array(walked),
        }
    assert list(tree["axes"]) == ["validation_mae", "evaluations", "distance"]  # one gradient method: no updates
    for axis, held in tree["axes"].items():
        target = min(positions[axis][1:].max() for positions in paths.values())
        assert held["target"] == near(abs(target), rel=1e-5)
        for optimizer, arm in held["arms"].items():
            positions = paths[optimizer][axis]
            end = positions[1:].max()
            place = crossing(positions, target) if end != target else int(np.flatnonzero(positions == target)[0])
            assert (arm["crossing"] == "reached") == (place is not None)
            if place is None:
                assert arm["crossing"] == "left_censored"
                assert (arm["updates"], arm["stable_rank"], arm["change_stable_rank"]) == (None, None, None)
                continue
            assert arm["updates"] == near(place, rel=1e-4)
            for metric in ("stable_rank", "change_stable_rank"):
                steps = np.arange(1, len(positions))
                values = [truth.mean(optimizer, step, "feed_forward", metric) for step in steps]
                assert arm[metric] == near(np.interp(place, steps, values), rel=1e-4)
    for verdict in tree["verdicts"]:
        differences = {}
        for axis, held in tree["axes"].items():
            first, second = (held["arms"][verdict[name]][verdict["metric"]] for name in ("first", "second"))
            differences[axis] = None if first is None or second is None else first - second
        for axis, difference in differences.items():
            found = verdict["differences"][axis]
            assert found is None if difference is None else found == pytest.approx(difference, rel=1e-3, abs=1e-4)
        signs = {np.sign(difference) for difference in differences.values() if difference is not None}
        alike = None if None in differences.values() else True
        assert verdict["agrees"] is (False if len(signs) > 1 else alike)
    assert len(tree["verdicts"]) == 2 * 3
    assert tree["sentences"][-1] == "This is one seed (1): what another would show, it does not say."
    assert comparison({"adam": summaries["adam"]}, dataset="synthetic", seed=1) == {}


# -- directions --------------------------------------------------------------------------------------------------------
HEADS = 4


def factors_of(snapshots, attention, step):
    """Queries, keys, values and outputs, float64."""
    position = snapshots.steps.index(step)
    names = ("query", "key", "value", "output")
    return [snapshots.weights[f"{attention}.{name}"][position].astype(float) for name in names]


def gains_of(snapshots, attention, step):
    """What multiplies the inputs of the queries, and those of keys and values, by the model's own order of norms."""
    side, layer, kind = attention.split(".")
    position = snapshots.steps.index(step)
    if kind == "cross_attention":
        norms = f"{side}.{layer}.self_norm", "encoder_norm"
    else:
        norms = (f"{side}.{int(layer) - 1}.feed_norm",) * 2 if int(layer) else (None, None)
    return [1.0 if norm is None else snapshots.gains[norm][position].astype(float) for norm in norms]


def products(factors, gains):
    """Circuit's kind and head -> singular values of the formed d x d product."""
    query, key, value, output = factors
    query, key, value = query * gains[0], key * gains[1], value * gains[1]
    width = len(query) // HEADS
    values = {}
    for head in range(HEADS):
        rows = slice(head * width, (head + 1) * width)
        values["query_key", head] = np.linalg.svd(query[rows].T @ key[rows], compute_uv=False)[:width]
        values["output_value", head] = np.linalg.svd(output[:, rows] @ value[rows], compute_uv=False)[:width]
    return values


def of_products(values):
    energies = values**2 / (values**2).sum()
    energies = energies[energies > 0]
    return {"stable_rank": (values**2).sum() / values.max() ** 2, "spectral_entropy": -(energies @ np.log(energies))}


def test_circuits_are_products_of_the_heads_as_they_are_and_with_gains_beside_shuffled_changes(trainings):
    history, snapshots = trainings["adam"]
    steps = (0, 5, 12)
    evidence = SimpleNamespace(
        steps=steps,
        circuits=[
            circuits_at(snapshots, step, HEADS, SHUFFLES, torch_generator(SEED, f"circuits adam {step}"))
            for step in steps
        ],
    )
    summary = SimpleNamespace(history=history, evidence=evidence, tracked=list(steps))
    table = direction_tables.spectra_circuits({"adam": summary})
    attentions = list(
        dict.fromkeys(name.rpartition(".")[0] for name in history.names.tolist() if name.endswith(".query"))
    )
    assert len(attentions) == 6
    expected = {}
    for step in steps:
        generator = torch_generator(SEED, f"circuits adam {step}")
        start = {name: factors_of(snapshots, name, 0) for name in attentions}
        end = {name: factors_of(snapshots, name, step) for name in attentions}
        gains = {name: gains_of(snapshots, name, step) for name in attentions}
        drawn = []
        for _ in range(SHUFFLES):
            shuffled = {name: [] for name in attentions}
            for factor in range(4):
                for name in attentions:
                    change = end[name][factor] - start[name][factor]
                    order = torch.randperm(change.size, generator=generator).numpy()
                    shuffled[name].append(start[name][factor] + change.ravel()[order].reshape(change.shape))
            drawn.append(shuffled)
        for name in attentions:
            for folded in (0, 1):
                by = gains[name] if folded else (1.0, 1.0)
                values, draws = products(end[name], by), [products(draw[name], by) for draw in drawn]
                for (kind, head), spectrum in values.items():
                    null = [of_products(draw[kind, head]) for draw in draws]
                    for metric, value in of_products(spectrum).items():
                        key = step, f"{name}.{kind}.head_{head}", folded, metric
                        expected[key] = value, np.array([draw[metric] for draw in null])
    assert len(table) == len(expected)
    differ = 0
    for row in as_dicts(direction_tables.SPECTRA_CIRCUITS, table):
        value, draws = expected[row["step"], row["circuit"], row["folded"], row["metric"]]
        assert row["value"] == near(value)
        assert row["initial"] == near(expected[0, row["circuit"], row["folded"], row["metric"]][0])
        assert row["null_mean"] == near(draws.mean())
        assert row["null_sd"] == pytest.approx(draws.std(ddof=1), rel=1e-5, abs=1e-8)
        assert row["difference"] == pytest.approx(value - draws.mean(), rel=1e-5, abs=1e-8)
        assert row["evaluations"] == 66 * row["step"]
        attention, kind, head = re.fullmatch(r"(.+)\.(query_key|output_value)\.head_(\d)", row["circuit"]).groups()
        side, _, block = attention.split(".")
        assert (row["family"], row["head"]) == (f"{side}_{block}_{kind}", int(head))
        if row["step"]:
            assert row["deviations"] == near((value - draws.mean()) / draws.std(ddof=1), rel=1e-4)
        else:
            assert (row["deviations"], row["reason"]) == ("", NO_SPREAD)
        if row["folded"] and row["step"]:
            differ += abs(value / expected[row["step"], row["circuit"], 0, row["metric"]][0] - 1) > 1e-4
    assert differ > 50  # else the gains would not have been folded in


def test_vectors_of_a_change_are_compared_with_those_of_the_start(truth, summaries):
    rows = as_dicts(direction_tables.SPECTRA_VECTORS, direction_tables.spectra_vectors(summaries))
    assert len(rows) == sum(len(steps) - 1 for steps in TRACKED.values()) * len(truth.names)
    k = OVERLAP_RANK
    for row in rows:
        optimizer, step, m = row["optimizer"], row["step"], truth.names.index(row["matrix"])
        start, change = truth.matrix(optimizer, 0, m), truth.change(optimizer, step, m)
        (left, _, right), (left_step, _, right_step) = np.linalg.svd(start), np.linalg.svd(change)
        overlaps = {
            "left": (left_step[:, :k].T @ left[:, :k]) ** 2,
            "right": (right_step[:k] @ right[:k].T) ** 2,
        }
        assert (row["rank"], row["reason"]) == (k, "")
        assert (row["rows"], row["columns"]) == start.shape == truth.shapes[m]
        assert row["evaluations"] == truth.histories[optimizer].evaluations[step]
        for (side, cosines), n in zip(overlaps.items(), start.shape, strict=True):
            assert row[side] == near(cosines.sum() / k, rel=1e-5)
            assert row[f"{side}_random"] == near(k / n)
            spread = (n - k) / n * np.sqrt(2 / ((n - 1) * (n + 2)))
            assert row[f"{side}_random_sd"] == near(spread)
    # What a uniformly random subspace has, by drawing some.
    generator = np.random.default_rng(0)
    drawn = [(np.linalg.qr(generator.normal(size=(16, k)))[0][:k] ** 2).sum() / k for _ in range(4000)]
    some = next(row for row in rows if row["rows"] == 16)
    assert np.mean(drawn) == pytest.approx(some["left_random"], rel=0.03)
    assert np.std(drawn) == pytest.approx(some["left_random_sd"], rel=0.05)


def births_of(counts):
    """Number of a spike -> first step at all with as many, first from which on they stand, whether from the start."""
    births = {}
    for spike in range(1, int(max(counts.values(), default=0)) + 1):
        born = None
        for step in reversed(counts):
            if counts[step] < spike:
                break
            born = step
        crossed = next(step for step, count in counts.items() if count >= spike)
        births[spike] = crossed, born, int(born == next(iter(counts)))
    return births


def test_a_spike_is_born_at_the_first_record_from_which_on_it_stands(truth, summaries):
    summary = summaries["es"]
    history, generator = summary.history, np.random.default_rng(0)
    shape = len(history.steps), len(truth.names)
    values = {
        name: np.where(generator.uniform(size=shape) < 0.1, np.nan, generator.integers(0, 4, shape).cumsum(0) % 5)
        for name in ("mp_spikes", "change_mp_spikes")
    }
    analysis = SimpleNamespace(values=values)
    made = SimpleNamespace(history=history, families=summary.families, analysis=analysis)
    rows = as_dicts(direction_tables.SPECTRA_SPIKES, direction_tables.spectra_spikes({"es": made}))
    found = {(row["of"], row["matrix"], row["spike"]): row for row in rows}
    expected = {}
    for of, name in (("weights", "mp_spikes"), ("change", "change_mp_spikes")):
        for m, matrix in enumerate(truth.names):
            column = values[name][:, m]
            counts = {step: count for step, count in enumerate(column.tolist()) if not np.isnan(count)}
            expected |= {(of, matrix, spike): birth for spike, birth in births_of(counts).items()}
    assert len(found) == len(rows)
    assert found.keys() == expected.keys()
    assert {born is None for _, born, _ in expected.values()} == {True, False}
    for key, row in found.items():
        crossed, born, from_the_start = expected[key]
        assert (row["crossed"], row["born"]) == (crossed, "" if born is None else born)
        assert (row["from_the_start"], row["reason"] != "") == (from_the_start, born is None)
        assert row["evaluations"] == ("" if born is None else history.evaluations[born])
        assert row["validation_mae"] == ("" if born is None else history.validation_mae[born])
        assert truth.names.index(row["matrix"]) in truth.families[row["family"]]


def test_the_spikes_that_are_born_are_those_of_the_histories(truth, summaries):
    rows = as_dicts(direction_tables.SPECTRA_SPIKES, direction_tables.spectra_spikes(summaries))
    for optimizer in ("es", "ga"):  # whose changes have full rank
        for of, metric in (("weights", "mp_spikes"), ("change", "change_mp_spikes")):
            for m, name in enumerate(truth.names):
                first = int(of == "change")
                counts = {p: truth.value(optimizer, p, m, metric) for p in range(first, 18)}
                births = births_of({step: count for step, count in counts.items() if not np.isnan(count)})
                mine = {
                    row["spike"]: (row["crossed"], row["born"] if row["born"] != "" else None, row["from_the_start"])
                    for row in rows
                    if (row["optimizer"], row["matrix"], row["of"]) == (optimizer, name, of)
                }
                assert mine == births


def test_the_heat_map_holds_every_matrix_and_its_change(truth, summaries):
    for row in as_dicts(plot_tables.HEATMAP, plot_tables.heatmap(summaries)):
        value, start = (truth.of_history[row["optimizer"]][p][row["row"]][row["metric"]] for p in (row["step"], 0))
        assert row["matrix"] == truth.names[row["row"]]
        assert row["value"] == near(value)
        assert row["change"] == pytest.approx(100 * (value / start - 1), rel=1e-5, abs=1e-5)


def test_singular_values_are_means_by_rank_beside_the_initial_ones_or_the_shuffled_change(truth, summaries):
    for row in as_dicts(plot_tables.SINGULAR_VALUES, plot_tables.singular_values(summaries)):
        optimizer, step, rank = row["optimizer"], row["step"], row["rank"] - 1
        members = truth.families[row["family"]]
        if row["of"] == "weights":
            expected = [
                np.mean([float(truth.histories[optimizer].singular_values[at, m, rank]) for m in members])
                for at in (step, 0)
            ]
            assert [row["value"], row["reference"]] == [near(value) for value in expected]
        else:
            spectra = [np.linalg.svd(truth.change(optimizer, step, m), compute_uv=False) for m in members]
            largest = np.mean([values[0] for values in spectra])
            assert row["value"] == pytest.approx(np.mean([s[rank] for s in spectra]), rel=1e-5, abs=1e-6 * largest)
            drawn = truth.null_spectra(optimizer, step, "change_shuffled")
            shuffled = np.mean([drawn[draw, m][rank] for draw in range(SHUFFLES) for m in members])
            assert row["reference"] == near(shuffled, rel=1e-5)


def test_a_density_is_the_share_of_all_eigenvalues_in_a_bin_over_its_width():
    eigenvalues, edges = np.array([0.0, 0.5, 1.0, 1.5, 3.0, 3.5, 3.9, 10.0]), np.array([1.0, 2.0, 4.0])
    assert densities.density(eigenvalues, edges).tolist() == [2 / 8 / 1, 3 / 8 / 2]
    assert densities.density(np.empty(0), edges).tolist() == [0.0, 0.0]


def test_the_densities_of_a_family_hold_each_eigenvalue_once(truth, summaries):
    rows = as_dicts(plot_tables.ESD, plot_tables.esd(summaries))
    assert {(row["optimizer"], row["step"]) for row in rows} == {(n, p) for n, steps in TRACKED.items() for p in steps}
    for family in truth.families:
        edges = truth.edges(family)
        for optimizer, positions in TRACKED.items():
            for position in positions:
                pooled = truth.pooled(optimizer, position, family)
                mine = {
                    row["eigenvalue"]: row["density"]
                    for row in rows
                    if (row["optimizer"], row["step"], row["family"]) == (optimizer, position, family)
                }
                left = 0
                for low, high in pairwise(edges):
                    last = high == edges[-1]
                    inside = int(((pooled >= low) & ((pooled < high) | last)).sum())
                    near_centre = [density for x, density in mine.items() if low < x < high]
                    assert near_centre == ([near(inside / len(pooled) / (high - low))] if inside else [])
                    left += inside
                width = {x: edges[np.searchsorted(edges, x)] - edges[np.searchsorted(edges, x) - 1] for x in mine}
                integral = sum(mine[x] * width[x] for x in mine)
                assert integral == near(left / len(pooled))
                assert integral == near(1 - (pooled < edges[0]).mean())


def test_losses_are_those_of_the_history(truth, summaries):
    found = {}
    for row in as_dicts(plot_tables.LOSS, plot_tables.loss(summaries, "mse")):
        found[row["optimizer"], row["split"], row["step"]] = row["loss"]
        assert row["evaluations"] == truth.histories[row["optimizer"]].evaluations[row["step"]]
    expected = {}
    for name, history in truth.histories.items():
        for split, values in (("train", history.loss), ("validation", history.validation_loss)):
            expected |= {(name, split, step): value for step, value in enumerate(values.tolist()) if value == value}
    assert found == expected


# -- the study's tables -----------------------------------------------------------------------------------------------
def test_the_families_of_a_study_stand_beside_their_main_null(truth, few_histories, summarized):
    summary = summarized({"adam": few_histories["adam"]}, bootstrap=0)["adam"]
    cell = SimpleNamespace(optimizer="adam", key=("study", "data", "mse", "adam", SEED))
    rows = [
        dict(zip(spectra_rows.FAMILY_COLUMNS, row, strict=True))
        for row in spectra_rows.family_rows(cell, summary, standin=False)
    ]
    assert len(rows) == 2 * len(TRACKED["adam"]) * len(truth.families) * len(METRICS)
    history = truth.histories["adam"]
    for row in rows:
        members, metric, step = truth.families[row["family"]], row["metric"], row["step"]
        assert (row["matrices"], row["last"], row["best"]) == (len(members), int(step == 12), int(step == 11))
        assert (row["evaluations"], row["validation_mae"]) == (66 * step, history.validation_mae[step])
        assert row["distance"] == near(truth.distance("adam", step, row["family"]), rel=1e-5)
        assert (row["missing"] != "") == (row["value"] == "") or "of" in row["missing"]
        if metric.removeprefix("change_") not in PLAIN or (metric.startswith("change_") and not step):
            continue
        middle, sd = truth.null("adam", step, members, metric)
        assert row["value"] == near(truth.mean("adam", step, row["family"], metric), rel=2e-4)
        if not metric.startswith("change_"):
            assert row["initial"] == near(truth.mean("adam", 0, row["family"], metric), rel=2e-4)
        assert row["null"] == near(middle)
        assert row["null_sd"] == pytest.approx(sd, rel=1e-5, abs=1e-8 * max(1, abs(middle)))
        difference = truth.observed("adam", step, row["family"], metric) - middle
        loose = 1e-4 if metric.startswith("change_") else 1e-5  # Adam's changes of rank 3 carry the rounding of W
        assert row["effect"] == pytest.approx(difference, rel=loose, abs=1e-8 * max(1, abs(middle)))
        if row["deviations"] != "":
            assert row["deviations"] == near(difference / sd, rel=1e-4)
    # And by matrix each column is the one that it is named after, beside the main null.
    long = [
        row
        for row in as_dicts(long_tables.SPECTRA_NULLS, long_tables.spectra_nulls({"adam": summary}))
        if row["null"] == ("change_shuffled" if row["metric"].startswith("change_") else "path")
    ]
    rows = list(spectra_rows.matrix_rows(cell, summary, standin=True))
    for row, expected in zip(rows, long, strict=True):
        written = dict(zip(spectra_rows.COLUMNS, row, strict=True))
        assert written["standin"] == 1
        assert [written[name] for name in spectra_rows.PLACE] == [expected[name] for name in spectra_rows.PLACE]
        for name, column in spectra_rows.VALUES.items():
            number = expected[column]
            assert written[name] == (f"{number:.9g}" if isinstance(number, float) else number)
