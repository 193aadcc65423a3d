"""The cost model: its closed form, and that the page shows no figure that was not measured."""

import copy

import pytest
import yaml
from cost_model import COSTS, MISSING, cost_table, grid_cells, hours

TRAININGS = {"adam": 100, "es": 50}
PLACE = {"workers": 4, "beside": 0, "seconds": {"adam": 36.0, "es": 72.0}, "spectra": 24.0, "price": 2.0}


def test_the_same_workers_train_and_measure_one_after_the_other():
    assert hours(PLACE, TRAININGS) == pytest.approx((100 * 36 + 50 * 72 + 150 * 24) / 4 / 3600)


@pytest.mark.parametrize(("beside", "seconds"), [(1, 150 * 24 / 1), (100, (100 * 36 + 50 * 72) / 4)])
def test_workers_beside_an_accelerator_measure_while_it_trains(beside, seconds):
    assert hours({**PLACE, "beside": beside}, TRAININGS) == pytest.approx(seconds / 3600)


def test_the_reference_grid_has_1920_trainings():
    assert grid_cells("synthetic", 20) == {"adam": 640, "es": 640, "ga": 640}


def test_what_was_not_measured_has_no_hours_and_no_price():
    costs = yaml.safe_load(COSTS.read_text())
    blank = copy.deepcopy(costs)
    for place in blank["places"].values():
        place |= {"seconds": dict.fromkeys(place["seconds"]), "spectra": None, "price": None, "measured_by": None}
    lines = cost_table(blank).splitlines()
    assert lines[0] == "1,920 trainings."
    assert all(line.count(MISSING) == 8 for line in lines[4:])
    for place in costs["places"].values():
        figures = [*place["seconds"].values(), place["spectra"]]
        assert place["measured_by"] or not any(figures), "a figure without the command that measured it"
        assert place["priced"] or place["price"] is None, "a price without its day"
    blank["places"] = {
        "laptop": {**PLACE, "words": "here", "seconds": {"adam": 9, "es": 9, "ga": 9}, "measured_by": "x"}
    }
    assert "| here | 4 | 9 | 9 | 9 | 24 | 4.4 | 2 | 8.8 | `x` |" in cost_table(blank)
