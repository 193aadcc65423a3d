"""README.md tells the truth where a machine can check it."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_numbers import numbers, renewed

from transformer_spectrum.cli.main import COMMANDS, main
from transformer_spectrum.cli.overrides import overrides
from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
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
    """The cells of the first row of a table in README.md that begins so."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {beginning}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def feed_forward(optimizer):
    """step -> evaluations, distance, validation loss, and change of the stable rank since step 0; kept steps alone."""
    table = pd.read_csv(ROOT / "plots/spectra_evolution.csv")
    mine = table.query("optimizer == @optimizer and family == 'feed_forward' and metric == 'stable_rank'")
    curves = {
        name: dict(np.genfromtxt(ROOT / f"metrics/{optimizer}/plots/metrics/{name}.tsv", skip_header=1))
        for name in ("distance", "validation_loss")
    }
    return [
        {
            "steps": step,
            "evaluations": evaluations,
            "distance": curves["distance"][step],
            "validation loss": curves["validation_loss"][step],
            "change": value - initial,
        }
        for step, evaluations, value, initial in mine[["step", "evaluations", "value", "initial"]].to_numpy()
    ]


def where_equal(axis):
    """Optimizer -> its record where all have reached the same on an axis."""
    histories = {optimizer: feed_forward(optimizer) for optimizer in OPTIMIZERS}
    if axis == "validation loss":
        reached = max(min(record[axis] for record in history) for history in histories.values())
        return reached, {
            name: next(record for record in history if record[axis] <= reached) for name, history in histories.items()
        }
    reached = min(max(record[axis] for record in history) for history in histories.values())
    return reached, {
        name: sorted(history, key=lambda record: abs(record[axis] - reached))[0] for name, history in histories.items()
    }


def test_the_numbers_are_those_that_the_command_prints():
    assert renewed(README) == README, "run python docs/run_numbers.py --write"
    assert numbers() in README


@pytest.mark.parametrize(("optimizer", "name"), [("adam", "Adam"), ("es", "ES"), ("ga", "GA")])
def test_what_a_training_reached_is_that_of_the_committed_metrics(optimizer, name):
    scores, spectra = read(f"{optimizer}/scores.json"), read("spectra.json")
    persistence = read("data.json")["baselines"]["persistence"]["mae"]
    evaluations, loss, forced, free, gain, rank, attention = row(f"{name} ")
    assert evaluations == f"{scores['evaluations']:,}"
    assert loss == f"{scores['best_validation_loss']:.3f}"
    assert (forced, free) == (f"{scores['teacher_forced']['mae']:.3f}", f"{scores['free_running']['mae']:.3f}")
    assert gain == f"{100 * scores['free_running']['mae'] / persistence - 100:+.0f} %"
    assert rank == f"{spectra[optimizer]['feed_forward']['stable_rank']:.2f}"
    assert attention == f"{spectra[optimizer]['encoder_self_attention']['stable_rank']:.2f}"


def test_the_start_and_the_baselines_are_those_of_the_committed_metrics():
    start, initial = feed_forward("adam")[0], read("spectra.json")["initial"]
    ranks = [f"{initial[family]['stable_rank']:.2f}" for family in ("feed_forward", "encoder_self_attention")]
    assert row("initial weights") == ["", f"{start['validation loss']:.3f}", "", "", "", *ranks]
    titles = {
        "persistence": "persistence",
        "seasonal_naive": "seasonal-naive",
        "context_mean": "mean of the context",
    }
    for name, scores in read("data.json")["baselines"].items():
        assert row(titles[name])[3] == f"{scores['mae']:.3f}"


@pytest.mark.parametrize(("optimizer", "name"), [("adam", "Adam"), ("es", "ES"), ("ga", "GA")])
def test_the_last_steps_are_those_of_the_committed_curves(optimizer, name):
    table = pd.read_csv(ROOT / "plots/spectra_evolution.csv")
    mine = table.query("optimizer == @optimizer and family == 'feed_forward' and metric == 'stable_rank'")
    last = mine.loc[mine["step"].idxmax()]
    deviation = (last["null_high"] - last["null_low"]) / 4  # the band is the mean -+ 2 of them
    lines = README.split("| at the last step")[1].splitlines()
    cells = [cell.strip() for cell in next(line for line in lines if line.startswith(f"| {name} ")).split("|")[2:-1]]
    assert cells == [
        str(last["step"]),
        f"{feed_forward(optimizer)[-1]['distance']:.1f}",
        f"{100 * (last['value'] - last['initial']) / last['initial']:+.1f} %",
        f"{(last['value'] - last['initial']) / deviation:+.1f}",
        f"{read('spectra.json')[optimizer]['feed_forward']['mp_spikes']:.2f}",
    ]


@pytest.mark.parametrize(
    ("axis", "digits"), [("steps", 0), ("evaluations", 0), ("distance", 1), ("validation loss", 3)]
)
def test_the_changes_at_equal_steps_evaluations_distance_and_loss_are_those_of_the_committed_curves(axis, digits):
    reached, records = where_equal(axis)
    expected = [f"{record['change']:+.2f} (at {record[axis]:,.{digits}f})" for record in records.values()]
    assert row(f"{axis}: {reached:,.{digits}f}") == expected


def test_what_it_says_of_them_in_words_is_so():
    scores = {optimizer: read(f"{optimizer}/scores.json") for optimizer in OPTIMIZERS}
    context = read("data.json")["baselines"]["context_mean"]["mae"]
    assert all(scores[name]["best_validation_loss"] < feed_forward(name)[0]["validation loss"] for name in OPTIMIZERS)
    assert min(OPTIMIZERS, key=lambda name: scores[name]["best_validation_loss"]) == "adam"
    others = [scores[name]["evaluations"] for name in ("es", "ga")]
    assert 3 * scores["adam"]["evaluations"] < min(others)
    assert scores["adam"]["free_running"]["mae"] < 0.9 * context  # "clearly"
    assert all(abs(scores[name]["free_running"]["mae"] / context - 1) < 0.05 for name in ("es", "ga"))
    for axis, test in (("steps", max), ("evaluations", max), ("distance", max), ("validation loss", min)):
        _, records = where_equal(axis)
        assert test(records, key=lambda name: abs(records[name]["change"])) == "adam", axis
    assert records["adam"]["steps"] <= 1  # of the last axis, the loss: "within its first epoch"


def test_adam_beats_persistence_free_running_in_the_committed_run():
    metrics = json.loads((ROOT / "metrics/adam/scores.json").read_text())
    baselines = json.loads((ROOT / "metrics/data.json").read_text())["baselines"]
    assert metrics["free_running"]["mae"] < 0.8 * baselines["persistence"]["mae"]
    assert metrics["free_running"]["mae"] < baselines["context_mean"]["mae"]
