"""The table of quantities beside their nulls: where arms are compared, and what is averaged."""

import os
import signal

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.beside_nulls import steps
from transformer_spectrum.study.beside_nulls.quantities import QUANTITIES, SPREAD_SAYS_MUCH, columns
from transformer_spectrum.study.beside_nulls.steps import cells_asked_for
from transformer_spectrum.study.beside_nulls.table import COLUMNS, nulls_table
from transformer_spectrum.study.protocol.model import EXAMPLE, load_protocol, parse_protocol

TUNING = {"rates": {"adam-mse": 0.001}, "targets": {"light": 0.6}, "margins": {}}


def inputs(values, maes=((0.9, 0.7, 0.5), (0.9, 0.7, 0.5))):
    """One arm with a training a seed and three records; `values` of each seed at the last two."""
    cells, paths, measured = [], [], {}
    for seed, (of_seed, mae) in enumerate(zip(values, maes, strict=True), 1):
        name = f"light/adam-mse/adam/seed_{seed}"
        cells.append(("controls", "light", "adam-mse", seed, name, "gradient", "done"))
        paths += [(name, step, 1 + 3 * step, mae[step], 0.1 * step) for step in range(3)]
        measured[name] = {
            column: np.array([np.nan, *(value[column.removeprefix(quantity).strip()] for value in of_seed)])
            for quantity in QUANTITIES
            for column in columns()
            if column.split(" ")[0] == quantity
        }
    names = ["block", "dataset", "arm", "seed", "training", "method", "status"]
    of_paths = ["training", "updates", "evaluations", "validation_mae", "distance"]
    return pd.DataFrame(cells, columns=names), pd.DataFrame(paths, columns=of_paths), measured


def record(value, null, spread):
    return {"": value, "null": null, "null sd": spread}


def test_it_is_read_where_the_axis_is_held_equal_and_averaged_over_seeds():
    protocol = parse_protocol({**EXAMPLE, "tuning": TUNING, "axes": ["validation_mae", "distance"]})
    both = [
        (record(2.0, 1.0, 0.5), record(4.0, 2.0, 0.5)),
        (record(3.0, 1.0, 0.25), record(5.0, 2.0, 0.25)),
    ]
    table = nulls_table(protocol, *inputs(both))
    assert table.columns.tolist() == list(COLUMNS)
    rows = table.set_index(["axis", "quantity"])
    at_mae = rows.loc[("validation_mae", "log_stable_rank")]  # .6, half way from .7 to .5
    assert at_mae[["seeds", "value", "null", "difference", "null_sd"]].tolist() == pytest.approx(
        [2, 3.5, 1.5, 2.0, 0.375]
    )
    assert at_mae["deviations"] == pytest.approx((1.5 / 0.5 + 2.5 / 0.25) / 2)
    assert rows.loc[("distance", "log_stable_rank")]["seeds"] == 0  # of one arm nothing is equal to another
    for quantity in QUANTITIES:
        told = np.isfinite(rows.loc[("validation_mae", quantity)]["deviations"])
        assert told == (quantity in SPREAD_SAYS_MUCH)


def test_a_training_that_never_arrives_is_in_no_mean():
    protocol = parse_protocol({**EXAMPLE, "tuning": TUNING, "axes": ["validation_mae"]})
    both = [(record(2.0, 1.0, 0.5), record(4.0, 2.0, 0.5))] * 2
    table = nulls_table(protocol, *inputs(both, maes=[(0.9, 0.7, 0.5), (0.9, 0.8, 0.7)]))
    assert set(table["seeds"]) == {1}
    assert table.loc[table["quantity"] == "log_stable_rank", "value"].tolist() == pytest.approx([3.0])


def kill_itself(asked):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_while_it_measures_is_one_line(monkeypatch):
    monkeypatch.setattr(steps, "_measured", kill_itself)
    with pytest.raises(InputError, match="a process that measured nulls was killed; what is trained is kept"):
        steps._measured_all([("first",), ("second",)], processes=2)


def test_the_first_seeds_of_the_blocks_that_are_contrasted_are_asked_for():
    committed = load_protocol("studies/protocol.yaml")
    rates = {
        f"{name}-{loss}": plan.rates[1] for name, plan in committed.optimizers.items() for loss in committed.losses
    }
    protocol = committed.model_copy(
        update={"tuning": parse_protocol({**EXAMPLE, "tuning": {**TUNING, "rates": rates}}).tuning}
    )
    cells = cells_asked_for(protocol, seeds=3)
    assert {cell.seed for cell in cells} == {1, 2, 3}
    blocks = {cell.block for cell in cells}
    assert {"optimizers", "losses", "controls", "real"} <= blocks
    assert not blocks & {"crossed", *protocol.tuning_blocks}
