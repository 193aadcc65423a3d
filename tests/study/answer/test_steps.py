"""A whole study, from its protocol to its report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_protocol import PROTOCOL, write_protocol
from study_steps import STEPS

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_table, sha256
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.steps import plan_study, run_study, tune_study
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.beside_nulls.quantities import QUANTITIES
from transformer_spectrum.study.beside_nulls.steps import set_beside_nulls
from transformer_spectrum.study.beside_nulls.table import nulls_path
from transformer_spectrum.study.conclusions.steps import judge_whole_study
from transformer_spectrum.study.follow_up.endpoints import FOLLOWED
from transformer_spectrum.study.follow_up.steps import follow_claims
from transformer_spectrum.study.follow_up.table import followed_table
from transformer_spectrum.study.protocol.model import load_protocol
from transformer_spectrum.training.records.history import History

pytestmark = pytest.mark.slow
PLACES = StudyPlaces()
GROUPS = (("feed_forward",), ("encoder_self_attention", "decoder_self_attention", "decoder_cross_attention"))


def all_steps():
    for step in STEPS:
        step()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Keeps the first finished study for all tests."""
    return tmp_path_factory.mktemp("finished") / "studies"


@pytest.fixture
def study(repository, finished):
    """A repository with a finished study in it."""
    if not finished.exists():
        all_steps()
        shutil.copytree("studies", finished)
    else:
        shutil.rmtree("studies")
        shutil.copytree(finished, "studies")
    return repository


def records():
    """Training -> inode of its record: another one where it was trained again."""
    return {path: path.stat().st_ino for path in PLACES.store.rglob("trainings/**/record.json")}


def outputs():
    return {path: sha256(path) for path in Path("studies").glob("[tr][ae][bp]*/*")}


def rank_of_change(training):
    """The last value of the primary endpoint, a second time from the singular values."""
    history = History.load(PLACES.store / "trainings" / training / "history.npz")
    families, values = history.families.tolist(), history.change_singular_values
    means = []
    for group in GROUPS:
        ranks = []
        for matrix, family in enumerate(families):
            if family in group:
                s = np.asarray(values[matrix][-1] if isinstance(values, list) else values[-1, matrix], dtype=float)
                s = s[np.isfinite(s)]
                ranks.append(np.log((s**2).sum() / s.max() ** 2))
        means.append(np.mean(ranks))
    return np.mean(means)


def test_cells_of_two_blocks_that_are_one_training_run_once_and_each_has_its_row(study):
    cells = pd.read_csv(PLACES.cells)
    assert len(cells) == 12  # two arms of three seeds in each of two blocks
    assert cells["training"].nunique() == 9
    shared = cells[cells["arm"] == "adam-mse"]
    assert sorted(shared.groupby("training")["block"].agg(tuple)) == [("losses", "controls")] * 3
    assert set(cells["status"]) == {"done"}
    protocol = with_tuning(load_protocol(PLACES.protocol), PLACES.tuning)
    assert set(cells["protocol"]) == {protocol.sha256}
    trials = pd.read_csv(PLACES.trials)
    assert set(trials["protocol"]) == {protocol.design_sha256}
    assert len(trials) == 4


def test_tuning_takes_the_rate_of_the_lowest_mae_and_its_margin_from_reordered_batches(study):
    tuning = json.loads(PLACES.tuning.read_text())
    trials = pd.read_csv(PLACES.trials)
    for loss in ("mse", "mae"):
        rows = trials[trials["loss"] == loss]
        best = rows.loc[rows["validation_mae"].idxmin()]
        assert tuning["rates"][f"adam-{loss}"] == pytest.approx(best["rate"])
    chosen = [trials[trials["loss"] == loss]["validation_mae"].min() for loss in ("mse", "mae")]
    assert tuning["targets"]["light"] == pytest.approx(max(chosen))
    pairs = [
        rank_of_change(f"light/adam-mse-again-0.003/adam/seed_{seed}")
        - rank_of_change(f"light/adam-mse-0.003/adam/seed_{seed}")
        for seed in (101, 102)
    ]
    assert tuning["margins"]["change_log_stable_rank"] == pytest.approx(
        2 * np.sqrt(np.mean(np.square(pairs))), rel=1e-4
    )


