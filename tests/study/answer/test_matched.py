"""Endpoints of blocks from made-up paths, and what names a training."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_protocol import PROTOCOL

from transformer_spectrum.config.load import load_params
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.answer.matched import endpoint_table, summary_table
from transformer_spectrum.study.answer.plan_text import provisional
from transformer_spectrum.study.answer.trainings import CELLS, distinct
from transformer_spectrum.study.answer.tuned import tune, with_tuning
from transformer_spectrum.study.inference.endpoints import ENDPOINTS
from transformer_spectrum.study.protocol.cells import planned_cells
from transformer_spectrum.study.protocol.model import parse_protocol
from transformer_spectrum.study.protocol.sections import TuningOutcome

ROOT = Path(__file__).parents[3]
STEPS = 4


def cells_and_paths(block, arms, seeds, value, diverged=()):
    """Paths on which the MAE falls from 1 by 0.1 a step and every endpoint is `value(arm, seed)` times the step."""
    cells, paths = [], []
    for arm in arms:
        for seed in seeds:
            training = f"{arm}/{seed}"
            method = "population" if arm.startswith("es") else "gradient"
            row = dict.fromkeys(CELLS, 0) | {"block": block, "dataset": "light", "arm": arm, "seed": seed}
            optimizer, loss, *treatment = arm.split("-")
            row |= {"optimizer": optimizer, "loss": loss, "treatment": "".join(treatment) or "none"}
            row |= {"training": training, "method": method, "status": "diverged" if training in diverged else "done"}
            cells.append(row | {"protocol": "5f", "rate": 0.001, "validation_mae": 0.6, "influence_cosine": 1.0})
            steps = np.arange(STEPS + 1)
            path = {"training": training, "updates": steps, "evaluations": 3 * steps + 1}
            path |= {"validation_mae": 1 - 0.1 * steps, "distance": 0.1 * steps}
            path |= {each.name: value(arm, seed) * steps for each in ENDPOINTS}
            paths.append(pd.DataFrame(path))
    return pd.DataFrame(cells, columns=list(CELLS)), pd.concat(paths, ignore_index=True)


def protocol(**changes):
    return parse_protocol({**PROTOCOL, **changes})


def test_an_endpoint_is_taken_where_the_target_is_crossed_and_a_diverged_training_is_counted_without_one():
    arms = ("adam-mse", "adam-mae")
    cells, paths = cells_and_paths("losses", arms, (1, 2, 3), lambda arm, seed: seed, diverged=("adam-mae/2",))
    tuning = TuningOutcome(rates={}, targets={"light": 0.75}, margins={})
    table = endpoint_table(protocol(axes=["validation_mae"]), cells, paths, tuning)
    rows = table[table["endpoint"] == "mp_spikes"].set_index(["arm", "seed"])
    assert rows.loc[("adam-mse", 2), "value"] == pytest.approx(2 * 2.5)  # a MAE of .75 is between steps 2 and 3
    assert np.isnan(rows.loc[("adam-mae", 2), "value"])
    assert rows.loc[("adam-mae", 2), "crossing"] == "diverged"
    assert set(table["protocol"]) == {"5f"}
    summary = summary_table(table).set_index(["arm", "endpoint"])
    row = summary.loc["adam-mae", "mp_spikes"]
    assert (row["seeds"], row["without"], row["mean"]) == (2, 1, pytest.approx((2.5 + 7.5) / 2))


def test_an_arm_that_diverged_in_every_seed_still_has_its_rows_and_population_methods_none_on_updates():
    diverged = ("es-mse/1", "es-mse/2")
    cells, paths = cells_and_paths("losses", ("adam-mse", "es-mse"), (1, 2), lambda arm, seed: 1.0, diverged)
    table = endpoint_table(protocol(), cells, paths, TuningOutcome(rates={}, targets={}, margins={}))
    of_es = table[table["arm"] == "es-mse"]
    assert set(of_es["axis"]) == {"evaluations", "distance"}
    assert of_es["value"].isna().all()
    assert len(of_es) == 2 * 2 * len(ENDPOINTS)


def test_margins_are_two_standard_deviations_about_0_of_pairs_that_differ_in_batch_order_alone():
    treatments = {"again": {"batch_order": 1}, "both": {"batch_order": 1, "rate_factor": 3.0}}
    margins = {**PROTOCOL["blocks"]["tuning_margins"], "treatments": ["none", "again", "both"]}
    plan = protocol(
        treatments=treatments, blocks={**PROTOCOL["blocks"], "tuning_margins": margins}, axes=["validation_mae"]
    )
    sizes = {"adam-mse": 1.0, "adam-mse-again": 1.5, "adam-mse-both": 9.0}
    cells, paths = cells_and_paths("tuning_margins", sizes, (101, 102), lambda arm, seed: sizes[arm])
    trials, _ = cells_and_paths("tuning", ("adam-mse", "adam-mae"), (101,), lambda arm, seed: 1.0)
    trials["training"] = "trial " + trials["training"]
    outcome = tune(plan, pd.concat([trials, cells], ignore_index=True), paths)
    assert outcome.targets == {"light": 0.6}
    assert outcome.margins["change_log_stable_rank"] == pytest.approx(2 * 0.5 * STEPS)


def test_trainings_are_told_apart_by_optimizer_loss_treatment_and_rate_and_run_once():
    plan = provisional(protocol())
    trainings = distinct(plan, planned_cells(plan, plan.blocks, load_params(ROOT / "params.yaml")))
    places = [training.place for training in trainings]
    assert len(places) == len(set(places)) == 16
    assert "light/adam-mse-again-0.003/adam/seed_2" in places
    windows = {(training.dataset, training.seed): training.params.data for training in trainings}
    assert all(windows[training.dataset, training.seed] == training.params.data for training in trainings)


def test_two_trainings_of_one_name_are_refused():
    plan = provisional(protocol())
    cells = planned_cells(plan, ["losses"], load_params(ROOT / "params.yaml"))
    other = provisional(protocol(set={**PROTOCOL["set"], "adam": {"epochs": 3}}))
    with pytest.raises(InputError, match="two cells of this name have other parameters"):
        distinct(plan, [*cells, *planned_cells(other, ["losses"], load_params(ROOT / "params.yaml"))])


def test_a_protocol_with_another_tuning_than_its_seeds_have_fixed_is_refused(tmp_path):
    tuning = {"rates": {"adam-mse": 0.001}, "targets": {"light": 0.7}, "margins": {}}
    file = tmp_path / "tuning.json"
    file.write_text(json.dumps({"protocol": protocol().design_sha256, **tuning}))
    tuned = with_tuning(protocol(), file)
    assert tuned.tuning.rates == {"adam-mse": 0.001}
    assert tuned.sha256 == protocol(tuning=tuning).sha256
    assert with_tuning(protocol(tuning=tuning), file) == tuned
    with pytest.raises(InputError, match="tuning: differs from"):
        with_tuning(protocol(tuning={**tuning, "targets": {"light": 0.8}}), file)
