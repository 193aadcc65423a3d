"""README.md tells the truth where a machine can check it."""

import json
import re
from pathlib import Path

import full_budget
import numpy as np
import pandas as pd
import pytest
import study_numbers
from run_numbers import numbers, renewed

from transformer_spectrum.cli.main import COMMANDS, main
from transformer_spectrum.cli.overrides import overrides
from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RUN = (ROOT / "docs/committed_run.md").read_text()
OPTIMIZERS = ("adam", "es", "ga")


def test_it_can_be_read_in_one_sitting():
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("command", ["make repro ", "make test ", "source .venv/bin/activate"])
def test_it_shows_the_commands_that_set_up_and_test(command):
    assert re.search(rf"^{command}|`{command}`", README, re.MULTILINE)


def test_every_file_that_it_links_to_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 20
    for link in links:
        assert (ROOT / link).is_file(), link


def test_every_command_that_it_shows_is_one():
    shown = set(re.findall(r"^transformer-spectrum ([a-z-]+)", README, re.MULTILINE))
    assert len(shown) >= 5
    assert shown <= COMMANDS.keys()


@pytest.mark.parametrize("name", ["smoke", "seed_size"])
def test_the_overlays_name_parameters(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    main(["overrides", f"config/overlays/{name}.yaml"])
    printed = capsys.readouterr().out
    assert set(re.findall(r"-S '?([\w.]+)=", printed)) <= set(PARAMETERS)
    assert printed.startswith("-S ")


def test_an_overlay_that_names_no_parameter_is_an_error():
    with pytest.raises(InputError, match=r"loss\.qq: unknown parameter"):
        list(overrides({"loss": {"qq": 1}}))
    assert list(overrides({"data": {"mirror": None}, "loss": {"q": 3}})) == ["data.mirror=null", "loss.q=3"]


@pytest.mark.parametrize("content", [None, "a: [", "- 1"])
def test_an_overlay_that_cannot_be_read_is_one_line_and_exit_code_2(content, tmp_path, capsys):
    path = tmp_path / "o.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["overrides", str(path)])
    assert ended.value.code == 2
    assert "o.yaml" in capsys.readouterr().err


# The numbers of the committed run, computed once more from its files, without what `docs/run_numbers.py` uses.


def read(name):
    return json.loads((ROOT / "metrics" / name).read_text())


def row(beginning):
    """The cells of the first row of a table of the committed run that begins so."""
    line = next(line for line in RUN.splitlines() if line.startswith(f"| {beginning}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def said(value, digits):
    return f"{value:,.{digits}f}".replace("-", "−")


def curve(optimizer, name):
    """step -> value, as DVCLive has kept it of every record; the step 0 may lack one."""
    return dict(np.genfromtxt(ROOT / f"metrics/{optimizer}/plots/metrics/{name}.tsv", skip_header=1))


def best_step(optimizer):
    maes = curve(optimizer, "validation_mae")
    return min(maes, key=maes.__getitem__)


def at_best(optimizer, metric):
    table = pd.read_csv(ROOT / "plots/spectra_evolution.csv")
    mine = table.query("optimizer == @optimizer and family == 'feed_forward' and metric == @metric")
    return mine[mine["step"] == best_step(optimizer)].iloc[0]


def where_equal(axis):
    """Target and optimizer -> (update, ranks) where all have first reached it; None where that is before a record."""
    falling = axis == "validation_mae"
    paths = {name: {step: value for step, value in curve(name, axis).items() if step > 0} for name in OPTIMIZERS}
    ends = [min(path.values()) if falling else max(path.values()) for path in paths.values()]
    target = max(ends) if falling else min(ends)
    places = {}
    for name, path in paths.items():
        steps = sorted(path)
        beyond = next(i for i, step in enumerate(steps) if (path[step] <= target if falling else path[step] >= target))
        if beyond == 0 and path[steps[0]] != target:
            places[name] = None
            continue
        earlier, later = steps[max(beyond - 1, 0)], steps[beyond]
        share = 1.0 if earlier == later else (target - path[earlier]) / (path[later] - path[earlier])
        ranks = [curve(name, metric) for metric in ("change_stable_rank", "stable_rank")]
        values = [rank[earlier] + share * (rank[later] - rank[earlier]) for rank in ranks]
        places[name] = (earlier + share * (later - earlier), values)
    return target, places


def test_the_numbers_are_those_that_the_command_prints():
    assert renewed(RUN) == RUN, "run python docs/run_numbers.py --write"
    assert numbers() in RUN


@pytest.mark.parametrize(("optimizer", "name"), [("adam", "Adam"), ("es", "ES"), ("ga", "GA")])
def test_what_a_training_reached_is_that_of_its_best_step(optimizer, name):
    scores = read(f"{optimizer}/scores.json")
    persistence = read("data.json")["baselines"]["persistence"]["mae"]
    step, mae, forced, free, gain, distance, *effects = row(f"{name} ")
    assert step == f"{best_step(optimizer):,.0f}"
    assert mae == f"{curve(optimizer, 'validation_mae')[best_step(optimizer)]:.3f}"
    assert (forced, free) == (f"{scores['teacher_forced']['mae']:.3f}", f"{scores['free_running']['mae']:.3f}")
    assert gain == f"{100 * scores['free_running']['mae'] / persistence - 100:+.0f} %".replace("-", "−")
    for metric, cell in zip(("change_stable_rank", "stable_rank"), effects, strict=True):
        best = at_best(optimizer, metric)
        null, deviation = (best["null_high"] + best["null_low"]) / 2, (best["null_high"] - best["null_low"]) / 4
        effect = best["value"] - null
        value, difference, deviations = re.fullmatch(r"(\S+) \((\S+), (\S+)\)", cell).groups()
        assert value == said(best["value"], 2)
        assert float(difference.replace("−", "-")) == pytest.approx(effect, abs=0.006)
        assert float(deviations.replace("−", "-").replace(",", "")) == pytest.approx(effect / deviation, abs=0.06)
        assert distance == f"{best['distance']:.3f}"


def test_the_start_and_the_baselines_are_those_of_the_committed_metrics():
    initial = read("spectra.json")["initial"]["feed_forward"]["stable_rank"]
    assert row("initial weights")[-1] == f"{initial:.2f}"
    titles = {
        "persistence": "persistence",
        "seasonal_naive": "seasonal-naive",
        "context_mean": "mean of the context",
    }
    for name, scores in read("data.json")["baselines"].items():
        assert row(titles[name])[3] == f"{scores['mae']:.3f}"


@pytest.mark.parametrize(
    ("axis", "title", "digits"), [("validation_mae", "validation MAE", 3), ("evaluations", "evaluations", 0)]
)
def test_the_ranks_where_something_is_held_equal_are_those_of_the_committed_curves(axis, title, digits):
    target, places = where_equal(axis)
    cells = row(f"{title}: {target:,.{digits}f}")
    for place, cell in zip(places.values(), cells, strict=True):
        if place is None:
            assert cell == "earlier than recorded"
            continue
        updates, ranks = place
        shown = [float(number.replace(",", "")) for number in re.findall(r"[\d.,]+", cell)]
        assert shown == pytest.approx([*ranks, updates], abs=0.51)
        assert shown[:2] == pytest.approx(ranks, abs=0.006)


def test_adam_beats_persistence_free_running_in_the_committed_run():
    metrics = json.loads((ROOT / "metrics/adam/scores.json").read_text())
    baselines = json.loads((ROOT / "metrics/data.json").read_text())["baselines"]
    assert metrics["free_running"]["mae"] < 0.8 * baselines["persistence"]["mae"]
    assert metrics["free_running"]["mae"] < baselines["context_mean"]["mae"]


# The answer of the committed study, likewise.


def test_the_answer_is_the_one_that_the_command_prints():
    assert study_numbers.renewed(README) == README, "run python docs/study_numbers.py --write"
    assert study_numbers.numbers() in README


def test_the_controls_after_all_updates_are_those_that_the_command_prints():
    findings = (ROOT / "docs/findings.md").read_text()
    assert full_budget.renewed(findings) == findings, "run python docs/full_budget.py --write"
    rows = pd.read_parquet(ROOT / "studies/tables/paths.parquet").sort_values("evaluations")
    last = rows.groupby("training").tail(1).set_index("training")["path_log_stable_rank"]
    cells = pd.read_csv(ROOT / "studies/tables/cells.csv")
    own = cells[cells["block"] == "controls"].pivot(index="seed", columns="arm", values="training")
    difference = (own["adam-mse-decay"].map(last) - own["adam-mse"].map(last)).mean()
    assert f"| weight decay .1 | +0.27 [0.25, 0.29] | −{-difference:.4f} " in findings
    difference = (own["adam-mse-batch8"].map(last) - own["adam-mse"].map(last)).mean()
    assert f"| batch 8 at its own end | +0.12 [0.09, 0.16] | −{-difference:.4f} " in findings


def paired_difference(table, verdict, endpoint, axis):
    """Mean over the seeds that both arms have, from the tidy table."""
    contrast = verdict["contrast"]
    rows = table[(table["block"] == verdict["block"]) & (table["dataset"] == contrast["dataset"])]
    rows = rows[(rows["endpoint"] == endpoint) & (rows["axis"] == axis)]
    wide = rows.pivot(index="seed", columns="arm", values="value")
    return (wide[contrast["first"]] - wide[contrast["second"]]).dropna().mean()


def rates_differ(verdicts, name, cells):
    """Whether the arms of a contrast of losses were trained at different rates."""
    (verdict,) = (
        each for each in verdicts["contrasts"] if each["contrast"]["name"] == name and each["endpoint"][0] == "c"
    )
    contrast = verdict["contrast"]
    own = cells[(cells["block"] == verdict["block"]) & (cells["dataset"] == contrast["dataset"])]
    rates = [own[own["arm"] == contrast[arm]]["rate"].unique().item() for arm in ("first", "second")]
    return verdict["between"] == "loss" and rates[0] != rates[1]


def test_every_difference_in_the_answer_is_that_of_the_pairs_in_the_tidy_table():
    table = pd.read_parquet(ROOT / "studies/tables/endpoints.parquet")
    verdicts = json.loads((ROOT / "studies/tables/verdicts.json").read_text())
    cells = pd.read_csv(ROOT / "studies/tables/cells.csv")
    named = {verdict["contrast"]["name"]: verdict for verdict in verdicts["contrasts"]}
    change, weights = re.search(r"Stable rank of the change (.*) Stable rank of W less (.*)", README).groups()
    compared = {"validation_mae": 0, "evaluations": 0, "distance": 0}
    for endpoint, words in (("change_log_stable_rank", change), ("path_log_stable_rank", weights)):
        found = [
            (name, "validation_mae", size)
            for name, size in re.findall(r"(?:from|to|:|largest) ([^:]{3,25}?) ([+−][\d.]+) \[", words)
        ]
        for size, axis, name in re.findall(r"([+−][\d.]+) at equal (evaluations|relative distance) \((.*?)\)", words):
            name, _, words_on_rate = name.partition(", at ")
            assert rates_differ(verdicts, name, cells) == ("times the rate" in words_on_rate), name
            found.append((name, axis.removeprefix("relative "), size))
        for name, axis, size in found:
            difference = paired_difference(table, named[name], endpoint, axis)
            assert float(size.replace("−", "-")) == pytest.approx(difference, abs=0.0051), (name, axis)
            compared[axis] += 1
    assert compared == {"validation_mae": 4, "evaluations": 4, "distance": 4}


def test_the_counts_in_the_answer_are_those_of_the_contrasts_in_the_table_for_a_paper():
    table = pd.read_csv(ROOT / "studies/report/contrasts.csv")
    table = table[table["equal"] == "validation_mae"]
    verdicts = json.loads((ROOT / "studies/tables/verdicts.json").read_text())
    kinds = {each["contrast"]["name"]: each["between"] for each in (*verdicts["contrasts"], *verdicts["controls"])}
    said = re.findall(
        r"[Oo]f (optimizers|losses) (\d+) of (\d+) contrasts found(.*?)(?:\. |, from|: |, the largest)", README
    )
    assert len(said) == 4
    for (kind, found, of, rest), endpoint in zip(
        said, ["change_log_stable_rank"] * 2 + ["path_log_stable_rank"] * 2, strict=True
    ):
        between = {"optimizers": "optimizer", "losses": "loss"}[kind]
        own = table[(table["endpoint"] == endpoint) & (table["contrast"].map(kinds) == between)]
        null = own[own["judgement"] == "equivalent"]
        assert (int(found), int(of)) == ((own["judgement"] == "found").sum(), len(own))
        assert (f"{len(null)} null within" in rest) == (len(null) > 0)
        unsettled = len(own) - len(null) - int(found)
        assert (f"{unsettled} inconclusive" in rest) == (unsettled > 0)
        nonzero, turned = (null["adjusted_p"] <= 0.05).sum(), (own["robust"][own["judgement"] == "found"] == "no").sum()
        assert (f"({nonzero} of them small" in rest) == (nonzero > 0)
        assert (f"(on {turned} the axis" in rest) == (turned > 0)


def test_the_spreads_in_the_answer_are_those_of_the_seeds_that_stand_beside_their_nulls():
    table = pd.read_csv(ROOT / "studies/tables/nulls.csv")
    table = table[(table["block"] == "optimizers") & (table["axis"] == "validation_mae")]
    verdicts = json.loads((ROOT / "studies/tables/verdicts.json").read_text())
    names = {"adam-mse": "Adam"}
    for contrast in (verdict["contrast"] for verdict in verdicts["contrasts"]):
        if contrast["name"].endswith(" - Adam"):
            names[contrast["first"]] = contrast["name"].removesuffix(" - Adam")
    pattern = r"shuffled entries, it is (.*?); not 2 away, .*? measure: (.*?) \(means"
    away, within = re.search(pattern, README).groups()
    spreads = dict(re.findall(r"(?:^|, | and )(.*?) ([+−]\d+)", away))
    rows = table[table["quantity"] == "change_log_stable_rank"].set_index("arm")
    assert {*spreads, *re.split(", | and ", within)} == {names[arm] for arm in rows.index}
    for arm, row in rows.iterrows():
        assert row["difference"] == pytest.approx(row["value"] - row["null"], abs=1e-6)
        if names[arm] in spreads:
            size = float(spreads[names[arm]].replace("−", "-"))
            assert size == pytest.approx(row["deviations"], abs=0.5)
            assert size == pytest.approx(
                row["difference"] / row["null_sd"], rel=0.3
            )  # of means, not the mean of ratios
        else:
            assert abs(row["deviations"]) <= 2


def test_the_shares_in_the_answer_are_those_of_the_squares_of_the_tidy_table():
    table = pd.read_parquet(ROOT / "studies/tables/endpoints.parquet")
    rows = table[(table["block"] == "crossed") & (table["axis"] == "validation_mae")]
    rows = rows[rows["endpoint"] == "change_log_stable_rank"]
    assert len(rows) == rows["value"].notna().sum() == 216
    total = ((rows["value"] - rows["value"].mean()) ** 2).sum()
    means = rows.groupby(rows["arm"].str.split("-").str[0])["value"].agg(["mean", "size"])
    between = (means["size"] * (means["mean"] - rows["value"].mean()) ** 2).sum()
    (shown,) = re.findall(r"the optimizer has ([\d.]+) % .* of the variance over 216 crossed trainings", README)
    assert float(shown) == pytest.approx(
        100 * between / total, abs=0.5
    )  # of components: freed of what seeds give means