def test_paths_endpoints_and_verdicts_are_those_of_the_histories(study):
    cells, paths = pd.read_csv(PLACES.cells), read_table(PLACES.paths)
    assert set(paths["training"]) == set(cells["training"])
    last = paths.groupby("training")["change_log_stable_rank"].last()
    for training, value in last.items():
        assert value == pytest.approx(rank_of_change(training), rel=1e-5)
    differences = [
        last[f"light/adam-mae-0.003/adam/seed_{seed}"] - last[f"light/adam-mse-0.003/adam/seed_{seed}"]
        for seed in (1, 2, 3)
    ]
    verdicts = json.loads(PLACES.verdicts.read_text())
    (verdict,) = verdicts["contrasts"]
    assert verdict["axes"]["updates"]["mean"] == pytest.approx(np.mean(differences), rel=1e-4)
    assert verdict["axes"]["updates"]["low"] is None  # three pairs bound no interval of 95 %
    summary = pd.read_csv(PLACES.summary).set_index(["block", "arm", "axis", "endpoint"])
    row = summary.loc["losses", "adam-mae", "updates", "change_log_stable_rank"]
    own = [rank_of_change(f"light/adam-mae-0.003/adam/seed_{seed}") for seed in (1, 2, 3)]
    assert (row["seeds"], row["without"]) == (3, 0)
    assert row["mean"] == pytest.approx(np.mean(own), rel=1e-4)
    assert row["sd"] == pytest.approx(np.std(own, ddof=1), rel=1e-3)


def test_the_report_says_first_whether_it_confirms_anything_and_which_controls_failed(study):
    text, verdicts = (PLACES.report / "index.md").read_text(), json.loads(PLACES.verdicts.read_text())
    assert verdicts["standing"]["confirmatory"]
    sentence = "Confirmatory: every result was made under the protocol as it is."
    assert text.splitlines()[:3] == ["# The smallest study", "", sentence]
    order = [
        "Control A/A",
        "## Does the loss shape it?",
        "## Verdicts",
        "## Controls",
        "## Published claims",
        "## On all axes",
    ]
    places = [text.index(words) for words in order if words in text]
    assert places == sorted(places)
    assert {"## Verdicts", "## Does the loss shape it?"} <= set(text.splitlines())
    html = (PLACES.report / "index.html").read_text()
    assert (
        html.index("Control A/A did not come out") < html.index("Does the loss shape it?") < html.index("The protocol")
    )
    assert html.count("<svg") > 8  # forests, curves and spectra
    for verdict in (*verdicts["contrasts"], *verdicts["controls"], *verdicts["claims"]):
        assert f"- {verdict['sentence']}" in text
    followed, claim = verdicts["claims"]
    assert (followed["name"], followed["on_axes"], claim["name"]) == ("ranks", {}, "spikes")
    assert claim["on_axes"]["evaluations"]["effect"] == claim["effect"]
    assert set(claim["on_axes"]) == {"evaluations", "distance", "updates"}


def test_what_is_there_is_not_trained_again_and_gives_the_same_bytes(study):
    before, files = records(), outputs()
    assert len(files) == 17
    all_steps()
    assert records() == before
    assert outputs() == files


def test_claims_that_need_weights_are_measured_where_the_trainings_of_their_arms_end(study):
    table = pd.read_csv(followed_table(PLACES))
    assert table.groupby("endpoint").size().to_dict() == {each.name: 3 for each in FOLLOWED}
    assert set(zip(table["block"], table["arm"], table["axis"], table["crossing"], strict=True)) == {
        ("losses", "adam-mse", "end", "reached")
    }
    paths = read_table(PLACES.paths)
    entropies = paths[paths["training"].str.startswith("light/adam-mse-0.003")].groupby("training")["spectral_entropy"]
    gains = table[table["endpoint"] == "spectral_entropy_gain"].set_index("seed")["value"]
    for seed in (1, 2, 3):
        of_seed = entropies.get_group(f"light/adam-mse-0.003/adam/seed_{seed}")
        assert gains[seed] == pytest.approx(of_seed.iloc[-1] - of_seed.iloc[0], abs=1e-7)
    (answered,) = [each for each in json.loads(PLACES.verdicts.read_text())["claims"] if each["name"] == "ranks"]
    assert answered["effect"]["mean"] == pytest.approx(gains.mean(), rel=1e-6)


def test_every_arm_stands_beside_its_nulls_where_it_is_judged(study):
    table = pd.read_csv(nulls_path(PLACES))
    assert set(table["quantity"]) == set(QUANTITIES)
    assert set(zip(table["block"], table["arm"], strict=True)) == {
        ("losses", "adam-mse"),
        ("losses", "adam-mae"),
        ("controls", "adam-mse"),
        ("controls", "adam-mse-again"),
    }
    endpoints = pd.read_parquet(PLACES.endpoints)
    means = endpoints.groupby(["block", "arm", "axis", "endpoint"])["value"].mean()
    for row in table[table["quantity"] == "change_log_stable_rank"].itertuples():
        assert row.seeds == 3
        assert row.value == pytest.approx(means[row.block, row.arm, row.axis, row.quantity], rel=1e-6)
        assert row.null_sd > 0
        assert np.isfinite(row.deviations)
    before = nulls_path(PLACES).read_bytes()
    set_beside_nulls(workers=2)
    assert nulls_path(PLACES).read_bytes() == before
    set_beside_nulls(seeds=1)
    assert set(pd.read_csv(nulls_path(PLACES))["seeds"]) == {1}


def test_following_up_alone_trains_what_the_folder_does_not_hold_and_nothing_else(study):
    before = followed_table(PLACES).read_bytes()
    shutil.rmtree(PLACES.store)
    follow_claims()
    assert sorted(path.parent.name for path in records()) == ["seed_1", "seed_2", "seed_3"]
    assert followed_table(PLACES).read_bytes() == before
    (PLACES.claims / "ranks.yaml").unlink()
    follow_claims()
    assert pd.read_csv(followed_table(PLACES)).empty


def test_what_was_followed_up_under_another_protocol_confirms_nothing_and_has_to_be_there(study):
    path = followed_table(PLACES)
    table = pd.read_csv(path)
    table.assign(protocol="f" * 64).to_csv(path, index=False)
    judge_whole_study()
    assert not json.loads(PLACES.verdicts.read_text())["standing"]["confirmatory"]
    path.unlink()
    with pytest.raises(InputError, match=r"followed\.csv: no such file; run the stage study-follow"):
        judge_whole_study()


def test_results_that_were_made_before_the_protocol_changed_confirm_nothing(study):
    write_protocol(Path("studies"), level=0.1)
    with pytest.raises(InputError, match=r"tuning\.json: was made under protocol .* run the stage study-tuning again"):
        run_study()
    before = records()
    all_steps()
    assert records() == before
    verdicts = json.loads(PLACES.verdicts.read_text())
    assert not verdicts["standing"]["confirmatory"]
    assert "results were made under protocol" in verdicts["standing"]["reason"]
    assert not any(verdict["confirmatory"] for verdict in verdicts["contrasts"])
    assert (
        (PLACES.report / "index.md")
        .read_text()
        .splitlines()[2]
        .startswith("Not confirmatory: results were made under protocol")
    )


def test_a_training_that_fails_stops_the_study_by_its_reason_and_what_is_done_is_kept(study):
    datasets = {**PROTOCOL["datasets"], "sick": {"data": {"dataset": "covid", "mirror": "nowhere"}}}
    blocks = {**PROTOCOL["blocks"], "losses": {**PROTOCOL["blocks"]["losses"], "datasets": ["light", "sick"]}}
    small = {
        **PROTOCOL["set"],
        "data": {**PROTOCOL["set"]["data"], "on_unreachable": "fail", "covid": {"url": "http://127.0.0.1:9/x"}},
    }
    write_protocol(Path("studies"), set=small, datasets=datasets, blocks=blocks)
    tune_study()
    before = PLACES.cells.read_bytes()
    with pytest.raises(InputError, match=r"6 of \d+ trainings are not done, sick/.*: no data"):
        run_study()
    assert PLACES.cells.read_bytes() == before


def test_the_plan_lists_every_arm_and_what_too_few_seeds_cannot_show(repository):
    lines = plan_study()
    assert "losses          light  adam-mae        seeds 1-3" in lines
    (count,) = [line for line in lines if "core-seconds" in line]
    # 4 + 4 of tuning, of which one is also a trial, 6 + 3 others; an epoch has 4 batches of 8 of 28 windows.
    assert count.startswith("20 cells, 16 trainings, 192 forward passes, about ")
    assert any(line.startswith("MAE - MSE: 3 seeds cannot reach p") for line in lines)
